"""Log-mels against librosa."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.sound import kernels
from asd_jax.sound.features import WaveStatistics
from asd_jax.sound.presets import PRESETS

PAPER1, PAPER2 = PRESETS["paper1"], PRESETS["paper2"]
BASELINE = PRESETS["dcase2020_baseline"]


def by_librosa(wave):
    power = librosa.feature.melspectrogram(
        y=wave / wave.std(), sr=16000, n_fft=1024, hop_length=512, n_mels=128, power=2.0, pad_mode="reflect"
    )
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=80.0).T


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(size=samples)


TIME = np.arange(160000) / 16000
SOUNDS = {
    "noise": 0.1 * noise(160000),
    "very quiet": 1e-4 * noise(160000),
    "constant added": 0.5 + 1e-3 * noise(160000),
    "tone in little noise": np.sin(2 * np.pi * 440 * TIME) + 1e-4 * noise(160000),
    "pure tone": np.sin(2 * np.pi * 1000.3 * TIME),
    "low tone, near-silent bands": np.sin(2 * np.pi * 60 * TIME) + 3e-5 * noise(160000),
    "sweep over all bands": np.sin(2 * np.pi * (100 * TIME + 390 * TIME**2)),
    "two tones, the louder one low": np.sin(2 * np.pi * 90 * TIME) + 2e-4 * np.sin(2 * np.pi * 6000 * TIME),
    "half loud, half quiet": np.concatenate([noise(80000), 1e-4 * noise(80000)]),
    "one click": np.where(np.arange(160000) == 80000, 1.0, 0.0) + 1e-5 * noise(160000),
    "quantised to 16 bits": np.round(20000 * np.sin(2 * np.pi * 440 * TIME)) / 2**15,
}


@pytest.mark.parametrize("sound", SOUNDS)
def test_equals_librosa(sound):
    wave = SOUNDS[sound].astype(np.float32)
    ours = PAPER1.compute(wave, sound)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, by_librosa(wave), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("offset", "loudness"), [(0.9, 1e-5), (0.5, 1e-6), (-0.99, 3e-6)])
def test_an_offset_with_hardly_any_sound_does_not_cancel(offset, loudness):
    wave = (offset + loudness * noise(16000)).astype(np.float32)
    exact = WaveStatistics(0.0, float(wave.astype(np.float64).std()))
    expected = dataclasses.replace(PAPER1, standardise="type").compute(wave, "", exact)
    np.testing.assert_allclose(PAPER1.compute(wave, ""), expected, rtol=0, atol=1e-4)


def test_log_mels_that_are_not_finite_are_told_and_not_given():
    with pytest.raises(UserError, match="^still.wav has log-mels that are not finite"):
        dataclasses.replace(PAPER2, top_db=80.0).compute(
            noise(4096).astype(np.float32), "still.wav", WaveStatistics(0.0, 0.0)
        )


@pytest.mark.parametrize("samples", [1024, 1025, 1535, 1536, 7 * 512 - 1, 7 * 512, 16000, 100_001, 176_000, 500_000])
def test_equals_librosa_at_any_length(samples):
    wave = noise(samples, seed=samples).astype(np.float32)
    ours = PAPER1.compute(wave, "clip")
    assert ours.shape == (1 + samples // 512, 128)
    np.testing.assert_allclose(ours, by_librosa(wave), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("fmin", "statistics"), [(50.0, WaveStatistics(-3e-4, 0.07)), (0.0, WaveStatistics(0.2, 0.5))])
@pytest.mark.parametrize("sound", SOUNDS)
def test_paper2_equals_librosa_on_the_wave_standardised_by_its_machine_type(sound, fmin, statistics):
    """Bands from 0 Hz hear the mean, those of paper 2 do not."""
    wave = SOUNDS[sound].astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=(wave.astype(np.float64) - statistics.mean) / statistics.std,
        sr=16000,
        n_fft=2048,
        hop_length=256,
        n_mels=224,
        fmin=fmin,
        fmax=7800,
        pad_mode="reflect",
    )
    ours = dataclasses.replace(PAPER2, fmin=fmin).compute(wave, sound, statistics)
    assert ours.shape == (626, 224) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, librosa.power_to_db(power, amin=1e-10, top_db=None).T, rtol=0, atol=1e-3)


@pytest.mark.parametrize("sound", SOUNDS)
def test_the_challenges_baseline_takes_the_waveform_as_it_is(sound):
    wave = SOUNDS[sound].astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=wave, sr=16000, n_fft=1024, hop_length=512, n_mels=128, power=2.0, pad_mode="reflect"
    )
    expected = 20.0 / 2.0 * np.log10(power.astype(np.float64) + np.finfo(float).eps)
    loud = power > 1e-11  # below, a sum with epsilon and a cut-off at epsilon differ by up to 3 dB
    ours = BASELINE.compute(wave, sound).T
    np.testing.assert_allclose(ours[loud], expected[loud], rtol=0, atol=1e-3)
    assert ours.min() >= 10 * np.log10(np.finfo(float).eps) - 1e-3


def test_paper2_has_126_frames_in_two_seconds_and_takes_statistics():
    wave = noise(32000).astype(np.float32)
    assert PAPER2.compute(wave, "", WaveStatistics(0.0, 1.0)).shape == (126, 224)
    with pytest.raises(ValueError, match="'paper2' standardises by machine type"):
        PAPER2.compute(wave, "")
    np.testing.assert_array_equal(PAPER1.compute(wave, "", WaveStatistics(0.5, 3.0)), PAPER1.compute(wave, ""))


def test_loudness_does_not_matter():
    wave = noise(16000).astype(np.float32)
    np.testing.assert_allclose(PAPER1.compute(0.01 * wave, ""), PAPER1.compute(wave, ""), atol=1e-4)


def test_float16_rounds_by_at_most_four_hundredths_of_a_decibel():
    for sound in SOUNDS.values():
        exact = PAPER1.compute(sound.astype(np.float32), "")
        assert np.abs(exact.astype(np.float16).astype(np.float32) - exact).max() <= 0.04


def test_threads_do_not_disturb_each_other():
    waves = [noise(16000 + 300 * i, seed=i).astype(np.float32) for i in range(12)]
    alone = [PAPER1.compute(wave, "") for wave in waves]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda wave: PAPER1.compute(wave, ""), waves))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_too_short_clip_is_named():
    with pytest.raises(UserError, match=r"stub\.wav is too short: it has 1023 samples"):
        PAPER1.compute(noise(1023).astype(np.float32), "stub.wav")


def test_half_rounds_as_numpy_does():
    bits = np.random.default_rng(0).integers(0, 2**32, 500_000, dtype=np.uint32)
    small = np.arange(0x33000000, 0x39000000, 0x801, dtype=np.uint32)  # where float16 has a fixed point, with its ties
    ties = np.arange(0x3C000000, 0x48000000, 0x1000, dtype=np.uint32)
    values = np.concatenate([bits, small, small | 0x80000000, ties]).astype(np.uint32).view(np.float32)
    values = values[np.isfinite(values)][:, None]
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    np.testing.assert_array_equal(kernels.half(values).view(np.uint16), expected.view(np.uint16))
