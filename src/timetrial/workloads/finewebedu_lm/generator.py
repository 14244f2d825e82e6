"""Generated documents: a made-up language whose perplexity has a known floor.

What must be learned, in the order of what it is worth to a model that starts from nothing: how often each piece
occurs; which word class follows which; that a verb or preposition says the gender of the noun two or more pieces on,
and a subject the number of its verb, maybe past a bracket or relative clause; which of six topics a document is about,
which changes its nouns, verbs, adjectives and adverbs; and that names of two to five pieces, made up anew in each
document, come back in it: whoever has seen the first two pieces of one can copy the others.

Sizes: `mini` has 1,024 pieces, 48,000 training sequences of 129 tokens (6.2 million tokens, never repeated in any run
that the suite allows) and 128 for validation; no test split, as published. Documents have 4 to 40 sentences, 236
tokens on average. Tails: within a class a word's frequency is about 1 / rank, over the vocabulary the exponent is 1.03
from rank 10 to 700. Floor: the entropy lies between 2.198 and 2.205 nats a token, a perplexity of 9.01 to 9.07, for
readers who have seen the document from its start; a window mostly starts in the middle. What counting reaches, and
what training, is in `docs/mini-1/finewebedu_lm.md`, tests in `tests/workloads/test_finewebedu_lm_data.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timetrial.workloads.base import HostBatch
from timetrial.workloads.finewebedu_lm.grammar import (
    END_OF_TEXT,
    NAME,
    RULE_SLOTS,
    WORD_SLOTS,
    Grammar,
    Lexicon,
    word_tables,
)
from timetrial.workloads.finewebedu_lm.preprocessing import join_documents

_FREE_ROUNDS = 14
"""Rounds of expansion after which every phrase ends as soon as it can: about three nested phrases."""
_MEMORY = 5
"""A name that is not new is that of one of so many mentions before, each as likely."""
_NEW_NAME = 0.15
_NAME_LENGTHS = np.array([2, 3, 4, 5])
"""Pieces of a new name, each of these as likely."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large a dataset is; the sequences of a split are `sequence_length + 1` tokens each."""

    lexicon: Lexicon
    sequence_length: int
    train: int
    """Sequences."""
    validation: int
    sentences: tuple[int, ...]
    """How many sentences a document has, each as likely."""
    documents: int
    """Made at a time."""
    seed: int


MINI = Sizes(
    lexicon=Lexicon(
        articles=5,
        nouns=30,
        adjectives=18,
        verbs=16,
        transitive=12,
        reporting=6,
        prepositions=2,
        adverbs=48,
        particles=4,
        first_names=90,
        family_names=188,
        topics=6,
    ),
    sequence_length=128,
    train=48_000,
    validation=128,
    sentences=(4, 6, 8, 10, 12, 16, 20, 24, 32, 40),
    documents=1000,
    seed=20260901,
)

TINY = Sizes(
    lexicon=Lexicon(
        articles=1,
        nouns=1,
        adjectives=1,
        verbs=1,
        transitive=1,
        reporting=1,
        prepositions=1,
        adverbs=1,
        particles=1,
        first_names=3,
        family_names=4,
        topics=2,
    ),
    sequence_length=16,
    train=4_000,
    validation=64,
    sentences=(2, 3, 4),
    documents=1000,
    seed=20260901,
)


def generate(sizes: Sizes) -> HostBatch:
    """Return the splits `train` and `validation`: streams of tokens, uint16, cut to whole sequences."""
    return draw(sizes)[0]


def draw(sizes: Sizes) -> tuple[HostBatch, float, float]:
    """Return the streams, and bounds of the language's entropy in nats a token, below and above.

    Above: the mean surprise of all that was drawn, since the tokens follow from it. Below: the same without the
    topics, since nothing else that was drawn is hidden: sentences have one derivation, and a name's pieces show
    which it is but where two happen to agree.
    """
    random = np.random.Generator(np.random.PCG64(sizes.seed))
    language = _Language(sizes, random)
    streams: HostBatch = {}
    for split, sequences in (("train", sizes.train), ("validation", sizes.validation)):
        wanted, pieces, length = sequences * (sizes.sequence_length + 1), [], 0
        while length < wanted:
            pieces.append(join_documents(*language.documents(), END_OF_TEXT))
            length += len(pieces[-1])
        streams[split] = np.concatenate(pieces)[:wanted]
    return streams, (language.nats - language.hidden_nats) / language.tokens, language.nats / language.tokens


