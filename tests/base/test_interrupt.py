"""Ctrl-C is one line at any moment, and nothing unfinished is left where that can be helped."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = """
from asd_jax.base import interrupt
import atexit, os, signal, sys, threading, time
from absl import flags
from asd_jax.base import cli
from asd_jax.base import files

def ready():
    print("ready", flush=True)
    time.sleep(20)

def in_import():
    ready()

def in_main():
    with files.whole_file("whole") as unfinished:
        unfinished.write_text("half")
        ready()

def made_another_error():
    try:
        ready()
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error

def lost():
    class Lost:
        def __del__(self):
            ready()
    Lost()
    time.sleep(20)

def in_a_thread():
    pool = threading.Thread(target=time.sleep, args=[20])
    pool.start()
    ready()

def at_exit():
    atexit.register(time.sleep, 1)
    atexit.register(print, "ready", flush=True)

if sys.argv[1] == "in_import":
    in_import()
sys.argv, name = sys.argv[:1], sys.argv[1]
cli.run(globals()[name])
"""


def start(folder, name):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    given = {"cwd": folder, "env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", COMMAND, name], **given)


CASES = ["in_import", "in_main", "made_another_error", "lost", "in_a_thread"]


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_code_130(tmp_path, name):
    process = start(tmp_path, name)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert (process.returncode, said) == (130, "Stopped.\n")
    assert not os.listdir(tmp_path)


def test_ctrl_c_when_all_is_done_changes_nothing(tmp_path):
    process = start(tmp_path, "at_exit")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "" and process.returncode == 0


def test_a_reader_who_has_gone_is_no_mistake(tmp_path):
    script = "from asd_jax.base import cli\ncli.run(lambda: [print('x' * 99) for _ in range(9999)] and None)"
    command = f'{sys.executable} -c "{script}" | head -n 1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "141" and not done.stderr


@pytest.mark.parametrize(
    "tool", sorted(path.name for path in (ROOT / "tools").glob("*.py") if path.stem != "installed")
)
def test_every_command_begins_with_it(tool):
    own = [line for line in (ROOT / "tools" / tool).read_text().splitlines() if "import" in line and "asd_jax" in line]
    assert own[0].startswith("from asd_jax.base import interrupt")
