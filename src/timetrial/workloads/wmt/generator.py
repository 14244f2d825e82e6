"""Generated translation data: the dataset card is `docs/mini-1/wmt.md`; sentences of a grammar in two languages.

What must be learned. Source sentences are `[adverb] subject [postpositional phrase] [object] verb [negation]
[question]`, noun phrases `[determiner] [adjective] noun` or a name; target sentences put the verb after the subject, or
first in a question, the negation before it, adjectives after their noun (one in five before), prepositions before their
phrase and adverbs last. Target determiners, adjectives and verbs agree in number and gender with a noun that may stand
far away, and gender is to be learned word by word. The sense of a verb hangs on its object, that of some nouns on the
verb, that of a preposition on its noun. Frequent words are irregular, rare ones compounds of frequent roots.

Tails. The words of each class are Zipf distributed, frequency ~ 1 / (rank + 2.7) (Mandelbrot's form, exponent 1).

Ceiling. A fifth of the content words has a free synonym, used in 20 % of the cases: some 3 % of the target words cannot
be predicted. `translations(..., free=False)` are the best possible ones; their BLEU is the ceiling, 92.4 at `mini`. A
dictionary alone, word by word, reaches 4.9 (`tests/workloads/test_wmt_data.py`).

Regime. 9,109 training pairs in 3,208 packed rows: 5.6 passes in 1,500 steps of 12 rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from timetrial.workloads.base import HostBatch
from timetrial.workloads.wmt.lexicon import NEGATION, QUESTION, Lexicon, LexiconSizes, make_lexicon
from timetrial.workloads.wmt.preprocessing import pad

_ZIPF_OFFSET = 2.7
_SYNONYM_RATE = 0.2
_NOTHING = ""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """How large a parallel corpus and its lexicon are, and how likely its sentences' optional parts."""

    train: int
    """Pairs of sentences; likewise the other splits."""
    validation: int
    test: int
    lexicon: LexiconSizes
    seed: int
    pieces: bool = True
    """Whether the tokens are pieces of the committed SentencePiece model, or else the words themselves."""
    adverb: float = 0.2
    phrase: float = 0.25
    object: float = 0.75
    determiner: float = 0.8
    adjective: float = 0.25
    pronoun: float = 0.15
    name: float = 0.2
    plural: float = 0.35
    negation: float = 0.12
    question: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """One noun phrase of every sentence: arrays (sentences,) of word numbers, -1 where a word is absent."""

    determiner: np.ndarray
    adjective: np.ndarray
    noun: np.ndarray
    plural: np.ndarray
    synonym: np.ndarray
    """(2, sentences): of adjective and noun, whether the free synonym is used."""


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """What the sentences say, in neither language: arrays of word numbers and of 0 and 1, -1 for absent words."""

    subject: Phrases
    attribute: Phrases
    """The phrase of the preposition."""
    object: Phrases
    pronoun: np.ndarray
    """Subject instead of the noun phrase."""
    preposition: np.ndarray
    adverb: np.ndarray
    verb: np.ndarray
    tense: np.ndarray
    negation: np.ndarray
    question: np.ndarray
    synonym: np.ndarray
    """(2, sentences): of verb and adverb."""


def draw_sentences(corpus: Corpus, count: int, random: np.random.Generator) -> Sentences:
    """Draw the meaning of `count` sentences."""
    sizes = corpus.lexicon
    verb = _zipf(sizes.verbs, count, random)
    pronoun = _maybe(corpus.pronoun, _zipf(sizes.pronouns, count, random), random)
    preposition = _maybe(corpus.phrase, _zipf(sizes.prepositions, count, random), random)
    has_object = random.random(count) < corpus.object
    return Sentences(
        subject=_phrases(corpus, pronoun < 0, random),
        attribute=_phrases(corpus, preposition >= 0, random),
        object=_phrases(corpus, has_object, random),
        pronoun=pronoun,
        preposition=preposition,
        adverb=_maybe(corpus.adverb, _zipf(sizes.adverbs, count, random), random),
        verb=verb,
        tense=(random.random(count) < 0.4).astype(np.int64),
        negation=random.random(count) < corpus.negation,
        question=random.random(count) < corpus.question,
        synonym=_synonyms(count, random),
    )


def _phrases(corpus: Corpus, present: np.ndarray, random: np.random.Generator) -> Phrases:
    count, sizes = len(present), corpus.lexicon
    determiner = _maybe(corpus.determiner, _zipf(sizes.determiners, count, random), random)
    adjective = _maybe(corpus.adjective, _zipf(sizes.adjectives, count, random), random)
    noun, name = _zipf(sizes.nouns, count, random), sizes.nouns + _zipf(sizes.names, count, random)
    is_name, plural = random.random(count) < corpus.name, random.random(count) < corpus.plural
    determiner, adjective = (np.where(present & ~is_name, word, -1) for word in (determiner, adjective))
    noun = np.where(present, np.where(is_name, name, noun), -1)
    plural = (plural & ~is_name).astype(np.int64)
    return Phrases(
        determiner=determiner, adjective=adjective, noun=noun, plural=plural, synonym=_synonyms(count, random)
    )


