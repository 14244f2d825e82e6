"""ViT-S/16 in PyTorch: no class token, fixed positions, mean (or attention) pooling.

Source: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", figure 1, with the changes of Beyer et al. 2022,
"Better plain ViT baselines for ImageNet-1k"; spec: workloads/imagenet_vit.md, 2. Names and order of the parameters
are the public benchmark's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timetrial.workloads.classifier_torch import ClassifierTorch
from timetrial.workloads.imagenet_preprocessing import CHANNELS
from timetrial.workloads.imagenet_vit.layers_torch import AttentionPooling, Block, layer_norm
from timetrial.workloads.layers.initializers import lecun_truncated_
from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.layers.positions import frequencies, waves

if TYPE_CHECKING:
    from timetrial.api import Batch
    from timetrial.workloads.imagenet_vit.workload import ImagenetVitConfig


class ImagenetVitTorch(ClassifierTorch["ImagenetVitConfig"]):
    """The PyTorch half of `imagenet_vit`."""

    output_layer = "head"

    def build_model(self) -> nn.Module:
        """Build the transformer, initialised as the benchmark's PyTorch code does (spec: section 2).

        Patch and pre-logits layers truncated LeCun normal, attention and MLP matrices Xavier uniform, head zero.
        """
        return VisionTransformer(self.config)

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        train: bool = True,
        update_batch_norm: bool = True,
        dropout: float | None = None,
    ) -> Tensor:
        """Run the model on a batch; there is no batch norm; see `TorchWorkload`."""
        set_mode(model, train=train, update_batch_norm=update_batch_norm)
        logits: Tensor = model(batch["inputs"], self.config.dropout if dropout is None else dropout)
        return logits


class VisionTransformer(nn.Module):
    """Images (n, 3, height, width) to logits (n, classes)."""

    def __init__(self, config: ImagenetVitConfig) -> None:
        super().__init__()
        self.pre_logits = nn.Linear(config.width, config.width)
        self.conv_patch_extract = nn.Conv2d(CHANNELS, config.width, config.patch, stride=config.patch)
        self.encoder = Encoder(config)
        self.head = nn.Linear(config.width, config.classes)
        self.map = AttentionPooling(config) if config.attention_pooling else None
        lecun_truncated_(self.pre_logits.weight)
        lecun_truncated_(self.conv_patch_extract.weight)
        for zero in (self.pre_logits.bias, self.conv_patch_extract.bias, self.head.weight, self.head.bias):
            nn.init.zeros_(cast("Tensor", zero))

    def forward(self, images: Tensor, dropout: float = 0.0) -> Tensor:
        """Map images to logits; dropout counts in training only."""
        patches = self.conv_patch_extract(images)
        rows, columns = patches.shape[-2:]
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = tokens + sincos_positions(rows, columns, tokens.shape[-1], images.device)
        tokens = self.encoder(F.dropout(tokens, dropout, self.training), dropout)
        pooled = tokens.mean(dim=1) if self.map is None else self.map(tokens, dropout)
        return self.head(torch.tanh(self.pre_logits(pooled)))


class Encoder(nn.Module):
    """Transformer blocks, and a norm at the end where the blocks have theirs in front: (n, tokens, width)."""

    def __init__(self, config: ImagenetVitConfig) -> None:
        super().__init__()
        self.net = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.encoder_norm = nn.Identity() if config.post_norm else layer_norm(config.width)

    def forward(self, tokens: Tensor, dropout: float) -> Tensor:
        """Map tokens to tokens."""
        for block in self.net:
            tokens = block(tokens, dropout)
        return self.encoder_norm(tokens)


def sincos_positions(rows: int, columns: int, width: int, device: torch.device) -> Tensor:
    """Return the fixed position of each patch of a grid, row by row, float32 (rows * columns, width).

    The features are sin x w, cos x w, sin y w, cos y w, with width / 4 frequencies w from 1 to 1 / 10000 in
    geometric steps, both ends included (spec: workloads/imagenet_vit.md, 2 and 8). Computed anew in each pass, for
    the grid at hand: a constant of the code rather than a state of the model.
    """
    grid_frequencies = frequencies(width // 4, device)
    y = torch.arange(rows, device=device).repeat_interleave(columns)
    x = torch.arange(columns, device=device).repeat(rows)
    return torch.cat([waves(position, grid_frequencies) for position in (x, y)], dim=1)
