"""The two invented languages of the generated translation data: words, their spelling and their inflection.

Content words stand in an order of frequency. The frequent ones have stems of their own: a third of them the same in
both languages, a fifth changed by regular sound changes, some of them irregular. The rare ones are compounds of roots
which the languages put together in opposite orders, so that their pieces tell what they mean. Names are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_ONSETS = np.array(list("bdfghklmnprstvz"))
_VOWELS = np.array(list("aeiou"))
_SOUND_CHANGES = str.maketrans("bdgkfpzae", "pztcvfsei")
"""From a source word to its cognate."""
_COMPOUND_FROM = 0.3
"""Words rarer than this share of their class are compounds."""
_SHARED, _COGNATES = 0.35, 0.2
"""Shares of the stems that are the same in both languages, and that are so but for the sound changes."""
_SYNONYMS = 0.2
"""Share of the content words that have a free synonym in the target language."""

PLURAL = {"source": ("en", "ir"), "target": ("s", "x")}
"""Endings of nouns: by declension in the source language, by gender in the target language."""
AGREEMENT = ("", "a", "o", "ae")
"""Endings of target adjectives and participles by 2 x plural + gender."""
QUESTION = "ka"
"""Source particle at the end of questions."""
NEGATION = ("nim", "no")
"""Of verbs, in the source and the target language."""
TENSES = ("at", "ut")
"""Endings of source verbs: present, past."""


@dataclass(frozen=True, kw_only=True)
class LexiconSizes:
    """Word types of each class."""

    nouns: int
    adjectives: int
    verbs: int
    adverbs: int
    prepositions: int
    determiners: int
    pronouns: int
    names: int


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Word forms as arrays of strings, and the properties that grammar asks for.

    A content word's target tables have the axis `sense` last but one (chosen by context) and `synonym` last (chosen
    freely; where a word has no synonym both are the same).
    """

    source_nouns: np.ndarray
    """(noun, plural); names are the last nouns, here and below."""
    target_nouns: np.ndarray
    """(noun, plural, sense, synonym)."""
    gender: np.ndarray
    """Of nouns, names at the end, 0 or 1; only the target language has it."""
    animate: np.ndarray
    """Of nouns, 0 or 1; decides the sense of verbs and prepositions."""
    source_adjectives: np.ndarray
    target_adjectives: np.ndarray
    """(adjective, 2 x plural + gender, synonym)."""
    prenominal: np.ndarray
    """Of adjectives, whether they stand before the noun in the target language."""
    source_verbs: np.ndarray
    """(verb, tense)."""
    target_verbs: np.ndarray
    """(verb, tense, 2 x plural + gender, sense, synonym)."""
    verb_class: np.ndarray
    """Of verbs, 0 or 1; decides the sense of nouns."""
    source_adverbs: np.ndarray
    target_adverbs: np.ndarray
    """(adverb, synonym)."""
    source_prepositions: np.ndarray
    target_prepositions: np.ndarray
    """(preposition, sense)."""
    source_determiners: np.ndarray
    """(determiner, plural)."""
    target_determiners: np.ndarray
    """(determiner, 2 x plural + gender)."""
    source_pronouns: np.ndarray
    target_pronouns: np.ndarray
    pronoun_agreement: np.ndarray
    """2 x plural + gender of each pronoun."""


