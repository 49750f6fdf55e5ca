"""The whole way as one program: windows as on the host, runs averaged, inlier models as the library's."""

import json
import pathlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.datasets import DATASETS
from asd_jax.export import folder as export
from asd_jax.export import program as exported_program
from asd_jax.methods import encoder
from asd_jax.methods.maf import Maf
from asd_jax.models.maf import MAF
from asd_jax.records.prepare import prepare
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.sound.presets import PRESETS
from configs import multitask
from tests.test_paper2 import write_sections
from tests.tiny_encoder import TinyEncoder

PRESET, SAMPLES = PRESETS["dcase2020_baseline"], 16000


def test_windows_are_scored_as_on_the_host_and_runs_averaged(monkeypatch):
    method = Maf(MAF(2, blocks=1, hidden=8), 4, 128)
    monkeypatch.setattr(exported_program, "_CHUNK", 3 * method.window * 128)  # windows are no multiple of 3
    init = jax.jit(method.init)
    runs = [dict(zip(("params", "batch_stats"), init(jax.random.key(run)), strict=True)) for run in range(2)]
    runs[1]["params"] = jax.tree.map(lambda x: x + 0.01, runs[1]["params"])
    program = exported_program.Program(PRESET, None, method, 1, SAMPLES, None, 0)
    waves = np.random.default_rng(0).normal(size=(2, SAMPLES)).astype(np.float32)
    weights = flax.traverse_util.flatten_dict(jax.tree.map(lambda *x: jnp.stack(x), *runs), sep="/")
    found = jax.jit(program)(weights, waves)
    outputs = jax.jit(method.outputs)
    for wave, score, window_score in zip(waves, found["score"], found["window_score"], strict=True):
        log_mel = PRESET.compute(wave, "noise")
        windows = np.stack([log_mel[start : start + method.window] for start in method.starts(len(log_mel))])
        product = np.ones(len(windows), np.int32)
        expected = np.mean([outputs(**run, log_mels=windows, product=product)["score"] for run in runs], 0)
        assert len(windows) % 3 and np.ptp(expected) > 0
        np.testing.assert_allclose(window_score, expected, rtol=1e-4)
        np.testing.assert_allclose(score, expected.mean(), rtol=1e-4)


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    """A training of paper 2 with a tiny encoder, and its raw recordings."""
    folder = tmp_path_factory.mktemp("sections")
    raw = write_sections(folder / "raw", train_clips=12, test_clips=4)
    prepare(DATASETS["dcase2021"].list_clips(str(raw)), str(folder / "data"), "dcase2021", "paper2")
    config = multitask.get_config("quicktest,without_mixup")
    config.data_dir, config.machine_type, config.compilation_cache = str(folder / "data"), "drill", ""
    config.window, config.batch_size, config.num_epochs, config.validation_share = 64, 8, 1, 0.25
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "Encoder", lambda products, axis_name, **_: TinyEncoder(products, axis_name))
        train_and_keep(config, str(folder / "run"))
        yield str(folder / "run"), raw


@pytest.mark.parametrize(("kind", "p"), [("gmm", 2), ("lof", 3), ("none", 0)])
def test_embeddings_are_scored_as_the_library_scores_them(sections, tmp_path, kind, p):
    workdir, raw = sections
    (pathlib.Path(workdir) / "inlier_choice.json").write_text(json.dumps({"kind": kind, "p": p}))
    clips = raw / "eval_data/drill/train"
    options = {"machine_id": "03", "check": str(clips), "to_litert": kind != "none"}
    model = export.export_workdir(workdir, str(tmp_path / "out"), 0.1, ["cpu"], **options)
    assert model["machine_id"] == "03" and len(model["window_starts"]) == 10 and model["wave_statistics"]["std"] > 0
    assert ("program.tflite" in model["sha256"]) == (kind != "none")
    assert len(model["check"]["clips"]) >= 12 and model["check"]["share_of_range"] <= export.TOLERANCE
