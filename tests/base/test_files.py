"""Files appear whole or not at all, and what a killed process left goes."""

import os
import signal
import subprocess
import sys

import pytest

from asd_jax.base import files
from asd_jax.base.files import unfinished, whole_file, write_atomically

WRITES = """
import sys, time
from asd_jax.base.files import whole_file
with whole_file(sys.argv[1]) as path:
    path.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "new" / "a[1].json"
    write_atomically(file, "old")
    with pytest.raises(RuntimeError), whole_file(file) as mine:
        mine.write_text("half")
        assert file.read_text() == "old" and unfinished == {mine}
        raise RuntimeError
    assert os.listdir(file.parent) == ["a[1].json"] and file.read_text() == "old" and not unfinished


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_left_alone(tmp_path):
    file = tmp_path / "a[1].json"
    killed, living = (
        subprocess.Popen([sys.executable, "-c", WRITES, str(file)], stdout=subprocess.PIPE) for _ in range(2)
    )
    for process in (killed, living):
        assert process.stdout.readline() == b"half\n"
    killed.kill()
    killed.wait()
    assert len(os.listdir(tmp_path)) == 2
    write_atomically(file, "whole")
    assert [name for name in os.listdir(tmp_path) if f".{living.pid}." not in name] == ["a[1].json"]
    assert len(os.listdir(tmp_path)) == 2
    living.send_signal(signal.SIGKILL)
    living.wait()
    files._looked_at.clear()  # as in another process
    write_atomically(tmp_path / "another.json", "whole")
    assert sorted(os.listdir(tmp_path)) == ["a[1].json", "another.json"]


def test_a_folder_is_looked_at_once(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(os, "listdir", lambda folder: looked.append(os.fspath(folder)) or [])
    for i in range(50):
        write_atomically(tmp_path / "a" / f"{i}.json", "x")
        write_atomically(tmp_path / "b" / "same.json", "x")
    assert looked == [f"{tmp_path}/a", f"{tmp_path}/b"]
