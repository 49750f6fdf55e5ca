"""Waveform -> log-mel spectrogram as `LogMels` computes it on the host, as a part of a JAX program.

All is in float32. The rounding of the Fourier transform is relative to the loudest bin of a frame: bands down to 80 dB
below agree with the host's double precision to 0.01 dB, and those 110 dB below to some tenths; only where a pure tone
has no noise around it do the quietest differ more.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import librosa
import numpy as np

if TYPE_CHECKING:
    from asd_jax.sound.features import WaveStatistics
    from asd_jax.sound.log_mels import LogMels


def compute(preset: "LogMels", waves: jax.Array, statistics: "WaveStatistics | None") -> jax.Array:
    """The log-mel spectrograms [batch, frames, mels] of waveforms [batch, samples], float32.

    Arguments, but for the batch, as in `LogMels.compute`; every waveform is at least `preset.n_fft` long.
    """
    if preset.standardise == "type":
        waves = (waves - statistics.mean) / statistics.std
    elif preset.standardise == "clip":
        waves = waves / jnp.std(waves, axis=1, keepdims=True)
    window = librosa.filters.get_window("hann", preset.n_fft).astype(np.float32)
    spectrum = jnp.fft.rfft(_frames(preset, waves) * window)
    bank = librosa.filters.mel(
        sr=preset.sample_rate, n_fft=preset.n_fft, n_mels=preset.n_mels, fmin=preset.fmin, fmax=preset.fmax
    ).T
    power = jnp.matmul(spectrum.real**2 + spectrum.imag**2, bank, precision=jax.lax.Precision.HIGHEST)
    decibel = 10 * jnp.log10(jnp.maximum(power, preset.amin))
    if preset.top_db is None:
        return decibel
    return jnp.maximum(decibel, decibel.max(axis=(1, 2), keepdims=True) - preset.top_db)


def _frames(preset: "LogMels", waves: jax.Array) -> jax.Array:
    """Centred frames [batch, frames, n_fft]: hops side by side, since reading each sample by its place is slow."""
    half, count, hops = preset.n_fft // 2, 1 + waves.shape[1] // preset.hop, preset.n_fft // preset.hop
    padded = jnp.pad(waves, ((0, 0), (half, half)), mode="reflect")
    blocks = padded[:, : (count + hops - 1) * preset.hop].reshape(waves.shape[0], -1, preset.hop)
    return jnp.concatenate([blocks[:, first : first + count] for first in range(hops)], axis=-1)
