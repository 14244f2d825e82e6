"""Knee-like phantoms, as k-space of single-coil volumes: the generated dataset of `fastmri`.

See docs/mini-1/fastmri.md for the card.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from timetrial.workloads.base import SPLITS, HostBatch

SCALE = 1500.0
"""Counts of the int16 k-space for a signal of 1 (fat's) in one orthonormal coefficient: the largest stays in range."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is generated, and how noisy it is."""

    size: int
    """Side of the images, after the crop."""
    columns: int
    """Columns of k-space; rows are twice the images', as scanners oversample the readout."""
    slices: int
    """Slices of a volume."""
    volumes: tuple[int, int, int]
    """Volumes for training, validation and test."""
    noise: tuple[float, float] = (0.02, 0.06)
    """Range of the noise's standard deviation in a pixel, real and imaginary parts together; fat's signal is 1."""
    seed: int = 20261124


MINI = Sizes(size=40, columns=64, slices=3, volumes=(400, 52, 26))
TINY = Sizes(size=16, columns=20, slices=4, volumes=(12, 4, 2))


def generate(sizes: Sizes) -> HostBatch:
    """Return, by split, `<split>_kspace` int16 (n, rows, columns, 2) and `<split>_volume` int16 (n,).

    The last axis of k-space is real and imaginary part. Anatomy and noise have generators of their own, so that the
    same anatomy can be had without noise.
    """
    anatomy = np.random.Generator(np.random.PCG64([sizes.seed, 0]))
    thermal = np.random.Generator(np.random.PCG64([sizes.seed, 1]))
    arrays: HostBatch = {}
    for split, count in zip(SPLITS, sizes.volumes, strict=True):
        volumes = [_measure(_volume(sizes, anatomy), sizes, thermal) for _ in range(count)]
        arrays[f"{split}_kspace"] = np.concatenate(volumes)
        arrays[f"{split}_volume"] = np.repeat(np.arange(count, dtype=np.int16), sizes.slices)
    return arrays


def _measure(images: np.ndarray, sizes: Sizes, random: np.random.Generator) -> np.ndarray:
    """Return the k-space of complex images (slices, rows, columns) with the noise of a receiver, quantised."""
    low, high = sizes.noise
    noise = random.standard_normal((*images.shape, 2)) * np.sqrt(0.5)
    deviation = low + (high - low) * random.random() ** 2  # most scans are good
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    counts = np.rint(SCALE * (np.stack([kspace.real, kspace.imag], axis=-1) + deviation * noise))
    assert np.abs(counts).max() < 2**15
    return counts.astype(np.int16)


def _volume(sizes: Sizes, random: np.random.Generator) -> np.ndarray:
    """Return the complex images of a volume, (slices, rows, columns): anatomy times the coil's sensitivity."""
    canvas = _Canvas(sizes, random)
    draw = random.uniform
    suppressed = 1.0 if random.random() < 0.5 else 0.0  # half of the knee protocol suppresses fat
    fat, marrow = 1.0 - 0.75 * suppressed, 0.85 - 0.6 * suppressed
    fluid, muscle = 0.6 + 0.4 * suppressed, draw(0.35, 0.5)

    canvas.ellipse((draw(-0.05, 0.05), 0.0), (draw(0.82, 0.95), 2.6), fat * (1 + 0.08 * canvas.texture(2.0)))
    canvas.ellipse((draw(0.05, 0.15), 0.0), (draw(0.65, 0.75), 2.4), muscle * (1 + 0.2 * canvas.texture(2.0)))
    trabeculae = marrow * (1 + 0.1 * canvas.texture(1.5))
    femur = ((draw(-0.05, 0.1), draw(-0.95, -0.8)), (draw(0.35, 0.45), draw(0.75, 0.85)))
    tibia = ((draw(-0.05, 0.1), draw(0.8, 0.95)), (draw(0.4, 0.5), draw(0.7, 0.8)))
    patella = ((draw(-0.65, -0.5), draw(-0.6, -0.3)), (draw(0.10, 0.14), draw(0.25, 0.35)))
    for (x, y), (across, along) in (femur, tibia, patella):
        canvas.ellipse((x, y), (across + 0.1, along + 0.1), fluid)  # cartilage
        canvas.ellipse((x, y), (across + 0.03, along + 0.03), 0.05)  # cortical bone gives no signal
        canvas.ellipse((x, y), (across - 0.03, along - 0.03), trabeculae)
    for _ in range(6):  # vessels, fat pads, menisci, cysts
        centre = (draw(-0.7, 0.8), draw(-1.1, 1.1))
        canvas.ellipse(
            centre,
            (draw(0.06, 0.25), draw(0.06, 0.25)),
            (fat, fluid, muscle, 0.05)[random.integers(4)],
            tilt=draw(0, np.pi),
        )
    for _ in range(3):  # tendons, ligaments, septa
        value = (fat, fluid, 0.05, 0.05)[random.integers(4)]
        canvas.band((draw(-0.7, 0.8), draw(-1.0, 1.0)), draw(0.2, 0.7), draw(0.03, 0.06), value)
    return canvas.image * canvas.sensitivity()


class _Canvas:
    """A volume while it is painted: `image` (slices, rows, columns), in a pose and with drifts of its own.

    Coordinates: the cropped image spans [-1, 1] both ways; x grows with the columns, y with the rows. Edges are soft,
    so that no pixel depends on which side of an edge rounding puts it.
    """

    def __init__(self, sizes: Sizes, random: np.random.Generator) -> None:
        self._random = random
        self._pixel = 2 / sizes.size
        rows = (np.arange(2 * sizes.size) - sizes.size + 0.5) * self._pixel
        columns = (np.arange(sizes.columns) - sizes.columns // 2 + 0.5) * self._pixel
        self._place = (columns[None, None, :], rows[None, :, None])
        self._depth = np.linspace(-1, 1, sizes.slices)[:, None, None]
        shift, scale = random.uniform(-0.1, 0.1, 2), random.uniform(0.95, 1.2)
        x, y = self._place
        x, y = (x - shift[0]) * scale, (y - shift[1]) * scale
        self._x, self._y = _turned(x, y, random.uniform(-0.2, 0.2))
        self.image = np.zeros((sizes.slices, 2 * sizes.size, sizes.columns))

    def texture(self, slope: float) -> np.ndarray:
        """Return a field of unit variance whose amplitudes fall as frequency to the `slope`, drifting with depth."""
        _, rows, columns = self.image.shape
        frequencies = np.hypot(np.fft.fftfreq(rows)[:, None] * rows / 2, np.fft.rfftfreq(columns)[None, :] * columns)
        spectrum = (1 + frequencies) ** -slope
        spectrum[0, 0] = 0
        noise = np.fft.rfft2(self._random.standard_normal((2, rows, columns)))
        fields = np.fft.irfft2(noise * spectrum, s=(rows, columns))
        fields /= fields.std()
        angle = self._depth * self._random.uniform(0.3, 0.8)
        return np.cos(angle) * fields[0] + np.sin(angle) * fields[1]

    def ellipse(
        self, centre: tuple[float, float], radii: tuple[float, float], value: np.ndarray | float, tilt: float = 0.0
    ) -> None:
        """Paint an ellipsoid's cross-sections: it drifts and shrinks with depth."""
        drift, extent = self._random.uniform(-0.2, 0.2, 2), self._random.uniform(1.1, 1.6)
        size = np.sqrt(1 - (self._depth / extent) ** 2)
        x, y = _turned(self._x - centre[0] - drift[0] * self._depth, self._y - centre[1] - drift[1] * self._depth, tilt)
        radius = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2)
        self._paint((size - radius) * min(radii) / self._pixel, value)

    def band(self, centre: tuple[float, float], length: float, width: float, value: float) -> None:
        """Paint a thin, bent band."""
        drift = self._random.uniform(-0.2, 0.2, 2)
        tilt, bend = self._random.uniform(0, np.pi), self._random.uniform(-0.6, 0.6)
        along, across = _turned(
            self._x - centre[0] - drift[0] * self._depth, self._y - centre[1] - drift[1] * self._depth, tilt
        )
        inside = np.minimum(width - np.abs(across - bend * along**2), length - np.abs(along))
        self._paint(inside / self._pixel, value)

    def _paint(self, inside: np.ndarray, value: np.ndarray | float) -> None:
        """Cover with `value` what lies inside, in pixels from the edge, which is about one pixel wide."""
        cover = 0.5 * (1 + np.tanh(2 * inside))
        self.image += cover * (value - self.image)

    def sensitivity(self) -> np.ndarray:
        """Return the coil's complex sensitivity: it falls off smoothly; its phase is a quadratic in the place."""
        x, y = self._place
        centre = self._random.uniform(-0.3, 0.3, 2)
        magnitude = np.exp(-((x - centre[0]) ** 2 / 4 + (y - centre[1]) ** 2 / 1.2))
        a = self._random.uniform(-1, 1, 6) * np.array([np.pi, 1.5, 1.5, 1.0, 1.0, 1.0])
        phase = a[0] + a[1] * x + a[2] * y + a[3] * x * x + a[4] * x * y + a[5] * y * y + 0.5 * self._depth
        return magnitude * np.exp(1j * phase)


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
