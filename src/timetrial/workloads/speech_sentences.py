"""Made-up language: a lexicon of letter-spelled words with Zipf frequencies, and bigram sentences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VOWELS = "EAOIUY"
CONSONANTS = "TNSRLDHMCPFGBWVKJXZQ"
"""Each in falling order of frequency: the i-th has weight 1 / (i + 2)."""

_PATTERNS = ("CV", "VC", "CVC", "CVC", "VCV", "CVCV", "CVCV", "CVCVC", "CVCC")
"""Words by the place of vowels and consonants, from common to rare; drawn uniformly."""
_MINIMAL_PAIRS = 0.5
"""Share of words that differ from an earlier word in a single letter."""
_FOLLOWERS = 6
"""Words that a word prefers to be followed by."""
_BIGRAM = 0.6
"""How often it is."""


@dataclass(frozen=True)
class Language:
    """Words in falling order of frequency, and what follows what."""

    words: tuple[str, ...]
    cumulative: np.ndarray
    """Cumulative unigram probabilities (words,); the i-th word has a probability proportional to 1 / (i + 1)."""
    followers: np.ndarray
    """Numbers of the words that each word prefers to be followed by (words, 6), the first of them most."""


def make_language(random: np.random.Generator, words: int) -> Language:
    """Make a lexicon of so many different words of two to five letters; short words come first, as in English."""
    lexicon: dict[str, None] = {}
    while len(lexicon) < words:
        if lexicon and random.random() < _MINIMAL_PAIRS:
            word = _neighbour(list(lexicon)[random.integers(len(lexicon))], random)
        else:
            word = "".join(_letter(kind, random) for kind in _PATTERNS[random.integers(len(_PATTERNS))])
        lexicon[word] = None
    # Length with some noise decides the rank, so that common words are short and yet not only the short are common.
    disorder = 2.0 * random.random(words)
    lengths = np.array([len(word) for word in lexicon])
    ranked = np.array(list(lexicon))[np.argsort(lengths + disorder, kind="stable")]
    cumulative = _cumulative(1, words)
    followers = _draw(cumulative, random, (words, _FOLLOWERS))
    followers += followers == np.arange(words)[:, np.newaxis]  # no word is preferred after itself
    followers %= words
    return Language(tuple(ranked.tolist()), cumulative, followers)


def make_sentence(language: Language, random: np.random.Generator, words: int, letters: int) -> str:
    """Return a sentence of at most so many words and, spaces counted, letters; at least one word."""
    sentence: list[str] = []
    previous = None
    while len(sentence) < words:
        if previous is not None and random.random() < _BIGRAM:
            # Of the six, the first is chosen with probability 11 / 36, the last with 1 / 36.
            number = int(language.followers[previous, random.integers(_FOLLOWERS, size=2).min()])
        else:
            number = int(_draw(language.cumulative, random, ()))
        word = language.words[number]
        if len(" ".join([*sentence, word])) > letters:
            if sentence:
                break
            continue
        sentence.append(word)
        previous = number
    return " ".join(sentence)


def _cumulative(first: int, count: int) -> np.ndarray:
    """Return cumulative probabilities of `count` things, proportional to 1 / first, 1 / (first + 1), ..."""
    weights = 1.0 / np.arange(first, first + count)
    return np.cumsum(weights) / weights.sum()


def _draw(cumulative: np.ndarray, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.minimum(np.searchsorted(cumulative, random.random(shape)), len(cumulative) - 1)


def _letter(kind: str, random: np.random.Generator) -> str:
    letters = VOWELS if kind == "V" else CONSONANTS
    return letters[int(_draw(_cumulative(2, len(letters)), random, ()))]


def _neighbour(word: str, random: np.random.Generator) -> str:
    """Return the word with one letter changed to another of its kind, vowel or consonant."""
    place = int(random.integers(len(word)))
    kind = "V" if word[place] in VOWELS else "C"
    return word[:place] + _letter(kind, random) + word[place + 1 :]
