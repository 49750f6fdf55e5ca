"""Waveform -> log-mel spectrogram, as librosa computes it, on all cores; and the feature presets."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np

from asd_jax.errors import UserError

_BLOCK = 16  # frames that are transformed together: small enough for the cache
_BANDS = 16  # mel bands that are summed together


@dataclasses.dataclass(frozen=True)
class FeaturePreset:
    """How log-mels are computed.

    Attributes:
        name: its key in `PRESETS`.
        sample_rate: in Hz.
        n_fft: samples of a frame (Hann window); a multiple of twice the hop.
        hop: samples from one frame to the next.
        n_mels: mel bands (slaney scale, area-normalised).
        fmin: lower edge of the lowest band, Hz.
        fmax: upper edge of the highest band, Hz.
        amin: power below which the logarithm is cut off.
        top_db: how far below its own maximum a clip is cut off, dB; None: not at all.
        standardise: the waveform; "clip": divided by its own standard deviation, its mean stays; "type": mean 0 and
            variance 1 over the training clips of its machine type; "none": it stays as it is.
    """

    name: str
    sample_rate: int
    n_fft: int
    hop: int
    n_mels: int
    fmin: float
    fmax: float
    amin: float = 1e-10
    top_db: float | None = 80.0
    standardise: str = "clip"


PRESETS = {
    "paper1": FeaturePreset("paper1", sample_rate=16000, n_fft=1024, hop=512, n_mels=128, fmin=0.0, fmax=8000.0),
    "paper2": FeaturePreset(
        "paper2",
        sample_rate=16000,
        n_fft=2048,
        hop=256,
        n_mels=224,
        fmin=50.0,
        fmax=7800.0,
        top_db=None,
        standardise="type",
    ),
    # Of the challenge's official autoencoder.
    "dcase2020_baseline": FeaturePreset(
        "dcase2020_baseline",
        sample_rate=16000,
        n_fft=1024,
        hop=512,
        n_mels=128,
        fmin=0.0,
        fmax=8000.0,
        amin=2.220446049250313e-16,
        top_db=None,
        standardise="none",
    ),
}


@dataclasses.dataclass(frozen=True)
class WaveStatistics:
    """Mean and standard deviation of the samples of some waveforms together."""

    mean: float
    std: float


def find_preset(name: str) -> FeaturePreset:
    """The preset of that name; a UserError lists those there are."""
    if name not in PRESETS:
        raise UserError(f"No feature preset is called {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def log_mels(
    preset: FeaturePreset, wave: np.ndarray, name: str, statistics: WaveStatistics | None = None
) -> np.ndarray:
    """The log-mel spectrogram of one clip (papers 1 and 2; released code of paper 1 for what its text leaves open).

    The waveform is standardised, cut into centred frames (reflect padding), and the power in every mel band given in
    decibel: 10 log10(power), cut off `top_db` below the clip's maximum. Equals
    `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="reflect"))` within 1e-3 dB.

    May be called from many threads at once, which is the way to use all cores.

    Args:
        preset: how.
        wave: [samples], at `preset.sample_rate`.
        name: what to call the clip in an error.
        statistics: of the training clips of its machine type; used where the preset standardises by "type".

    Returns:
        float32 [frames, mels], frames = 1 + samples // hop.

    Raises:
        UserError: the clip is shorter than one frame.
        ValueError: the preset needs statistics and there are none.
    """
    if preset.standardise == "type" and statistics is None:
        raise ValueError(f"preset {preset.name!r} standardises by machine type, whose statistics are missing")
    if len(wave) < preset.n_fft:
        raise UserError(
            f"{name} is too short: it has {len(wave)} samples at {preset.sample_rate} Hz and one frame of preset "
            f"{preset.name!r} takes {preset.n_fft}; leave it out."
        )
    frames, half = 1 + len(wave) // preset.hop, preset.n_fft // 2
    padded = np.zeros((_rounded_up(frames) - 1) * preset.hop + preset.n_fft, np.float32)  # np.pad takes longer
    padded[half : half + len(wave)] = wave
    padded[:half] = wave[half:0:-1]
    after = padded[half + len(wave) :][:half]
    after[:] = wave[-2 : -len(after) - 2 : -1]
    mean, std = {
        "clip": lambda: (0.0, wave.std()),
        "type": lambda: (statistics.mean, statistics.std),
        "none": lambda: (0.0, 1.0),
    }[preset.standardise]()
    with jax.enable_x64(True), jax.default_device("cpu"):
        power = np.asarray(_mel_power(preset)(padded, np.float64(mean)))[:frames]
    decibel = np.maximum(power / std**2, preset.amin)
    np.log10(decibel, out=decibel)
    decibel *= 10
    return decibel if preset.top_db is None else np.maximum(decibel, decibel.max() - preset.top_db)


def _rounded_up(frames: int) -> int:
    """Four lengths an octave, all multiples of `_BLOCK`, so that clips of many lengths share few compiled programs."""
    step = max(_BLOCK, 2 ** (frames.bit_length() - 3))
    return -(-frames // step) * step


@functools.cache
def _mel_power(preset: FeaturePreset) -> "jax.stages.Wrapped":
    """The compiled function: samples of blocks of frames, their mean -> power in the bands, float32 [frames, mels].

    Subtraction and transform are in double precision, as librosa's is: in single precision their rounding, which is
    relative to the loudest bin of a frame, moves bands that are 80 dB below a tone by more than 1e-3 dB. No TPU has it,
    so it stays on the CPU.
    """
    bank = librosa.filters.mel(
        sr=preset.sample_rate, n_fft=preset.n_fft, n_mels=preset.n_mels, fmin=preset.fmin, fmax=preset.fmax
    ).T
    products = []  # a band takes few bins: a few bands at a time, with the bins of theirs alone
    for bands in np.split(bank, range(_BANDS, preset.n_mels, _BANDS), axis=1):
        bins = np.flatnonzero(bands.any(axis=1))
        products.append((slice(bins[0], bins[-1] + 1), bands[bins[0] : bins[-1] + 1]))
    window = librosa.filters.get_window("hann", preset.n_fft)
    overlap = preset.n_fft // preset.hop

    def mel_power(wave: jax.Array, mean: jax.Array) -> jax.Array:
        def of_block(block: jax.Array) -> jax.Array:
            start, size = block * _BLOCK * preset.hop, (_BLOCK + overlap - 1) * preset.hop
            hops = jax.lax.dynamic_slice(wave, (start,), (size,)).reshape(-1, preset.hop)
            frames = jnp.concatenate([hops[i : i + _BLOCK] for i in range(overlap)], axis=1)
            spectrum = jnp.fft.rfft((frames - mean) * window)
            power = (spectrum.real**2 + spectrum.imag**2).astype(jnp.float32)
            return jnp.concatenate([jnp.dot(power[:, bins], bands, precision="highest") for bins, bands in products], 1)

        blocks = (wave.size // preset.hop - overlap + 1) // _BLOCK
        return jax.lax.map(of_block, jnp.arange(blocks)).reshape(-1, preset.n_mels)

    return jax.jit(mel_power)
