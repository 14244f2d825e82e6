from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from timetrial.workloads.layers.subsampling import ConvolutionalSubsampling, StridedConvolution, subsampled_lengths


def strided_by_hand(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """TensorFlow's SAME: ceil(size / 2) outputs; the total padding is split, the larger half behind."""
    padding = []
    for size in x.shape[1:]:
        total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
        padding.append((total // 2, total - total // 2))
    padded = np.pad(x, ((0, 0), *padding))
    rows, columns = (-(-size // 2) for size in x.shape[1:])
    output = np.empty((len(kernel), rows, columns))
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            output[:, row, column] = (kernel * patch).sum(axis=(1, 2, 3)) + bias
    return output


@pytest.mark.parametrize(("time", "bins"), [(6, 4), (7, 4), (6, 5), (7, 5)])
def test_same_padding(time: int, bins: int) -> None:
    torch.manual_seed(0)
    convolution = StridedConvolution(2, 3, activation=torch.tanh)
    torch.nn.init.normal_(convolution.bias)
    x = torch.randn(1, 2, time, bins)
    y, lengths = convolution(x, torch.tensor([time]))
    kernel, bias = convolution.kernel.detach().numpy(), convolution.bias.detach().numpy()
    np.testing.assert_allclose(
        y[0].detach().numpy(), np.tanh(strided_by_hand(x[0].numpy(), kernel, bias)), rtol=1e-5, atol=1e-6
    )
    assert lengths.tolist() == [(time + 1) // 2]


def test_features_have_frequency_major_and_padded_steps_are_zero() -> None:
    torch.manual_seed(0)
    subsampling = ConvolutionalSubsampling(3)
    spectrogram, frames = torch.randn(2, 9, 8), torch.tensor([9, 2])
    features, lengths = subsampling.convolve(spectrogram, frames)
    once, half = subsampling.conv1(spectrogram.unsqueeze(1), frames)
    twice, _ = subsampling.conv2(once, half)
    assert features.shape == (2, 3, 2 * 3)
    for bin_number in range(2):
        for channel in range(3):
            assert torch.equal(features[:, :, 3 * bin_number + channel], twice[:, channel, :, bin_number])
    assert lengths.tolist() == [3, 1]
    assert not features[1, 1:].any()


def test_lengths_equal_golden(shared: Path) -> None:
    content = json.loads((shared / "golden" / "preprocess_librispeech.json").read_text())
    for frames, expected in content["subsampled_lengths"].items():
        assert subsampled_lengths(torch.tensor(int(frames))).item() == expected["out_frames"]
        assert subsampled_lengths(torch.tensor(expected["valid_in"])).item() == expected["valid_out"]