class _Language:
    """Draws documents and adds up how surprising they are."""

    def __init__(self, sizes: Sizes, random: np.random.Generator) -> None:
        self._sizes = sizes
        self._random = random
        self._grammar = Grammar(sizes.lexicon.classes)
        self._words, self._probabilities = word_tables(sizes.lexicon, random)
        topics = sizes.lexicon.topics
        weights = 1 / np.arange(2, topics + 2)
        self._topic_edges = np.floor(np.cumsum(weights / weights.sum()) * WORD_SLOTS)
        self._topic_edges[-1] = WORD_SLOTS
        self.nats = self.hidden_nats = 0.0
        self.tokens = 0

    def documents(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of some documents in a row, uint16, and the documents' lengths."""
        sizes = self._sizes
        end, sentence = self._grammar.symbol["end"], self._grammar.symbol["sentence"]
        counts = np.array(sizes.sentences)[self._random.integers(0, len(sizes.sentences), sizes.documents)]
        symbols = np.full(counts.sum() + len(counts), sentence, dtype=np.int16)
        symbols[np.cumsum(counts + 1) - 1] = end
        classes = self._expand(symbols)
        is_end = classes == end
        document = np.cumsum(is_end) - is_end
        slots = self._random.integers(0, WORD_SLOTS, sizes.documents)
        topics = np.searchsorted(self._topic_edges, slots, side="right")
        share = np.diff(self._topic_edges, prepend=0) / WORD_SLOTS
        topic_nats = -np.log(share[topics]).sum()
        self.hidden_nats += topic_nats
        self.nats += topic_nats + len(counts) * np.log(len(sizes.sentences))
        tokens, document = self._spell_names(classes, document)
        words = tokens < 0
        tokens[words] = self._draw_words(~tokens[words], topics[document[words]])
        is_end = tokens == END_OF_TEXT
        self.tokens += len(tokens)
        ends = np.flatnonzero(is_end)
        return tokens[~is_end].astype(np.uint16), np.diff(ends, prepend=-1) - 1

    def _expand(self, symbols: np.ndarray) -> np.ndarray:
        """Return the word classes that the symbols expand to, all of a round at once."""
        grammar, rounds = self._grammar, 0
        while True:
            places = np.flatnonzero(symbols >= grammar.first_phrase)
            if not len(places):
                return symbols
            ending = rounds >= _FREE_ROUNDS
            phrases = symbols[places] - grammar.first_phrase
            slots = self._random.integers(0, RULE_SLOTS, len(places))
            rules = grammar.tables[int(ending), phrases, slots]
            chosen = rules[~grammar.cut[phrases]] if ending else rules
            self.nats -= np.log(grammar.probability[chosen]).sum()
            lengths = np.ones(len(symbols), dtype=np.int64)
            lengths[places] = grammar.lengths[rules]
            starts = (np.cumsum(lengths) - lengths)[places]
            symbols = np.repeat(symbols, lengths)
            for position in range(grammar.parts.shape[1]):
                longer = grammar.lengths[rules] > position
                symbols[starts[longer] + position] = grammar.parts[rules[longer], position]
            rounds += 1

    def _spell_names(self, classes: np.ndarray, document: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens of names, and of all other places the bitwise complement of the class; and the documents."""
        mentions = np.flatnonzero(classes == self._grammar.symbol[NAME])
        lengths, pieces = self._names(document[mentions])
        repeats = np.ones(len(classes), dtype=np.int64)
        repeats[mentions] = lengths
        starts = (np.cumsum(repeats) - repeats)[mentions]
        tokens = np.repeat(~classes.astype(np.int64), repeats)
        for position in range(pieces.shape[1]):
            longer = lengths > position
            tokens[starts[longer] + position] = pieces[longer, position]
        return tokens, np.repeat(document, repeats)

    def _names(self, document: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths (n,) and pieces (n, 5) of the names of mentions, given each mention's document."""
        random, count = self._random, len(document)
        mention = np.arange(count)
        before = mention - np.searchsorted(document, document)
        remembered = np.minimum(before, _MEMORY)
        is_new = (random.random(count) < _NEW_NAME) | (before == 0)
        back = 1 + random.integers(0, np.maximum(remembered, 1))
        source = np.where(is_new, mention, mention - back)
        while not np.array_equal(source[source], source):
            source = source[source]
        lengths = _NAME_LENGTHS[random.integers(0, len(_NAME_LENGTHS), count)]
        symbol = self._grammar.symbol
        kinds = [symbol["first_name"]] + [symbol["family_name"]] * (_NAME_LENGTHS.max() - 1)
        pieces = np.stack([self._words[kind, 0, random.integers(0, WORD_SLOTS, count)] for kind in kinds], axis=1)

        new = is_new.nonzero()[0]
        length_share = (lengths[new, None] == _NAME_LENGTHS).mean(axis=1)
        spelling = np.log(self._probabilities[kinds, 0, pieces[new]])
        spelling[np.arange(len(kinds)) >= lengths[new, None]] = 0
        self.nats -= np.log(np.where(before[new] > 0, _NEW_NAME, 1) * length_share).sum() + spelling.sum()
        old = (~is_new).nonzero()[0]
        same = sum((source[old - back] == source[old]) & (back <= before[old]) for back in range(1, _MEMORY + 1))
        self.nats -= np.log((1 - _NEW_NAME) * same / remembered[old]).sum()
        return lengths[source], pieces[source].astype(np.int64)

    def _draw_words(self, classes: np.ndarray, topics: np.ndarray) -> np.ndarray:
        """Return a word of each class under its document's topic."""
        words = self._words[classes, topics, self._random.integers(0, WORD_SLOTS, len(classes))]
        self.nats -= np.log(self._probabilities[classes, topics, words]).sum()
        return words