class _Speller:
    """Draws spellings, none twice in a language."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._taken = {QUESTION, *NEGATION}
        self._roots = [(self._syllable(), self._syllable()) for _ in range(60)]

    def pairs(self, count: int, syllables: int, *, compounds: bool = True) -> list[tuple[str, str]]:
        """Return the stems of `count` words in both languages, the most frequent first."""
        simple = count - int(compounds * (1 - _COMPOUND_FROM) * count)
        return [self._fresh(syllables, compound=rank >= simple) for rank in range(count)]

    def words(self, count: int, syllables: int) -> list[str]:
        """Return `count` new words of one language."""
        return [self._fresh(syllables, compound=False)[1] for _ in range(count)]

    def _fresh(self, syllables: int, *, compound: bool) -> tuple[str, str]:
        while True:
            pair = self._compound() if compound else self._stem(syllables)
            if not self._taken.intersection(pair):
                self._taken.update(pair)
                return pair

    def _stem(self, syllables: int) -> tuple[str, str]:
        source, other = ("".join(self._syllable() for _ in range(syllables)) for _ in range(2))
        kind = self._random.random()
        if kind < _SHARED:
            return source, source
        return source, source.translate(_SOUND_CHANGES) if kind < _SHARED + _COGNATES else other

    def _compound(self) -> tuple[str, str]:
        first, second = (self._roots[i] for i in self._random.integers(len(self._roots), size=2))
        return first[0] + second[0], second[1] + first[1]

    def _syllable(self) -> str:
        onset, coda = _ONSETS[self._random.integers(len(_ONSETS), size=2)]
        closed = self._random.random() < 0.5
        return f"{onset}{_VOWELS[self._random.integers(len(_VOWELS))]}{coda if closed else ''}"


def make_lexicon(sizes: LexiconSizes, random: np.random.Generator) -> Lexicon:
    """Draw both languages; the same generator gives the same languages."""
    spell = _Speller(random)
    determiners = spell.pairs(sizes.determiners, 1, compounds=False)
    pronouns = spell.pairs(sizes.pronouns, 1, compounds=False)
    prepositions = spell.pairs(sizes.prepositions, 1, compounds=False)
    nouns, adjectives, verbs, adverbs = (
        spell.pairs(count, 2) for count in (sizes.nouns, sizes.adjectives, sizes.verbs, sizes.adverbs)
    )
    names = spell.words(sizes.names, 2)
    declension, gender, animate = (_flags(random, sizes.nouns + sizes.names, share) for share in (0.4, 0.5, 0.4))
    verb_class, prenominal = _flags(random, sizes.verbs, 0.5), _flags(random, sizes.adjectives, 0.2)
    noun_stems = _target_stems(nouns, 0.1, spell, random)
    verb_stems = _target_stems(verbs, 0.3, spell, random)
    return Lexicon(
        source_nouns=np.array(_source_nouns(nouns, declension) + [[name] * 2 for name in names]),
        target_nouns=np.array(_target_nouns(noun_stems, gender, spell) + [[[[name] * 2] * 2] * 2 for name in names]),
        gender=gender,
        animate=animate,
        source_adjectives=np.array([s + "e" for s, _ in adjectives]),
        target_adjectives=np.array(
            [[[stem + ending for stem in free] for ending in AGREEMENT] for free in _free(adjectives, spell, random)]
        ),
        prenominal=prenominal,
        source_verbs=np.array([[s + tense for tense in TENSES] for s, _ in verbs]),
        target_verbs=_target_verbs(verb_stems, spell),
        verb_class=verb_class,
        source_adverbs=np.array([s for s, _ in adverbs]),
        target_adverbs=np.array(_free(adverbs, spell, random)),
        source_prepositions=np.array([s for s, _ in prepositions]),
        target_prepositions=np.array(
            [[t, o] for (_, t), o in zip(prepositions, spell.words(len(prepositions), 1), strict=True)]
        ),
        source_determiners=np.array([[s, s + "i"] for s, _ in determiners]),
        target_determiners=np.array([[t + ending for ending in AGREEMENT] for _, t in determiners]),
        source_pronouns=np.array([s for s, _ in pronouns]),
        target_pronouns=np.array([t for _, t in pronouns]),
        pronoun_agreement=np.arange(sizes.pronouns) % 4,
    )


def _flags(random: np.random.Generator, count: int, share: float) -> np.ndarray:
    return (random.random(count) < share).astype(np.int64)


def _free(words: list[tuple[str, str]], spell: _Speller, random: np.random.Generator) -> list[list[str]]:
    """Return each word's target stem and its free synonym, which most words lack."""
    others = spell.words(len(words), 2)
    has = _flags(random, len(words), _SYNONYMS)
    return [[stem, other if synonym else stem] for (_, stem), other, synonym in zip(words, others, has, strict=True)]


def _target_stems(
    words: list[tuple[str, str]], ambiguous: float, spell: _Speller, random: np.random.Generator
) -> list[list[list[str]]]:
    """Return stems by word, sense and synonym; a share of the words has a second sense, the others the same twice."""
    senses = spell.words(len(words), 2)
    second = _flags(random, len(words), ambiguous)
    free = _free(words, spell, random)
    return [[pair, [sense, sense] if other else pair] for pair, sense, other in zip(free, senses, second, strict=True)]


def _source_nouns(nouns: list[tuple[str, str]], declension: np.ndarray) -> list[list[str]]:
    return [[stem, stem + PLURAL["source"][declension[noun]]] for noun, (stem, _) in enumerate(nouns)]


def _target_nouns(stems: list[list[list[str]]], gender: np.ndarray, spell: _Speller) -> list[Any]:
    """Inflect; of the most frequent twentieth every other plural is irregular."""
    irregular = dict(zip(range(0, len(stems) // 20, 2), spell.words(len(stems) // 20, 2), strict=False))
    rows = []
    for noun, senses in enumerate(stems):
        plural = [[stem + PLURAL["target"][gender[noun]] for stem in free] for free in senses]
        if noun in irregular:
            plural[0] = [irregular[noun]] * 2
        rows.append([senses, plural])
    return rows


def _target_verbs(stems: list[list[list[str]]], spell: _Speller) -> np.ndarray:
    """Inflect: the present agrees in number, the past (a participle) in number and gender.

    Of the most frequent twentieth every other past stem is irregular.
    """
    irregular = dict(zip(range(0, len(stems) // 20, 2), spell.words(len(stems) // 20, 2), strict=False))
    rows = []
    for verb, senses in enumerate(stems):
        past = [[irregular[verb]] * 2, senses[1]] if verb in irregular else senses
        present = [[[stem + ending for stem in free] for free in senses] for ending in ("er", "er", "on", "on")]
        rows.append([present, [[[stem + "u" + end for stem in free] for free in past] for end in AGREEMENT]])
    return np.array(rows)
