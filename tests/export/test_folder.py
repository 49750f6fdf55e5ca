"""A detector as a folder: what it scores, what it imports, what it refuses."""

import hashlib
import json
import pathlib
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.export import example as exported_example
from asd_jax.export import folder as export
from asd_jax.export import litert
from asd_jax.listening import one_score
from asd_jax.scoring.detector import Detector
from asd_jax.scoring.held_back import train_and_keep

ONLY = """
import runpy, sys
class Only:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in {"asd_jax", "flax", "tensorflow", "librosa", "sklearn", "soundfile", "etils", "absl"}:
            raise ImportError(name + " is not there")
sys.meta_path.insert(0, Only())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    from configs import proxy_outlier

    config = proxy_outlier.get_config("quicktest")
    config.data_dir, config.machine_type, config.machine_id, config.compilation_cache = str(data_dir), "drill", "00", ""
    config.network.blocks, config.network.width, config.window, config.score_hop = (1, 1, 1), 4, 32, 5
    config.batch_size, config.num_epochs, config.held_back, config.num_runs = 8, 1, 3, 2
    workdir = tmp_path_factory.mktemp("export") / "run"
    train_and_keep(config, str(workdir))
    clips = pathlib.Path(data_dir).parent / "raw/dev_data/drill/test"
    model = export.export_workdir(str(workdir), str(workdir.parent / "out"), 0.1, check=str(clips), to_litert=True)
    return workdir, workdir.parent / "out", clips, model


def test_the_example_scores_as_the_library_without_it(trained, tmp_path):
    workdir, out, clips, model = trained
    outcome = one_score.score_recordings(str(workdir), [str(clips)], str(tmp_path / "scores.csv"), 0.1)
    run = [sys.executable, "-c", ONLY, str(out / "example.py"), *outcome.files]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    scores, decisions, names = zip(*(line.split(" ", 2) for line in lines), strict=True)
    np.testing.assert_allclose(np.array(scores, float), outcome.scores, atol=1e-4 * np.ptp(outcome.scores) + 1e-6)
    assert list(names) == list(outcome.files) and list(decisions) == list(outcome.decisions)
    assert model["threshold"] == outcome.threshold and model["check"]["share_of_range"] <= export.TOLERANCE
    assert json.loads((out / "model.json").read_text()) == model


def test_any_number_of_clips_and_the_score_is_the_mean_of_the_windows(trained):
    _, out, _, model = trained
    _, scores = exported_example.load(out)
    waves = np.random.default_rng(0).normal(0, 0.1, (3, model["samples"])).astype(np.float32)
    together, alone = scores(waves), scores(waves[1:2])
    assert together["window_score"].shape == (3, len(model["window_starts"]))
    np.testing.assert_allclose(together["score"][1:2], alone["score"], rtol=1e-5)
    np.testing.assert_allclose(together["score"], together["window_score"].mean(1), rtol=1e-5)


def test_litert_scores_windows_and_clips_as_the_program_does(trained):
    _, out, _, model = trained
    waves = np.random.default_rng(0).normal(0, 0.1, (2, model["samples"])).astype(np.float32)
    content = (out / "program.tflite").read_bytes()
    found, expected = litert.scores(content, waves), exported_example.load(out)[1](waves)
    assert found.keys() == expected.keys() and np.ptp(found["window_score"]) > 0
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4)
    by_file = model["check"]["largest_difference_by_file"]
    assert by_file.keys() == {"program.jaxexport", "program.tflite"}
    assert max(by_file.values()) == model["check"]["largest_difference"]
    assert model["sha256"]["program.tflite"] == hashlib.sha256(content).hexdigest()


def test_what_litert_cannot_express_is_told_by_the_method():
    class Foreign:
        samples = 9

        def __call__(self, weights, waves):
            return {"score": jax.numpy.linalg.cholesky(waves.reshape(3, 3))}

    with pytest.raises(UserError, match="LiteRT cannot express odd_method"):
        litert.convert(Foreign(), {}, "odd_method")


@pytest.mark.parametrize("wrong", ["library", "litert"])
def test_a_mismatch_leaves_the_older_export(trained, monkeypatch, wrong):
    workdir, out, clips, model = trained
    if wrong == "library":
        honest = Detector.scores
        monkeypatch.setattr(Detector, "scores", lambda *args: honest(*args) * 1.01)
    else:
        monkeypatch.setattr(litert, "scores", lambda _, waves: {"score": np.zeros(len(waves))})
        monkeypatch.setattr(litert, "convert", lambda *_: b"")
    with pytest.raises(UserError, match="is not the library's"):
        export.export_workdir(str(workdir), str(out), 0.1, ("cpu",), check=str(clips), to_litert=wrong == "litert")
    assert json.loads((out / "model.json").read_text()) == model
    assert sorted(p.name for p in out.parent.iterdir()) == ["out", "run"]


def test_refusals(trained, tmp_path):
    workdir, _, _, _ = trained
    (tmp_path / "mine").mkdir()
    for arguments, sentence in (
        ({"out": str(tmp_path / "mine")}, "is no export"),
        ({"platforms": ["cuda"]}, "leaves out cpu"),
        ({"platforms": ["cpu", "abacus"]}, "abacus"),
        ({"seconds": 0.5}, "shorter than one window"),
    ):
        with pytest.raises(UserError, match=sentence):
            export.export_workdir(str(workdir), **({"out": str(tmp_path / "new"), "target_fpr": 0.1} | arguments))
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_loading_runs_no_code(trained, tmp_path):
    _, out, _, model = trained

    def store(program, weights):
        digests = {"program.jaxexport": program, "weights.npz": weights}
        for name, content in digests.items():
            (tmp_path / name).write_bytes(content)
        said = {name: hashlib.sha256(content).hexdigest() for name, content in digests.items()}
        (tmp_path / "model.json").write_text(json.dumps(model | {"sha256": said}))

    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / "harm"), "w")

    np.savez(tmp_path / "pickled.npz", weight=np.array([Harm()], dtype=object))
    program = (out / "program.jaxexport").read_bytes()
    store(program, (tmp_path / "pickled.npz").read_bytes())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        exported_example.load(tmp_path)
    calling = jax.export.export(jax.jit(jax.numpy.linalg.cholesky))(jax.ShapeDtypeStruct((3, 3), np.float32))
    store(bytes(calling.serialize()), (out / "weights.npz").read_bytes())
    with pytest.raises(ValueError, match="calls lapack"):
        exported_example.load(tmp_path)
    store(program, (out / "weights.npz").read_bytes())
    (tmp_path / "weights.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="damaged"):
        exported_example.load(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_a_killed_export_loses_nothing_and_leaves_nothing(tmp_path):
    def model(name):
        return json.dumps({"machine_type": name, "sha256": {}})

    out, aside = tmp_path / "out", tmp_path / ".out.unfinished"
    for folder in (aside / "old", aside / "new"):  # killed when the older export was moved away and the new one whole
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(model(folder.name))
    with pytest.raises(UserError, match="the check"), export._whole_folder(out):
        assert (out / "model.json").read_text() == model("old")
        raise UserError("the check")
    assert (out / "model.json").read_text() == model("old")
    with export._whole_folder(out) as new:
        (new / "model.json").write_text(model("newer"))
        with pytest.raises(UserError, match="in use by a run of tools/export.py"), export._whole_folder(out):
            pass
    assert (out / "model.json").read_text() == model("newer")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
