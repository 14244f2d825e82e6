"""Made-up speech for the two LibriSpeech workloads: a dataset card, the sizes, and how the parts are put together.

What it is: sentences of a made-up language (`speech_sentences`), read by made-up speakers (`speech_sounds`), as 16 kHz
16-bit sound with a transcript in capitals. Validation and test have speakers and sentences of their own.

What must be learned: which sound is which letter, without being told where in the utterance it is (CTC's plateau, on
which a model first says nothing but blanks); letters that sound different beside every neighbour, at 5 to 20 dB of
noise, from speakers who differ in pitch, vocal tract, tilt, speed and accent; and, since a word counts only whole and
most words have a neighbour that differs in one letter, all of its letters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from timetrial.workloads.base import HostBatch
from timetrial.workloads.generated import Generated
from timetrial.workloads.speech_sentences import Language, make_language, make_sentence
from timetrial.workloads.speech_sounds import Speakers, add_noise, make_speakers, pronounce


@dataclass(frozen=True, kw_only=True)
class SpeechSizes:
    """How much is generated, and how hard it is."""

    train: int
    """Utterances of the training split; likewise the others."""
    validation: int
    test: int
    train_speakers: int
    other_speakers: int
    """Of validation, and as many others of test."""
    samples: int
    """Length of the longest utterance."""
    letters: int
    """Length of the longest transcript, spaces counted."""
    words: tuple[int, int]
    """Fewest and most words drawn for an utterance; the room for letters may leave fewer."""
    lexicon: int
    decibels: tuple[float, float] = (5.0, 20.0)
    """Signal-to-noise ratio, uniform between these."""
    seed: int = 20260812


MINI = SpeechSizes(
    train=640,
    validation=256,
    test=96,
    train_speakers=64,
    other_speakers=32,
    samples=16_000,
    letters=18,
    words=(3, 5),
    lexicon=500,
)
TINY = SpeechSizes(
    train=24,
    validation=8,
    test=8,
    train_speakers=4,
    other_speakers=2,
    samples=8_000,
    letters=6,
    words=(1, 2),
    lexicon=20,
)

_CHUNK = 64
"""Utterances that are pronounced at a time, which bounds the memory."""


def generate(sizes: SpeechSizes) -> HostBatch:
    """Return, for each split, what `SPLIT.FIELD` says.

    `sounds` int16 (n, samples) and `sound_lengths` uint16 (n,); `texts` uint8 (n, letters), ASCII codes and 0 behind
    the end; `speakers` uint8 (n,).
    """
    random = np.random.Generator(np.random.PCG64(sizes.seed))
    language = make_language(random, sizes.lexicon)
    speakers = make_speakers(random, sizes.train_speakers + 2 * sizes.other_speakers)
    groups = np.split(
        np.arange(len(speakers.pitch)), [sizes.train_speakers, sizes.train_speakers + sizes.other_speakers]
    )
    counts = {"train": sizes.train, "validation": sizes.validation, "test": sizes.test}
    said: set[str] = set()
    arrays = {}
    for (split, count), group in zip(counts.items(), groups, strict=True):
        sentences = _sentences(language, random, count, sizes, said)
        said.update(sentences)
        speaker = group[random.integers(len(group), size=count)]
        for name, array in _utterances(sentences, speaker, speakers, random, sizes).items():
            arrays[f"{split}.{name}"] = array
    return arrays


def _sentences(
    language: Language, random: np.random.Generator, count: int, sizes: SpeechSizes, said: set[str]
) -> list[str]:
    """Return sentences none of which an earlier split has; within a split they may repeat."""
    sentences: list[str] = []
    while len(sentences) < count:
        words = int(random.integers(*sizes.words, endpoint=True))
        sentence = make_sentence(language, random, words, sizes.letters)
        if sentence not in said:
            sentences.append(sentence)
    return sentences


def _utterances(
    sentences: list[str], speaker: np.ndarray, speakers: Speakers, random: np.random.Generator, sizes: SpeechSizes
) -> HostBatch:
    parts: list[tuple[Any, Any]] = []
    for start in range(0, len(sentences), _CHUNK):
        rows = slice(start, start + _CHUNK)
        sounds, lengths = pronounce(sentences[rows], speaker[rows], speakers, random, sizes.samples)
        parts.append((add_noise(sounds, lengths, random, sizes.decibels), lengths))
    texts = np.zeros((len(sentences), sizes.letters), dtype=np.uint8)
    for row, sentence in enumerate(sentences):
        texts[row, : len(sentence)] = np.frombuffer(sentence.encode("ascii"), dtype=np.uint8)
    return {
        "sounds": np.concatenate([sounds for sounds, _ in parts]),
        "sound_lengths": np.concatenate([lengths for _, lengths in parts]).astype(np.uint16),
        "texts": texts,
        "speakers": speaker.astype(np.uint8),
    }


DATASETS = {
    "mini": Generated(
        name="speech-mini",
        sha256="606b2630b922a2064750a38702327561fa0393b2a46b7071d402cb162384c55c",
        generate=partial(generate, MINI),
    ),
    "tiny": Generated(
        name="speech-tiny",
        sha256="5eecaf610553b953ff1a6ae95fdcc7805cbd937b3141ff188e4756973b30d9e0",
        generate=partial(generate, TINY),
    ),
}
"""By preset; both speech workloads have the same, so that the cache holds it once."""
