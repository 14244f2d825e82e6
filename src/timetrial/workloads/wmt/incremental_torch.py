"""Decoding token by token with cached keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from timetrial.workloads.layers.mode import set_mode
from timetrial.workloads.wmt.layers_torch import Cache, KeysValues
from timetrial.workloads.wmt.masks_torch import additive_mask

if TYPE_CHECKING:
    from timetrial.workloads.wmt.model_torch import Transformer


class IncrementalDecoder:
    """Decodes token by token, several beams a sentence; implements `beam_search_torch.NextToken`."""

    def __init__(self, model: Transformer, sources: Tensor) -> None:
        """Put the model in evaluation mode and encode the sources (n, tokens), int64."""
        set_mode(model, train=False, update_batch_norm=False)
        self._model = model
        self._layers = model.decoder.layers()
        memory = model.encoder(sources, None, None, 0.0)
        self._memories = [layer.multihead_attn.keys_values(memory) for layer in self._layers]
        self._cross_mask = additive_mask((sources > 0)[:, None, None, :])
        self._caches = [Cache() for _ in self._layers]
        self._step, self._beams = 0, 1

    def __call__(self, tokens: Tensor) -> Tensor:
        """Take the newest token of each beam (n x beams,) and return the logits of the next, (.., vocabulary)."""
        decoder = self._model.decoder
        self._beams = len(tokens) // len(self._cross_mask)
        position = torch.full_like(tokens[:, None], self._step)
        x = decoder.pos_encoder(decoder.shared_embedding(tokens[:, None]), position)
        for layer, memory, cache in zip(self._layers, self._memories, self._caches, strict=True):
            x = layer(x, memory, None, self._cross_mask, dropout=0.0, cache=cache)
        self._step += 1
        return decoder.logits(x)[:, 0]

    def select(self, rows: Tensor) -> None:
        """Let beam i go on from what was beam `rows[i]`, counted through all sentences; some may have none left."""
        for cache in self._caches:
            cache.select(rows)
        beams = self._beams
        if len(rows) < beams * len(self._cross_mask):
            kept = rows[::beams] // beams
            self._cross_mask = self._cross_mask.index_select(0, kept)
            self._memories = [
                KeysValues(*(tensor.index_select(0, kept) for tensor in memory)) for memory in self._memories
            ]
