"""What a benchmark counts and times."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from asd_jax.benchmark import timing
from asd_jax.benchmark.input import made_up, measure_end_to_end
from asd_jax.benchmark.preparing import measure_prepare
from asd_jax.benchmark.score import measure_score
from asd_jax.benchmark.step import measure_step
from asd_jax.records.prepare import prepare
from configs import autoencoder, maf, proxy_outlier


def tiny(recipe, **values):
    config = recipe.get_config("quicktest")
    config.compilation_cache = ""
    config.update_from_flattened_dict(values)
    return config


def test_an_autoencoder_s_arithmetic_bytes_and_rates():
    config = tiny(autoencoder, **{"network.widths": (256, 64)}, batch_size=256, steps_per_dispatch=3)
    result = measure_step(config, 4)
    weights = 640 * 256 + 256 * 64 + 64 * 640
    assert result["parameters"] == weights + (256 + 64 + 640) + 2 * (256 + 64)
    assert result["parameter_bytes"] == 4 * result["parameters"]
    assert result["state_bytes"] > 3 * result["parameter_bytes"]  # with both moments of Adam
    # forward, both gradients but that of the input: 2 each; and what is small beside it
    products = 2 * 256 * (3 * weights - 640 * 256)
    assert products < result["flops_per_step"] < 1.2 * products
    seconds = 1e-3 * result["step_ms_p50"]
    np.testing.assert_allclose(result["windows_per_second"], 256 / seconds)
    np.testing.assert_allclose(result["tflops_per_second"], result["flops_per_step"] / seconds / 1e12)
    assert result["step_ms_min"] <= result["step_ms_p50"] <= result["step_ms_p95"]
    assert 0 < result["compile_cached_s"] < result["compile_s"]
    assert result["temporary_bytes"] > 0 and result["input_wait_fraction"] == 0


def test_the_arithmetic_of_convolutions_holds_that_of_loops():
    """A kernel's gradient goes over the images in a loop on the CPU; four times the images are four times the work."""
    network = {"network.blocks": (1, 1, 1), "network.width": 4, "window": 17}
    small, large = (measure_step(tiny(proxy_outlier, batch_size=n, **network), 2)["flops_per_step"] for n in (4, 16))
    np.testing.assert_allclose(large / small, 4, rtol=0.02)


def test_intervals_are_those_between_the_ends_of_dispatches(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 6.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    seconds = timing.intervals(iter(np.zeros(50)), 3, timing.profiled(None))
    np.testing.assert_array_equal(seconds, [1, 2, 3])


@pytest.mark.parametrize("recipe", [maf, autoencoder], ids=["maf", "autoencoder"])
def test_clips_are_scored_by_every_recipe(recipe):
    small = {"network.hidden": 64} if recipe is maf else {"network.widths": (16, 8)}
    result = measure_score(tiny(recipe, batch_size=16, **small), 2)
    np.testing.assert_allclose(
        result["windows_per_second"], result["windows_per_clip"] * result["clips_per_second"], rtol=1e-6
    )


def test_both_sides_together_on_prepared_clips(tmp_path):
    config = made_up(
        tiny(autoencoder, **{"network.widths": (16, 8)}, steps_per_dispatch=2, held_back=0), str(tmp_path), 16
    )
    result = measure_end_to_end(config, 4)
    assert 0 <= result["input_wait_fraction"] < 1
    assert result["limit"] in ("step", "input")
    faster = result["input_alone_windows_per_second"] > result["step_alone_windows_per_second"]
    assert (result["limit"] == "step") == faster
    assert "The limit is" in timing.measurement_lines(result)[-1]


def test_preparing_is_measured_on_all_clips_in_every_repeat(tmp_path, monkeypatch):
    counts = []

    def counted(clips, *args):
        counts.append(prepare(clips, *args).computed)

    monkeypatch.setattr("asd_jax.benchmark.preparing.prepare", counted)
    result = measure_prepare(tiny(proxy_outlier), 2, str(tmp_path), 16)
    assert counts == [result["clips"]] * 3
    np.testing.assert_allclose(
        result["times_librosa"], result["clips_per_second"] / result["librosa_clips_per_second"], rtol=1e-6
    )


def test_the_command(tmp_path):
    out, trace = tmp_path / "b.json", tmp_path / "trace"
    command = [
        sys.executable,
        "tools/benchmark.py",
        "--config=configs/autoencoder.py",
        "--config.network.widths=(16,8)",
    ]
    command += ["--config.batch_size=32", "--repeats=3", f"--out={out}", f"--profile={trace}"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    keys = "parameters batch_size compile_s step_ms_p50 step_ms_p95 windows_per_second peak_host_mb flops_per_step"
    assert {*keys.split(), "input_wait_fraction", "versions", "device_kind", "devices"} <= result.keys()
    assert str(out) in done.stdout and f"{result['step_ms_p50']:,.4g}" in done.stdout
    assert list(trace.rglob("*.xplane.pb"))


def test_a_trace_of_a_mode_without_steps_is_refused():
    command = [sys.executable, "tools/benchmark.py", "--config=configs/autoencoder.py", "--mode=input", "--profile=t"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--profile" in done.stderr and "Traceback" not in done.stderr
