"""Language models that only count: what the generated language must stay hard for."""

from __future__ import annotations

import numpy as np

COUNT_MODELS = {
    "unigram": (3, 4),
    "bag of words": (0, 3, 4),
    "bigram": (2, 3, 4),
    "trigram": (1, 2, 3, 4),
    "trigram and bag of words": (0, 1, 2, 3, 4),
}


class CountModel:
    """Interpolated n-grams (Jelinek and Mercer 1980) and a cache of the window's words (Kuhn and De Mori 1990)."""

    def __init__(self, stream: np.ndarray, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.unigram = (np.bincount(stream, minlength=vocabulary) + 0.5) / (len(stream) + 0.5 * vocabulary)
        pairs = np.bincount(stream[:-1] * vocabulary + stream[1:], minlength=vocabulary**2)
        self.pairs = pairs.reshape(vocabulary, vocabulary)
        self.triples, self.counts = np.unique(
            (stream[:-2] * vocabulary + stream[1:-1]) * vocabulary + stream[2:], return_counts=True
        )

    def perplexity(self, columns: tuple[int, ...], weighing: np.ndarray, validation: np.ndarray) -> float:
        """Return the perplexity of tokens three and on of the windows, with weights fitted by EM to `weighing`."""
        features, buckets = self.features(weighing)
        features = features[..., columns]
        weights = np.full((buckets.max() + 32, len(columns)), 1 / len(columns))
        for _ in range(25):
            shares = features * weights[buckets]
            shares /= shares.sum(axis=-1, keepdims=True)
            for column in range(len(columns)):
                weights[:, column] = 1e-3 + np.bincount(buckets, shares[:, column], minlength=len(weights))
            weights /= weights.sum(axis=1, keepdims=True)
        features, buckets = self.features(validation)
        return float(np.exp(-np.log((features[..., columns] * weights[buckets]).sum(axis=-1)).mean()))

    def features(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (tokens, 5): what each component gives the token; and the bucket of its weights."""
        before, last, token = windows[:, :-2], windows[:, 1:-1], windows[:, 2:]
        context = before * self.vocabulary + last
        triple = self.lookup(context * self.vocabulary + token)
        pair = self.pairs[before, last]
        places = range(2, windows.shape[1])
        cache = np.stack([(windows[:, :n] == windows[:, n : n + 1]).mean(axis=1) for n in places], axis=1)
        features = [
            cache,
            triple / np.maximum(pair, 1),
            self.pairs[last, token] / np.maximum(self.pairs[last].sum(axis=-1), 1),
            self.unigram[token],
            np.full(token.shape, 1 / self.vocabulary),
        ]
        buckets = 8 * np.minimum(np.ceil(np.log2(1 + pair)), 12) + np.log2(places).astype(np.int64)
        return np.stack([feature.ravel() for feature in features], axis=-1), buckets.astype(np.int64).ravel()

    def lookup(self, keys: np.ndarray) -> np.ndarray:
        """Return how often each triple was counted."""
        places = np.minimum(np.searchsorted(self.triples, keys), len(self.triples) - 1)
        return np.where(self.triples[places] == keys, self.counts[places], 0)
