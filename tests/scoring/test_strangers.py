"""A workdir or records from a stranger run no code of theirs, whichever file it hides in."""

import contextlib
import json
import os
import pathlib
import pickle
import shutil

import jax
import pytest

from asd_jax.backends.embeddings import Embeddings
from asd_jax.backends.models import InlierModels
from asd_jax.base.errors import UserError
from asd_jax.recipes.surroundings import COMPILATION_CACHE
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import open_store
from asd_jax.scoring import trained as trained_module
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.thresholds import thresholds
from asd_jax.scoring.trained import load_trained


class Hostile:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def touched(tmp_path):
    """A folder that hostile code makes; and a module that makes it when it is imported."""
    path = tmp_path / "touched"
    with pytest.raises(FileExistsError):
        [pickle.loads(pickle.dumps(Hostile(path))) for _ in range(2)]
    path.rmdir()
    return path


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    from configs import autoencoder

    config = autoencoder.get_config("quicktest")
    config.network.widths, config.window, config.batch_size = (8, 2, 8), 8, 256
    config.num_epochs, config.held_back = 1, 3
    config.data_dir, config.machine_type, config.machine_id = str(data_dir), "drill", "00"
    config.compilation_cache = str(tmp_path_factory.getbasetemp() / "compiled")
    workdir = tmp_path_factory.mktemp("trained") / "run"
    train_and_keep(config, str(workdir))
    return workdir


def is_checkpoint(path):
    return "checkpoints" in path.parts


def load(workdir):
    return thresholds(Scorer(load_trained(Workdir(workdir))), 0.1)


@pytest.mark.parametrize(
    "planted",
    ["config.json", "training.json", "held_back_scores.json", "checkpoints", "metadata"],
)
def test_pickles_in_every_kind_of_file(trained, tmp_path, touched, planted):
    workdir = shutil.copytree(trained, tmp_path / "run")
    files = [path for path in workdir.rglob("*") if path.is_file()]
    if planted == "checkpoints":
        chosen = [path for path in files if is_checkpoint(path)]
    elif planted == "metadata":
        chosen = [path for path in files if is_checkpoint(path) and "METADATA" in path.name.upper()]
    else:
        chosen = [workdir / planted]
    assert chosen
    for path in chosen:
        path.write_bytes(pickle.dumps(Hostile(touched)))
        path.with_name(f"{path.name}.pkl").write_bytes(pickle.dumps(Hostile(touched)))
    with contextlib.suppress(UserError):
        load(workdir)
    assert not touched.exists()


def test_classes_named_in_a_checkpoint_are_not_imported(trained, tmp_path, touched, monkeypatch):
    workdir = shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "hostile.py").write_text(f"import os\nos.mkdir({str(touched)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    changed = 0
    for path in filter(is_checkpoint, workdir.rglob("*METADATA*")):
        content = path.read_text()
        changed += "orbax" in content or "handler" in content
        path.write_text(content.replace("orbax.checkpoint", "hostile").replace("jax.Array", "hostile.Array"))
    assert changed
    with contextlib.suppress(UserError):
        load(workdir)
    assert not touched.exists()


def test_compiled_programs_are_never_taken_from_where_a_workdir_says(trained, tmp_path, monkeypatch):
    workdir = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["compilation_cache"] = str(workdir / "programs")
    (workdir / "config.json").write_text(json.dumps(config))
    asked = []
    monkeypatch.setattr(trained_module, "enable_compilation_cache", asked.append)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        load_trained(Workdir(workdir))
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert asked == [COMPILATION_CACHE]


def test_embeddings_and_inlier_models(tmp_path, touched):
    for name in ("e.npz", "fan_00.skops"):
        (tmp_path / name).write_bytes(pickle.dumps(Hostile(touched)))
    summary = {"kind": "gmm", "p": 1, "seed": 0, "step": 3, "machines": [["fan", "00"]]}
    (tmp_path / "inlier.json").write_text(json.dumps(summary))
    with pytest.raises(UserError):
        Embeddings.load(tmp_path / "e.npz")
    with pytest.raises(UserError, match="fan_00.skops is no stored inlier model"):
        InlierModels.load(tmp_path)
    assert not touched.exists()


def test_records_name_no_modules_to_import(data_dir, tmp_path, touched, monkeypatch):
    data = shutil.copytree(data_dir, tmp_path / "data")
    (tmp_path / "hostile.py").write_text(f"import os\nos.mkdir({str(touched)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    for path in pathlib.Path(data).rglob("features.json"):
        path.write_text(path.read_text().replace("tensorflow_datasets.core.features.tensor_feature", "hostile"))
    store = open_store(str(data), "paper1")
    with pytest.raises(UserError, match="names 'hostile.Tensor'"):
        store.read(("drill", "00"), "train")
    assert not touched.exists()
