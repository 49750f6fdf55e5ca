"""The loops over samples, compiled. They leave the interpreter's lock to other threads, so that these use all cores.

The Fourier transform is in double precision, as librosa's is: in single precision its rounding, which is relative to
the loudest bin of a frame, moves bands that are 80 dB below a tone by more than 1e-3 dB. NumPy and XLA transform frame
by frame; here the innermost loops run over 16 frames, so that one instruction works on several of them.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import librosa
import numba
import numpy as np

_LANES = 8  # complex transforms side by side
BLOCK = 2 * _LANES  # frames side by side: a complex transform takes two real ones
_BUILDING = threading.Lock()  # threads that begin together would compile a kernel each
MelPower = Callable[[np.ndarray, float, float, float], np.ndarray]
_uint = np.uintp  # an index that cannot count from the end: other ones keep loops from being vectorised


def _compiled(**options: Any) -> Callable[[Callable], Callable]:
    """`numba.njit`, kept on disk; where neither the package's folder nor ~/.cache can be written, compiled anew."""

    def compiled(function: Callable) -> Callable:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # numba finds no folder
            return numba.njit(nogil=True, **options)(function)

    return compiled


@_compiled(fastmath={"reassoc", "contract", "nsz"})
def moments(wave: np.ndarray) -> tuple[float, float]:
    """The mean of the samples [samples], and the sum of their squared deviations from it, in double precision.

    Subtracting first: the difference of two large sums is rounding noise where a recording has an offset.
    """
    total = squares = 0.0
    for index in range(len(wave)):
        total += np.float64(wave[index])
    mean = total / len(wave)
    for index in range(len(wave)):
        deviation = np.float64(wave[index]) - mean
        squares += deviation * deviation
    return mean, squares


def half(values: np.ndarray) -> np.ndarray:
    """Finite values float32 as float16, rounded as NumPy rounds them, which takes four times as long."""
    halves = np.empty(values.shape, np.uint16)
    _round(values.ravel(), values.view(np.uint32).ravel(), halves.ravel())
    return halves.view(np.float16)


@_compiled()
def _round(values: np.ndarray, bits: np.ndarray, halves: np.ndarray) -> None:
    """Rounds to even: float32 [n] and its bits, a sign, 8 of exponent, 23 of mantissa -> those of float16, 1, 5, 10."""
    for at in range(len(values)):
        size = bits[at] & np.uint32(0x7FFFFFFF)
        odd = size >> np.uint32(13) & np.uint32(1)
        rounded = np.uint32(size + odd + np.uint32(0xFFF) - np.uint32(112 << 23)) >> np.uint32(13)
        if size < np.uint32(113 << 23):  # below 2^-14 float16 has a fixed point
            rounded = np.uint32(np.rint(min(abs(values[at]), np.float32(2**-14)) * np.float32(2**24)))
        if size >= np.uint32(143 << 23):  # 2^16
            rounded = np.uint32(0x7C00)  # infinity
        halves[at] = rounded | (bits[at] >> np.uint32(16) & np.uint32(0x8000))


def mel_power(sample_rate: int, n_fft: int, hop: int, n_mels: int, fmin: float, fmax: float) -> MelPower:
    """A function that gives the power in mel bands (slaney scale, area-normalised; Hann window, reflect padding).

    Args:
        sample_rate: in Hz.
        n_fft: samples of a frame; a power of two, at most 4096.
        hop: samples from one frame to the next.
        n_mels: bands.
        fmin: lower edge of the lowest band, Hz.
        fmax: upper edge of the highest band, Hz.

    Returns:
        The function: samples float32 [samples], at least one frame; what to subtract from them; what to multiply the
        power by; and the least power -> float32 [1 + samples // hop, n_mels]. It leaves the interpreter's lock to other
        threads.
    """
    with _BUILDING:
        return _mel_power(sample_rate, n_fft, hop, n_mels, fmin, fmax)


