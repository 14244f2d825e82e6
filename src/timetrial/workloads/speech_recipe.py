"""Preparing LibriSpeech: FLAC files as distributed in record files, tokens beside them.

Source: spec: workloads/librispeech_conformer.md, 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from timetrial.errors import FileError, UserError
from timetrial.prepared.recipe import Distribution, Part, Recipe, Settings, Stage
from timetrial.prepared.records import SUFFIX, write_records
from timetrial.workloads.sentencepiece_tokenizer import SentencePieceTokens, train_sentencepiece, up_to
from timetrial.workloads.speech import CharacterTokens
from timetrial.workloads.speech_raw import EXTRA, Utterance, check_sound, flac_length
from timetrial.workloads.speech_subsets import SUBSETS, Subset, find_subsets

SOUNDS = f"sounds{SUFFIX}"
TOKENIZER = "tokenizer"
TOKENIZER_MODEL = "tokenizer.model"

_TOKENIZER_CHARACTERS = 10_000_000
"""Most of the transcripts that the tokenizer is trained on, as published."""

_EXAMPLES = {"train": 263_840, "validation": 5_348, "test": 2_472}


@dataclass(frozen=True, kw_only=True)
class LibrispeechRecipe(Recipe):
    """LibriSpeech's utterances: FLAC bytes as records; their lengths and their transcripts' tokens as arrays.

    Beside the records, an entry an utterance: `input_lengths` int32; `targets` int16 (n, target_length), 0 behind the
    end; `target_lengths` int16. A subset's utterances are sorted by name (the public pipeline takes them as the file
    system lists them); a part holds what is kept of so many of them. The part `tokenizer` has the SentencePiece
    model, where tokens are no characters.
    """

    dataset = "librispeech"
    version = 1
    distribution = Distribution(
        title="LibriSpeech",
        files=f"{', '.join(f'{name}.tar.gz' for name in SUBSETS)}, or what is in them: LibriSpeech/<subset>",
        source="openslr.org/12",
        licence="CC BY 4.0",
        raw_bytes=60_300_000_000,  # the sizes that openslr.org lists: 6.3, 23, 30 G, 337, 314, 346 M
        prepared_bytes=60_300_000_000,  # at most: what is left out is not subtracted
        extra=EXTRA,
    )
    published_examples = _EXAMPLES

    samples: int
    """Longest sound that is kept."""
    target_length: int
    """Longest transcript that is kept, in characters and in tokens. (At full size the tokens are always fewer.)"""
    vocabulary: int
    """Number of tokens."""
    alphabet: str | None
    """The characters of tokens 1, 2, ...; None where tokens are SentencePiece's."""
    part_utterances: int
    """Utterances that a part is made from."""

    @property
    def settings(self) -> Settings:
        """Return what the files depend on."""
        return {
            "samples": self.samples,
            "target_length": self.target_length,
            "vocabulary": self.vocabulary,
            "tokens": "sentencepiece" if self.alphabet is None else "characters",
            "part_utterances": self.part_utterances,
        }

    def stages(self, raw: Path, parts: Path) -> Sequence[Stage]:
        """Return the stages: archives spooled, a tokenizer trained, utterances taken into parts; see `Recipe`."""
        subsets = find_subsets(raw, parts, published=self.published)
        spools = [part for subset in subsets for part in subset.spools()]
        stages: list[Stage] = [lambda: spools] if spools else []
        if self.alphabet is None:
            stages.append(lambda: [_tokenizer(subsets[0], self.vocabulary)])
        stages.append(lambda: [part for subset in subsets for part in self._parts(subset, parts)])
        return stages

    def sizes(self, raw: Path, parts: Path) -> tuple[int, int]:
        """Return what is read and written, all archives and sounds counted; see `Recipe`."""
        subsets = find_subsets(raw, parts, published=self.published)
        return self.proportional(path for subset in subsets for path in subset.files())

    def _parts(self, subset: Subset, parts: Path) -> Iterator[Part]:
        tokenizer = None if self.alphabet is not None else parts / TOKENIZER / TOKENIZER_MODEL
        count, size = subset.count(), subset.bytes()
        for number, start in enumerate(range(0, count, self.part_utterances)):
            stop = min(start + self.part_utterances, count)
            yield Part(
                name=f"{subset.name}-{number:05d}",
                split=subset.split,
                sources=subset.sources(start, stop),
                make=partial(make_part, subset.utterances(start, stop), self, tokenizer),
                expected_bytes=size * (stop - start) // count,
                after=(*subset.after, *(() if tokenizer is None else (TOKENIZER,))),
            )


def _tokenizer(subset: Subset, vocabulary: int) -> Part:
    return Part(
        name=TOKENIZER,
        split=None,
        sources=subset.text_files(),
        make=partial(make_tokenizer, subset.path, subset.texts(), vocabulary),
        expected_bytes=250_000,  # most of it the tables of the library's normalisation
        after=subset.after,
    )


def make_tokenizer(path: Path, texts: Callable[[], Iterable[str]], vocabulary: int, folder: Path) -> int:
    """Write the tokenizer that is trained on transcripts; return that it holds no examples. Raises FileError."""
    try:
        model = train_sentencepiece(up_to(texts(), _TOKENIZER_CHARACTERS), vocabulary)
    except FileError:
        raise
    except UserError as error:
        raise FileError(path, str(error)) from error
    (folder / TOKENIZER_MODEL).write_bytes(model)
    return 0


def make_part(
    utterances: Callable[[], Iterable[Utterance]], recipe: LibrispeechRecipe, tokenizer: Path | None, folder: Path
) -> int:
    """Write those of the utterances that are short enough, one after the other in memory; return how many.

    Raises FileError where a sound or a transcript is no good.
    """
    encode = _encoder(recipe, tokenizer)
    lengths: list[int] = []
    rows: list[np.ndarray] = []

    def sounds() -> Iterator[bytes]:
        for utterance in utterances():
            samples = flac_length(utterance)
            if samples > recipe.samples or len(utterance.text) > recipe.target_length:
                continue
            tokens = encode(utterance)
            if len(tokens) > recipe.target_length:
                continue
            check_sound(utterance, samples)
            lengths.append(samples)
            rows.append(np.array(tokens, dtype=np.int16))
            yield utterance.flac

    write_records(folder / SOUNDS, sounds())
    targets = np.zeros((len(rows), recipe.target_length), dtype=np.int16)
    for target, row in zip(targets, rows, strict=True):
        target[: len(row)] = row
    np.save(folder / "targets.npy", targets)
    np.save(folder / "target_lengths.npy", np.array([len(row) for row in rows], dtype=np.int16))
    np.save(folder / "input_lengths.npy", np.array(lengths, dtype=np.int32))
    return len(lengths)


def _encoder(recipe: LibrispeechRecipe, tokenizer: Path | None) -> Callable[[Utterance], list[int]]:
    """Return what makes tokens of an utterance's transcript, none of them 0, which is CTC's blank."""
    tokens = (
        CharacterTokens(recipe.alphabet or "") if tokenizer is None else SentencePieceTokens(tokenizer.read_bytes())
    )

    def encode(utterance: Utterance) -> list[int]:
        try:
            encoded = tokens.encode(utterance.text)
        except UserError as error:
            raise FileError(utterance.path, str(error)) from error
        if 0 in encoded:
            raise FileError(utterance.path, f"text {utterance.text!r}: the tokenizer does not know all its characters")
        return encoded

    return encode
