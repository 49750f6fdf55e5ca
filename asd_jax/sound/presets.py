"""The feature presets: each says what is stored of a recording."""

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.sound import kernels
from asd_jax.sound.features import FeaturePreset, WaveStatistics
from asd_jax.sound.log_mels import LogMels

_PRESETS = (
    LogMels(name="paper1", sample_rate=16000, n_fft=1024, hop=512, n_mels=128, fmin=0.0, fmax=8000.0),
    LogMels(
        name="paper2",
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
    LogMels(
        name="dcase2020_baseline",
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
)

PRESETS: dict[str, FeaturePreset] = {preset.name: preset for preset in _PRESETS}


def find_preset(name: str) -> FeaturePreset:
    """The preset of that name; a UserError lists those there are."""
    if name not in PRESETS:
        raise UserError(f"No feature preset is called {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def compile_kernels(preset_name: str) -> None:
    """What the first clip would wait for; on disk from then on, where it can be kept."""
    preset = find_preset(preset_name)
    statistics = WaveStatistics(0.0, 1.0) if preset.standardise == "type" else None
    wave = np.random.default_rng(0).normal(size=preset.samples(4)).astype(np.float32)
    kernels.half(preset.compute(wave, "noise", statistics))
