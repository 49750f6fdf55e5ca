"""Checkpoints: what was saved comes back bit for bit, on other devices too, and damage is found out."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import SingleDeviceSharding

from asd_jax.base.errors import UserError
from asd_jax.devices import checkpoints as module
from asd_jax.devices.checkpoints import RunCheckpoints, restore_newest
from asd_jax.scoring.held_back import train_and_keep
from tests.fake_devices import DEVICES


def state(value):
    return {"w": jax.random.normal(jax.random.key(value), (40, 50)), "step": jnp.int32(value)}


def like(device=0):
    sharding = SingleDeviceSharding(DEVICES[device])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state(0))


@pytest.fixture
def saved(tmp_path):
    checkpoints = RunCheckpoints(tmp_path, 0)
    for step in (1, 2, 3):
        checkpoints.save(step, state(step))
    checkpoints.wait()
    yield checkpoints
    checkpoints.close()


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def damage(folder, change):
    largest = max((p for p in pathlib.Path(folder).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(change(largest.read_bytes()))


def test_the_newest_comes_back_and_two_are_kept(saved):
    assert saved.steps() == [2, 3]
    step, [restored] = restore_newest([saved], [like()])
    assert step == 3
    equal(restored, state(3))


def test_restores_onto_another_device(saved):
    _, [restored] = restore_newest([saved], [like(device=2)])
    assert restored["w"].devices() == {DEVICES[2]}
    equal(restored, state(3))


@pytest.mark.parametrize(
    "change",
    [lambda b: b[: len(b) // 2], lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :]],
    ids=["truncated", "one bit flipped"],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(saved, change, caplog):
    damage(f"{saved.folder}/3", change)
    step, [restored] = restore_newest([saved], [like()])
    assert step == 2
    equal(restored, state(2))
    assert "falling back" in caplog.text and f"{saved.folder}/3" in caplog.text


def test_when_all_are_damaged_it_says_so(saved):
    for step in (2, 3):
        damage(f"{saved.folder}/{step}", lambda b: b[:10])
    with pytest.raises(UserError, match="None of the checkpoints"):
        restore_newest([saved], [like()])


def test_a_part_is_read_without_the_rest(saved):
    (largest,) = [one for one in like().values() if one.shape == (40, 50)]
    step, [restored] = restore_newest([saved], [like()], ("step",))
    assert (step, int(restored["step"])) == (3, 3) and restored["w"].shape == largest.shape
    assert isinstance(restored["w"], jax.ShapeDtypeStruct)
    _, [restored] = restore_newest([saved], [like()], ("w",))
    np.testing.assert_array_equal(restored["w"], state(3)["w"])


def test_a_damaged_part_falls_back_too(saved, caplog):
    damage(f"{saved.folder}/3", lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :])
    step, [restored] = restore_newest([saved], [like()], ("w",))
    assert step == 2 and "falling back" in caplog.text
    np.testing.assert_array_equal(restored["w"], state(2)["w"])


@pytest.mark.parametrize("fields", [(), ("w",)])
def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path, fields):
    checkpoints = RunCheckpoints(tmp_path, 0)
    tree = {"state": state(5), "checksum": module._checksum(state(5))}
    checkpoints._manager.save(1, args=ocp.args.StandardSave(tree))
    checkpoints.wait()
    _, [restored] = restore_newest([checkpoints], [like()], fields)
    equal(restored, state(5))
    checkpoints._manager.save(2, args=ocp.args.StandardSave(tree | {"checksum": jnp.uint32(1)}))
    checkpoints.wait()
    step, _ = restore_newest([checkpoints], [like()], fields)
    assert step == 1
    checkpoints.close()


def test_several_runs_start_from_a_step_that_all_have(saved, tmp_path):
    other = RunCheckpoints(tmp_path, 1)
    assert restore_newest([saved, other], [like()] * 2) is None
    other.save(2, state(7))
    other.wait()
    step, [one, two] = restore_newest([saved, other], [like()] * 2)
    assert step == 2
    equal(one, state(2))
    equal(two, state(7))
    other.close()


@pytest.mark.parametrize("name", ["[1]", "a*b", "a?", "a\\b"])
def test_a_path_that_orbax_takes_for_a_pattern_is_refused_before_anything_is_written(tmp_path, config, name):
    workdir = tmp_path / name / "runs" / "drill"
    with pytest.raises(UserError, match="holds .*, by which checkpoints get lost: use another folder"):
        train_and_keep(config, str(workdir))
    with pytest.raises(UserError, match="use another folder"):
        RunCheckpoints(workdir, 0)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a]b", "{a}", "a b", "ä%#:$~|'\""])
def test_other_paths_work(tmp_path, name):
    checkpoints = RunCheckpoints(tmp_path / name, 0)
    checkpoints.save(1, state(1))
    checkpoints.wait()
    _, [restored] = restore_newest([checkpoints], [like()])
    equal(restored, state(1))


def test_a_path_in_the_cloud_stays_one(monkeypatch):
    monkeypatch.setattr(ocp, "CheckpointManager", lambda folder, **_: folder)
    assert str(RunCheckpoints("gs://bucket/runs/fan", 2)._manager) == "gs://bucket/runs/fan/checkpoints/run_2"
    monkeypatch.chdir("/tmp")
    assert str(RunCheckpoints("runs/fan", 2)._manager) == "/tmp/runs/fan/checkpoints/run_2"
