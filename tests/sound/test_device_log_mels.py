"""Log-mels on the device against those of the host."""

import jax
import numpy as np
import pytest

from asd_jax.sound.features import WaveStatistics
from asd_jax.sound.presets import PRESETS

TIME = np.arange(20_011) / 16000
STATISTICS = WaveStatistics(0.01, 0.3)


def noise(level):
    return level * np.random.default_rng(0).normal(size=TIME.size)


SOUNDS = {
    "noise": noise(0.1),
    "very quiet": noise(1e-4),
    "half loud, half quiet": np.where(TIME < 0.6, noise(1), noise(1e-4)),
    "tone in little noise": np.sin(2 * np.pi * 440 * TIME) + noise(1e-3),
}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_equals_the_host(preset):
    waves = np.stack(list(SOUNDS.values())).astype(np.float32)
    found = jax.jit(lambda waves: preset.compute_on_device(waves, STATISTICS))(waves)
    for log_mel, wave, sound in zip(found, waves, SOUNDS, strict=True):
        expected = preset.compute(wave, sound, STATISTICS)
        assert log_mel.dtype == np.float32
        np.testing.assert_allclose(log_mel, expected, rtol=0, atol=1e-2, err_msg=sound)
        assert np.sqrt(np.mean((log_mel - expected) ** 2)) < 5e-4