def _zipf(words: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw word numbers, the most frequent first."""
    cumulative = np.cumsum(1.0 / (np.arange(words) + 1.0 + _ZIPF_OFFSET))
    return np.searchsorted(cumulative / cumulative[-1], random.random(count), side="right").clip(max=words - 1)


def _maybe(rate: float, words: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.where(random.random(len(words)) < rate, words, -1)


def _synonyms(count: int, random: np.random.Generator) -> np.ndarray:
    return (random.random((2, count)) < _SYNONYM_RATE).astype(np.int64)


def sources(words: Lexicon, said: Sentences) -> list[str]:
    """Return the sentences in the source language."""
    ending = np.where(said.question, f" {QUESTION}?", ".")
    columns = [
        _pick(words.source_adverbs, said.adverb),
        _pick(words.source_pronouns, said.pronoun),
        *_source_phrase(words, said.subject),
        *_source_phrase(words, said.attribute),
        _pick(words.source_prepositions, said.preposition),
        *_source_phrase(words, said.object),
        _pick(words.source_verbs, said.verb, said.tense),
        np.where(said.negation, NEGATION[0], _NOTHING),
    ]
    return _join(columns, ending)


def translations(words: Lexicon, said: Sentences, *, free: bool = True) -> list[str]:
    """Return the sentences in the target language; without `free`, no free synonym is ever used."""
    if not free:
        phrases = {name: _likeliest(getattr(said, name)) for name in ("subject", "attribute", "object")}
        said = replace(_likeliest(said), **phrases)
    subject, attribute, patient = said.subject, said.attribute, said.object
    of_verb = words.verb_class[said.verb]
    of_object = np.where(patient.noun >= 0, words.animate[patient.noun], 0)
    agreement = np.where(
        said.pronoun >= 0, words.pronoun_agreement[said.pronoun], 2 * subject.plural + words.gender[subject.noun]
    )
    verb = [
        np.where(said.negation, NEGATION[1], _NOTHING),
        _pick(words.target_verbs, said.verb, said.tense, agreement, of_object, said.synonym[0]),
    ]
    columns = [
        *(np.where(said.question, word, _NOTHING) for word in verb),
        _pick(words.target_pronouns, said.pronoun),
        *_target_phrase(words, subject, np.zeros_like(of_verb)),
        _pick(words.target_prepositions, said.preposition, words.animate[attribute.noun]),
        *_target_phrase(words, attribute, np.zeros_like(of_verb)),
        *(np.where(said.question, _NOTHING, word) for word in verb),
        *_target_phrase(words, patient, of_verb),
        _pick(words.target_adverbs, said.adverb, said.synonym[1]),
    ]
    return _join(columns, np.where(said.question, "?", "."))


def _likeliest(said: Any) -> Any:
    return replace(said, synonym=np.zeros_like(said.synonym))


def _source_phrase(words: Lexicon, phrase: Phrases) -> list[np.ndarray]:
    return [
        _pick(words.source_determiners, phrase.determiner, phrase.plural),
        _pick(words.source_adjectives, phrase.adjective),
        _pick(words.source_nouns, phrase.noun, phrase.plural),
    ]


def _target_phrase(words: Lexicon, phrase: Phrases, sense: np.ndarray) -> list[np.ndarray]:
    agreement = 2 * phrase.plural + words.gender[phrase.noun]
    adjective = _pick(words.target_adjectives, phrase.adjective, agreement, phrase.synonym[0])
    before = words.prenominal[phrase.adjective] == 1
    return [
        _pick(words.target_determiners, phrase.determiner, agreement),
        np.where(before, adjective, _NOTHING),
        _pick(words.target_nouns, phrase.noun, phrase.plural, sense, phrase.synonym[1]),
        np.where(before, _NOTHING, adjective),
    ]


def _pick(forms: np.ndarray, word: np.ndarray, *properties: np.ndarray) -> np.ndarray:
    """Return the form of each word (sentences,), nothing where it is absent."""
    return np.where(word >= 0, forms[word, *properties], _NOTHING)


def _join(columns: list[np.ndarray], endings: np.ndarray) -> list[str]:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [" ".join(filter(None, row)) + ending for row, ending in zip(rows, endings.tolist(), strict=True)]


def make_corpus(corpus: Corpus) -> tuple[Lexicon, dict[str, Sentences]]:
    """Return the languages, and what is said in each split."""
    random = np.random.Generator(np.random.PCG64(corpus.seed))
    words = make_lexicon(corpus.lexicon, random)
    sizes = {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}
    return words, {split: draw_sentences(corpus, size, random) for split, size in sizes.items()}


def generate(corpus: Corpus) -> HostBatch:
    """Return the tokenised pairs: `<split>_inputs` and `<split>_targets`, int16, padded with 0.

    Tokens rather than text are kept, so that what a trial sees cannot change with SentencePiece's release.
    """
    from timetrial.workloads.wmt.tokenizer import WordTokenizer, mini_tokenizer

    words, said = make_corpus(corpus)
    texts = {
        f"{split}_{side}": lines
        for split, sentences in said.items()
        for side, lines in (("inputs", sources(words, sentences)), ("targets", translations(words, sentences)))
    }
    tokenizer = mini_tokenizer() if corpus.pieces else WordTokenizer(texts["train_inputs"] + texts["train_targets"])
    return {name: pad(tokenizer.encode_all(lines)).astype(np.int16) for name, lines in texts.items()}


MINI = Corpus(
    train=12_000,
    validation=300,
    test=90,
    seed=20261105,
    lexicon=LexiconSizes(
        nouns=400, adjectives=150, verbs=200, adverbs=60, prepositions=12, determiners=5, pronouns=8, names=60
    ),
)
TINY = Corpus(
    train=400,
    validation=40,
    test=20,
    seed=20261106,
    lexicon=LexiconSizes(nouns=3, adjectives=1, verbs=2, adverbs=1, prepositions=1, determiners=1, pronouns=1, names=2),
    pieces=False,
)
