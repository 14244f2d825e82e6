"""Reading prepared LibriSpeech: sounds decoded one by one, each padded in its row of the batch."""

from __future__ import annotations

import numpy as np

from timetrial.errors import UserError
from timetrial.prepared.folder import Prepared
from timetrial.prepared.records import Records
from timetrial.workloads.base import SPLITS, Split
from timetrial.workloads.example_sources import EvaluationSplit, ExampleData, Parts, Row
from timetrial.workloads.sentencepiece_tokenizer import SentencePieceTokens
from timetrial.workloads.sources import fixed_subset
from timetrial.workloads.speech_raw import decode
from timetrial.workloads.speech_recipe import SOUNDS, TOKENIZER, TOKENIZER_MODEL

EVAL_TRAIN = 5_376
"""Training utterances that evaluations run over (spec: librispeech_conformer.md, 1)."""


class Utterances:
    """A split's utterances."""

    def __init__(self, prepared: Prepared, split: Split) -> None:
        """Open the records of a split. Raises UserError where it is empty."""
        self._records = Records.of_split(prepared, split, SOUNDS)
        if not len(self._records):
            raise UserError(f"{prepared.folder}: no {split} utterances: all were longer than this preset takes")
        self._targets = prepared.array(split, "targets")
        self._target_lengths = prepared.array(split, "target_lengths")[:]

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self._target_lengths)

    def example(self, number: int) -> Parts:
        """Return an utterance as `SpeechWorkload` has it, but that its samples are int16 and not padded."""
        inputs = decode(self._records.read(number))
        return {
            "inputs": inputs,
            "input_lengths": np.array(len(inputs), np.int64),
            "targets": self._targets[number : number + 1][0].astype(np.int64),
            "target_lengths": np.array(self._target_lengths[number], np.int64),
        }


def _pad(row: np.ndarray, sound: np.ndarray) -> None:
    row[: len(sound)] = sound
    row[len(sound) :] = 0


def speech_data(prepared: Prepared, samples: int) -> ExampleData:
    """Return prepared utterances as training and evaluation data, padded to `samples`.

    An evaluation's `train` split is a fixed subset of `EVAL_TRAIN` utterances, or of all if there are no more.
    """
    train, validation, test = (Utterances(prepared, split) for split in SPLITS)
    rows = {"inputs": Row(shape=(samples,), dtype=np.dtype(np.float32), write=_pad)}
    chosen = fixed_subset(len(train), EVAL_TRAIN)
    return ExampleData(
        len(train),
        lambda number, _: train.example(number),
        {
            "train": EvaluationSplit(
                examples=len(chosen), example=lambda row: train.example(int(chosen[row])), rows=rows
            ),
            "validation": EvaluationSplit(examples=len(validation), example=validation.example, rows=rows),
            "test": EvaluationSplit(examples=len(test), example=test.example, rows=rows),
        },
        rows=rows,
    )


def prepared_tokenizer(prepared: Prepared) -> SentencePieceTokens:
    """Return the tokenizer that belongs to prepared utterances."""
    return SentencePieceTokens((prepared.part(TOKENIZER) / TOKENIZER_MODEL).read_bytes())
