"""What stands in a training's way is found and named, with what to do; and what does not, is not."""

import importlib.metadata
import shutil

import pytest

from asd_jax.base import locks
from asd_jax.doctor import examine, folders, machine


def levels(findings):
    return {finding.level for finding in findings}


def test_packages_are_held_against_what_is_declared(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy>=1", "x; extra == 'test'"])
    assert levels(machine.packages()) == {"ok"}
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy<1", "no-such-package>=2"])
    first, second = machine.packages()
    assert first.level == second.level == "wrong"
    assert "numpy" in first.found and "declared <1" in first.found
    assert "no-such-package is missing" in second.found and "no-such-package>=2" in second.advice


def test_a_check_that_fails_is_a_line_and_the_others_go_on(monkeypatch, tmp_path):
    def broken():
        raise ImportError("libfoo.so: cannot open")

    for module, name in ((machine, "devices"), (machine, "packages"), (folders, "caches")):
        monkeypatch.setattr(module, name, lambda: iter(()))
    monkeypatch.setattr(machine, "tensorflow", broken)
    found = {finding.subject: finding for finding in examine.examine(workdir=str(tmp_path / "new"))}
    assert found["TensorFlow"].level == "wrong" and "libfoo.so" in found["TensorFlow"].found
    assert found["workdir"].level == "ok" and "is new" in found["workdir"].found
    assert found["TensorFlow"].advice and not (tmp_path / "new").exists()


@pytest.mark.parametrize(("asked", "level"), [("cpu", "warning"), (None, "wrong")])
def test_an_accelerator_that_jax_does_not_see(monkeypatch, asked, level):
    monkeypatch.setattr(machine.glob, "glob", lambda pattern: ["/dev/nvidia0"] if "nvidia" in pattern else [])
    if asked is None:
        monkeypatch.delenv("JAX_PLATFORMS")
    [finding] = machine.devices()
    assert finding.level == level and "GPU" in finding.found


def test_records_that_are_cut_off_or_missing_are_named(data_dir, tmp_path):
    assert levels(folders.records(str(data_dir))) == {"ok"}
    data = shutil.copytree(data_dir, tmp_path / "data")
    whole, gone = sorted(data.rglob("*.tfrecord*"))[:2]
    whole.write_bytes(whole.read_bytes()[:-1])
    gone.unlink()
    found = [finding for finding in folders.records(str(data)) if finding.level == "wrong"]
    assert len(found) == 2 and any(str(gone) in finding.found for finding in found)
    assert all("prepare drill/00 again" in finding.advice for finding in found)
    assert levels(folders.records(str(tmp_path / "none"))) == {"wrong"}


def test_a_workdir_in_use_is_wrong(tmp_path):
    with locks.held(tmp_path, "training"):
        assert [finding.level for finding in folders.workdir(str(tmp_path))] == ["wrong", "ok"]
    assert levels(folders.workdir(str(tmp_path))) == {"ok"}


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    assert levels(folders.disk(None, str(tmp_path))) <= {"ok", "warning"}

    def refuse(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(folders.tempfile, "TemporaryFile", refuse)
    found = list(folders.disk(str(tmp_path), str(tmp_path)))
    assert [finding.level for finding in found] == ["wrong", "ok"]  # a training only reads the data
    assert "Read-only" in found[0].found


def test_a_clock_behind_the_files(monkeypatch, tmp_path):
    assert levels(folders.clock(None, str(tmp_path))) == {"ok"}
    monkeypatch.setattr(folders.time, "time", lambda: 1e9)
    assert levels(folders.clock(None, str(tmp_path))) == {"warning"}