@functools.cache
def _mel_power(sample_rate: int, n_fft: int, hop: int, n_mels: int, fmin: float, fmax: float) -> MelPower:
    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax).T
    # Triangles that overlap by half: a bin counts in two neighbouring bands at most.
    band = np.minimum((bank > 0).argmax(axis=1), n_mels - 2)
    weights = np.take_along_axis(bank, band[:, None] + [0, 1], axis=1).astype(np.float64) / 4  # see `_add_power`
    window = librosa.filters.get_window("hann", n_fft)
    turns = np.exp(-2j * np.pi * np.arange(n_fft) / n_fft)
    rows = np.argsort(_order(n_fft))
    pairs = np.stack([rows[: n_fft // 2 + 1], rows[-np.arange(n_fft // 2 + 1)]], axis=1)
    kernel = _kernel(n_fft)

    def of_wave(wave: np.ndarray, mean: float, scale: float, least: float) -> np.ndarray:
        power = np.empty((1 + len(wave) // hop, n_mels), np.float32)
        kernel(wave, mean, scale, least, hop, window, turns, pairs, band, weights, power)
        return power

    return of_wave


def _order(size: int) -> np.ndarray:
    """The frequency of each row that `_butterflies` of this and all smaller sizes leave."""
    radix = min(size, 4)
    return np.zeros(1, int) if size == 1 else np.add.outer(np.arange(radix), radix * _order(size // radix)).ravel()


@functools.cache
def _kernel(n_fft: int) -> Callable:
    """The compiled loop over blocks; the size is a constant in it, without which its loops are not vectorised."""

    @_compiled(error_model="numpy", fastmath={"contract"})
    def kernel(wave, mean, scale, least, hop, window, turns, pairs, band, weights, power):  # noqa: ANN001, ANN202
        frames, mels = power.shape
        samples = np.empty((BLOCK - 1) * hop + n_fft)
        rows = np.empty(2 * n_fft * _LANES)  # [real and imaginary part, n_fft, _LANES]
        sums = np.empty(mels * BLOCK)  # [mels, BLOCK]
        for first in range(0, frames, BLOCK):
            _cut(wave, first * hop - n_fft // 2, mean, samples)
            _load(samples, hop, window, rows, n_fft)
            _butterflies(rows, turns, 0, n_fft, n_fft, n_fft)
            for begin in range(0, n_fft, n_fft // 4):  # one quarter after the other: it fits the nearest cache
                _butterflies(rows, turns, begin, n_fft // 4, n_fft // 4, n_fft)
                _butterflies(rows, turns, begin, n_fft // 4, n_fft // 16, n_fft)
                _butterflies(rows, turns, begin, n_fft // 4, n_fft // 64, n_fft)
                _butterflies(rows, turns, begin, n_fft // 4, n_fft // 256, n_fft)
                _butterflies(rows, turns, begin, n_fft // 4, n_fft // 1024, n_fft)
            sums[:] = 0
            _add_power(rows, pairs, band, weights, sums, n_fft)
            for frame in range(min(BLOCK, frames - first)):
                for mel in range(mels):
                    power[first + frame, mel] = max(sums[mel * BLOCK + frame] * scale, least)

    return kernel


@numba.njit(inline="always")
def _cut(wave, begin, mean, samples):  # noqa: ANN001, ANN202
    """Samples from `begin`, less their mean; beyond both ends they are reflected; any beyond that are of no frame."""
    last = len(wave) - 1
    if begin >= 0 and begin + len(samples) <= len(wave):
        for at in range(len(samples)):
            samples[at] = np.float64(wave[_uint(begin + at)]) - mean
    else:
        for at in range(len(samples)):
            place = abs(begin + at)
            samples[at] = np.float64(wave[max(min(place, 2 * last - place), 0)]) - mean


@numba.njit(inline="always")
def _load(samples, hop, window, rows, n_fft):  # noqa: ANN001, ANN202
    """Windowed frames: the first `_LANES` as real parts, the others as imaginary parts."""
    for part in range(2):
        for sample in range(n_fft):
            for lane in range(_LANES):
                value = samples[_uint((part * _LANES + lane) * hop + sample)]
                rows[_uint((part * n_fft + sample) * _LANES + lane)] = value * window[sample]


@numba.njit(inline="always")
def _butterflies(rows, turns, begin, count, size, n_fft):  # noqa: ANN001, ANN202
    """One pass of Fourier transforms of `size` in place: each becomes four of size / 4, a last one of 2 two of 1.

    Decimation in frequency: the rows end in the order `_order`. Takes `count` rows from `begin`.
    """
    imag = _uint(n_fft * _LANES)
    quarter, step = size // 4, n_fft // max(size, 1)
    one, two, three = _uint(quarter * _LANES), _uint(2 * quarter * _LANES), _uint(3 * quarter * _LANES)
    for base in range(begin, begin + count, max(size, 1)):
        for row in range(quarter):
            turn, turn2, turn3 = turns[row * step], turns[2 * row * step], turns[3 * row * step]
            for lane in range(_LANES):
                at = _uint((base + row) * _LANES + lane)
                a, b = complex(rows[at], rows[at + imag]), complex(rows[at + one], rows[at + one + imag])
                c, d = (
                    complex(rows[at + two], rows[at + two + imag]),
                    complex(rows[at + three], rows[at + three + imag]),
                )
                even, odd = a + c, b + d
                rows[at], rows[at + imag] = (even + odd).real, (even + odd).imag
                value = (even - odd) * turn2
                rows[at + two], rows[at + two + imag] = value.real, value.imag
                even, odd = a - c, complex((b - d).imag, (d - b).real)  # the latter times -i
                value = (even + odd) * turn
                rows[at + one], rows[at + one + imag] = value.real, value.imag
                value = (even - odd) * turn3
                rows[at + three], rows[at + three + imag] = value.real, value.imag
        if size == 2:
            for lane in range(_LANES):
                at, next_row = _uint(base * _LANES + lane), _uint(_LANES)
                a, b = complex(rows[at], rows[at + imag]), complex(rows[at + next_row], rows[at + next_row + imag])
                rows[at], rows[at + imag] = (a + b).real, (a + b).imag
                rows[at + next_row], rows[at + next_row + imag] = (a - b).real, (a - b).imag


@numba.njit(inline="always")
def _add_power(rows, pairs, band, weights, sums, n_fft):  # noqa: ANN001, ANN202
    """Adds |a + conj(b)|^2 and |a - conj(b)|^2 to the bands: 4 times the power of the frames that were the real and
    the imaginary parts, where a and b are the bins of a frequency and its negative."""
    imag = _uint(n_fft * _LANES)
    next_band = _uint(BLOCK)
    for k in range(len(pairs)):
        low, high = weights[k, 0], weights[k, 1]
        for lane in range(_LANES):
            a, b = _uint(pairs[k, 0] * _LANES + lane), _uint(pairs[k, 1] * _LANES + lane)
            a_real, a_imag, b_real, b_imag = rows[a], rows[a + imag], rows[b], rows[b + imag]
            of_real = (a_real + b_real) ** 2 + (a_imag - b_imag) ** 2
            of_imag = (a_imag + b_imag) ** 2 + (b_real - a_real) ** 2
            at, other = _uint(band[k] * BLOCK + lane), _uint(band[k] * BLOCK + _LANES + lane)
            sums[at] += low * of_real
            sums[at + next_band] += high * of_real
            sums[other] += low * of_imag
            sums[other + next_band] += high * of_imag
