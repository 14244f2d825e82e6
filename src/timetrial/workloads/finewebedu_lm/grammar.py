"""The language of the generated documents: a vocabulary, a probabilistic grammar and hidden topics, as look-up tables.

Names of word classes and phrases carry features: `noun_2s` is a singular noun of gender 2. Every probability is a
whole number of 256ths or of 4,096ths, so that drawing is indexing a table with a random integer and the cross
entropy is known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

END_OF_TEXT = 0

GENDERS = range(6)
_NUMBERS = "sp"
_GENDER_WEIGHTS = ((45, 27), (35, 21), (27, 17), (22, 14), (17, 11), (12, 8))
"""In 256ths, by gender: of a singular and of a plural subject."""

RULE_SLOTS = 256
WORD_SLOTS = 4096
_LONGEST_RULE = 5

NAME = "name"
"""A word class that has no words of its own: see `generator.py`."""

_TOPICAL = ("noun", "adjective", "verb", "adverb")
"""Classes, by the start of their names, whose words depend on the topic."""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """How many words each kind of word class has, and how the topics change their frequencies."""

    articles: int
    nouns: int
    adjectives: int
    verbs: int
    """Of each class of verbs without an object."""
    transitive: int
    """Of each class of verbs with an object; a verb takes objects of one gender."""
    reporting: int
    prepositions: int
    adverbs: int
    particles: int
    first_names: int
    family_names: int
    topics: int
    boost: int = 30
    """How much more often a topic uses the words it prefers."""
    preferred: float = 0.17
    """Share of a class's words that a topic prefers."""

    @cached_property
    def classes(self) -> Mapping[str, int]:
        """Words of each class, in the order of their ids, which start with the end of text."""
        return {
            "end": 1,
            **dict.fromkeys((".", ",", "(", ")", "[", "]", "{", "}", "that"), 1),
            "relative": 2,
            "conjunction": self.particles,
            "subordinator": self.particles,
            **{f"article_{n}": self.articles for n in _NUMBERS},
            **{f"noun_{g}{n}": self.nouns for g in GENDERS for n in _NUMBERS},
            **{f"adjective_{g}": self.adjectives for g in GENDERS},
            **{f"verb_{n}": self.verbs for n in _NUMBERS},
            **{f"verb_{g}{n}": self.transitive for g in GENDERS for n in _NUMBERS},
            **{f"reporting_{n}": self.reporting for n in _NUMBERS},
            **{f"preposition_{g}": self.prepositions for g in GENDERS},
            "adverb": self.adverbs,
            "first_name": self.first_names,
            "family_name": self.family_names,
        }

    @property
    def vocabulary(self) -> int:
        """How many pieces there are, the end of text among them."""
        return sum(self.classes.values())

    def first_id(self, word_class: str) -> int:
        """Return the id of a class's most frequent word."""
        names = list(self.classes)
        return sum(self.classes[name] for name in names[: names.index(word_class)])


