"""Preparing: WAV files to records, and librosa beside it."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import librosa
import ml_collections
import numpy as np

from asd_jax.benchmark.timing import SECONDS, Measurements, percentiles
from asd_jax.datasets import DATASETS, synthetic
from asd_jax.records.prepare import prepare
from asd_jax.sound.features import FeaturePreset
from asd_jax.sound.presets import PRESETS


def measure_prepare(config: ml_collections.ConfigDict, repeats: int, folder: str, clips: int) -> Measurements:
    """WAV files of 10 s to records; and librosa, one clip after the other in one process, in alternation."""
    raw, preset = os.path.join(folder, "raw"), PRESETS[config.features]
    synthetic.generate(
        raw, machine_types=["belt"], machine_ids=["00"], train_clips=clips, test_clips=1, seconds=SECONDS
    )
    found = DATASETS["dcase2020"].list_clips(raw)
    ours, theirs, sample = [], [], [clip.path for clip in found[: max(len(found) // 8, 1)]]
    spawn = multiprocessing.get_context("spawn")  # a process as it comes, without this one's memory settings
    with ProcessPoolExecutor(1, mp_context=spawn) as other_process:
        for number in range(repeats + 1):  # the first one compiles
            began = time.perf_counter()
            prepare(found, os.path.join(folder, f"data_{number}"), "dcase2020", config.features)
            ours.append(len(found) / (time.perf_counter() - began))
            theirs.append(other_process.submit(_librosa_rate, sample, preset).result())
    rate, their_rate = np.median(ours[1:]), np.median(theirs[1:])
    return {
        "clips": len(found),
        **percentiles("clip_ms", 1e3 / np.array(ours[1:])),
        "clips_per_second": rate,
        "librosa_clips_per_second": their_rate,
        "times_librosa": rate / their_rate,
    }


def _librosa_rate(paths: list[str], preset: FeaturePreset) -> float:
    """Clips a second, one after the other."""
    began = time.perf_counter()
    for path in paths:
        _librosa_log_mel(path, preset)
    return len(paths) / (time.perf_counter() - began)


def _librosa_log_mel(path: str, preset: FeaturePreset) -> np.ndarray:
    wave, _ = librosa.load(path, sr=preset.sample_rate)
    power = librosa.feature.melspectrogram(
        y=wave / wave.std(),
        sr=preset.sample_rate,
        n_fft=preset.n_fft,
        hop_length=preset.hop,
        n_mels=preset.n_mels,
        fmin=preset.fmin,
        fmax=preset.fmax,
        pad_mode="reflect",
    )
    return librosa.power_to_db(power, amin=preset.amin, top_db=preset.top_db)
