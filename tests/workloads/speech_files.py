"""The golden batch of the two speech workloads, and a model filled by rule (golden/README.md, 2 to 4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from golden_files import Golden, fill, load_golden, normal
from torch import Tensor, nn

from timetrial.workloads.librispeech_conformer.workload import LibrispeechConformer
from timetrial.workloads.librispeech_deepspeech.workload import LibrispeechDeepspeech
from timetrial.workloads.speech import SpeechWorkload
from timetrial.workloads.speech_torch import SpeechTorch

SAMPLES = 32_000


def golden_sound() -> np.ndarray:
    """Return the two utterances (2, 32000), the second ending at sample 24,000."""
    t = np.arange(SAMPLES)
    hertz = np.array([[200.0], [300.0]])
    tones = 4000 * np.sin(2 * np.pi * hertz * t / 16_000) + 2000 * np.sin(2 * np.pi * 0.03 * t**2 / 16_000)
    sound = np.rint(tones + 500 * normal("input:librispeech:noise", (2, SAMPLES)))
    sound[1, 24_000:] = 0
    return sound.astype(np.float32)


def golden_batch(golden: Golden) -> dict[str, Tensor]:
    """Return the batch without its weights; the reference's paddings as lengths."""
    fields = golden.batch()
    return {
        "inputs": torch.from_numpy(golden_sound()),
        "input_lengths": torch.tensor([SAMPLES, 24_000]),
        "targets": fields["targets"].long(),
        "target_lengths": (1 - fields["target_paddings"]).sum(dim=1).long(),
    }


class SpeechGolden:
    """A full-size workload without SpecAugment, its model filled by rule, and the golden file."""

    def __init__(self, shared: Path, name: str) -> None:
        is_conformer = name.startswith("librispeech_conformer")
        workload: type[SpeechWorkload[Any]] = LibrispeechConformer if is_conformer else LibrispeechDeepspeech
        variant = "_".join(name.split("_")[2:]) or None
        self.golden = load_golden(shared, name)
        self.workload = workload("full", variant)
        self.workload.config = replace(self.workload.config, spec_augment=None)
        self.torch = cast(SpeechTorch[Any], self.workload.torch())
        self.batch = golden_batch(self.golden)
        self.model = self.filled_model()

    def filled_model(self) -> nn.Module:
        """Build a model and fill it."""
        with torch.random.fork_rng():
            model = self.torch.build_model()
        fill(model, self.golden)
        return model

    def forward(self, *, train: bool, update_batch_norm: bool = False, dropout: float = 0.0) -> Tensor:
        """Run the model on the golden batch."""
        return self.torch.forward(
            self.model, self.batch, train=train, update_batch_norm=update_batch_norm, dropout=dropout
        )


class StoredFeatures(nn.Module):
    """The golden file's features in place of a front end, widened: the double-precision runs had a float32 one."""

    def __init__(self, golden: Golden) -> None:
        super().__init__()
        self._features = torch.from_numpy(golden.arrays["frontend_features"]).double()
        self._frames = torch.from_numpy(1 - golden.arrays["frontend_paddings"]).sum(dim=1).long()

    def forward(self, sound: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self._features, self._frames