def _rules() -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Yield each phrase with its expansions and their probabilities in 256ths.

    A phrase is modified at its end only and brackets are of three kinds that must match, so that a sentence has one
    derivation.
    """
    yield (
        "sentence",
        [
            (136, "clause ."),
            (28, "adverb , clause ."),
            (24, "within , clause ."),
            (30, "subordinator clause , clause ."),
            (38, "clause , conjunction clause ."),
        ],
    )
    yield "clause", [(112, f"{NAME} predicate_s"), (144, "common_clause")]
    yield (
        "common_clause",
        [
            (weight, f"phrase_{g}{n} predicate_{n}")
            for g, weights in zip(GENDERS, _GENDER_WEIGHTS, strict=True)
            for n, weight in zip(_NUMBERS, weights, strict=True)
        ],
    )
    yield "within", [(sum(w), f"preposition_{g} object_{g}") for g, w in zip(GENDERS, _GENDER_WEIGHTS, strict=True)]
    yield "bracket", [(128, "( aside )"), (80, "[ aside ]"), (48, "{ aside }")]
    yield "aside", [(96, NAME), (64, f"{NAME} , {NAME}"), (48, "clause"), (48, "within")]
    for n in _NUMBERS:
        yield (
            f"predicate_{n}",
            [
                (56, f"verb_{n}"),
                (32, f"verb_{n} adverb"),
                (136, f"action_{n}"),
                (32, f"reporting_{n} that clause"),
            ],
        )
        yield (
            f"action_{n}",
            [(sum(w), f"verb_{g}{n} target_{g}") for g, w in zip(GENDERS, _GENDER_WEIGHTS, strict=True)],
        )
        yield f"modifier_{n}", [(160, ""), (40, "within"), (20, f"relative predicate_{n}"), (36, "bracket")]
    for g in GENDERS:
        yield f"target_{g}", [(156, f"object_{g}"), (100, NAME)]
        yield f"object_{g}", [(160, f"phrase_{g}s"), (96, f"phrase_{g}p")]
        for n in _NUMBERS:
            yield (
                f"phrase_{g}{n}",
                [
                    (144, f"article_{n} noun_{g}{n} modifier_{n}"),
                    (88, f"article_{n} adjective_{g} noun_{g}{n} modifier_{n}"),
                    (24, f"article_{n} adjective_{g} adjective_{g} noun_{g}{n} modifier_{n}"),
                ],
            )


_SHORTEST = {"modifier": 0, "predicate": 0, "aside": 0, "target": 1}
"""The expansion, by its place, that ends a phrase which has grown too deep."""


class Grammar:
    """The tables: symbols below `len(classes)` are word classes, `name` follows, then phrases."""

    def __init__(self, classes: Mapping[str, int]) -> None:
        rules = dict(_rules())
        names = [*classes, NAME, *rules]
        self.symbol = {name: number for number, name in enumerate(names)}
        self.first_phrase = len(classes) + 1
        expansions = [text.split() for options in rules.values() for _, text in options]
        self.lengths = np.array([len(parts) for parts in expansions])
        self.parts = np.zeros((len(expansions), _LONGEST_RULE), dtype=np.int16)
        for rule, parts in enumerate(expansions):
            self.parts[rule, : len(parts)] = [self.symbol[part] for part in parts]
        self.probability = np.array([weight for options in rules.values() for weight, _ in options]) / RULE_SLOTS
        free, ending, first = [], [], 0
        for name, options in rules.items():
            free.append(np.repeat(np.arange(first, first + len(options)), [weight for weight, _ in options]))
            shortest = _SHORTEST.get(name.partition("_")[0])
            ending.append(free[-1] if shortest is None else np.full(RULE_SLOTS, first + shortest))
            first += len(options)
        self.tables = np.stack([free, ending])
        """The rule for each 256th: (freely or so as to end, phrase, 256)."""
        self.cut = np.array([name.partition("_")[0] in _SHORTEST for name in rules])
        """By phrase, whether its expansion is no choice where it must end."""


def zipf_counts(size: int, slots: int, factors: np.ndarray | None = None) -> np.ndarray:
    """Return how many of the slots each of `size` words gets: in proportion to 1 / rank, times a factor.

    At least one each; what rounding leaves over is the first word's.
    """
    weights = 1.0 / np.arange(1, size + 1) * (1 if factors is None else factors)
    counts = 1 + np.floor(weights / weights.sum() * (slots - size)).astype(np.int64)
    counts[0] += slots - counts.sum()
    return counts


def word_tables(lexicon: Lexicon, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return for each class and topic the word in each slot, uint16, and the words' probabilities.

    Shapes (classes, topics, 4,096) and (classes, topics, vocabulary).
    """
    words = np.zeros((len(lexicon.classes), lexicon.topics, WORD_SLOTS), dtype=np.uint16)
    probabilities = np.zeros((len(lexicon.classes), lexicon.topics, lexicon.vocabulary))
    first = 0
    for row, (name, size) in enumerate(lexicon.classes.items()):
        ids = np.arange(first, first + size)
        topical = name.startswith(_TOPICAL)
        for topic in range(lexicon.topics):
            preferred = random.random(size) < lexicon.preferred
            counts = zipf_counts(size, WORD_SLOTS, np.where(preferred, lexicon.boost, 1) if topical else None)
            words[row, topic] = np.repeat(ids, counts)
            probabilities[row, topic, ids] = counts / WORD_SLOTS
        first += size
    return words, probabilities
