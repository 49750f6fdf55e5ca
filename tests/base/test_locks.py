"""One command at a time writes to a folder: the second is told who does, and a killed one is in nobody's way."""

import os
import socket
import subprocess
import sys

import pytest

from asd_jax.base import locks
from asd_jax.base.errors import UserError

HOLDS = """
import sys, time
from asd_jax.base import locks
with locks.held(sys.argv[1], "training"):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds tmp_path/w."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path / "w"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"in\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_host_process_and_since_when(tmp_path, other):
    told = f"a training, process {other.pid} on host {socket.gethostname()} since 2"
    with pytest.raises(UserError, match=told), locks.held(tmp_path / "w", "training"):
        pass
    assert locks.holder(tmp_path / "w").startswith(told)


def test_a_killed_process_is_in_nobodys_way_whatever_it_left(tmp_path, other):
    other.kill()
    other.wait()
    assert os.listdir(tmp_path / "w")
    assert locks.holder(tmp_path / "w") is None
    with locks.held(tmp_path / "w", "training"):
        assert "training" in locks.holder(tmp_path / "w")


def test_what_is_left_is_what_was_written(tmp_path):
    with locks.held(tmp_path / "nothing", "training"):
        pass
    with locks.held(tmp_path / "some", "training"):
        (tmp_path / "some/file").touch()
    (tmp_path / "mine").mkdir()
    with locks.held(tmp_path / "mine", "training"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["mine", "some"]
    assert os.listdir(tmp_path / "some") == ["file"] and not os.listdir(tmp_path / "mine")


def test_side_by_side_in_one_process(tmp_path):
    with (
        locks.held(tmp_path / "0", "training"),
        locks.held(tmp_path / "1", "training"),
        pytest.raises(UserError, match="in use"),
        locks.held(tmp_path / "0", "training"),
    ):
        pass


def test_a_lock_that_was_left_while_it_was_waited_for_is_taken_anew(tmp_path, monkeypatch):
    real, left = locks.fcntl.flock, []

    def flock(file, how):
        if not left:
            left.append(os.unlink(file.name))  # the one before leaves between opening and locking
        real(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.held(tmp_path, "training"):
        assert os.listdir(tmp_path)
        with pytest.raises(UserError), locks.held(tmp_path, "training"):
            pass


def test_where_there_are_no_locks_nobody_is_refused(tmp_path, monkeypatch, caplog):
    def flock(file, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.held(tmp_path, "training"), locks.held(tmp_path, "training"):
        assert "cannot be locked" in caplog.text
    with locks.held("gs://bucket/run", "training"):
        pass
