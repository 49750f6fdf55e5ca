"""What long work says: bars for people, lines for log files, and what comes next."""

import io
import shlex
import time

import pytest

from asd_jax.base import progress
from asd_jax.records.prepare import prepare
from asd_jax.training.first_training import next_command
from tests.records.test_prepare import FAN, PUMP, write_clips


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_a_line_now_and_then_with_rate_and_time_left(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setattr(progress, "_SECONDS", 0.1)
    for _ in progress.tqdm(range(40), unit="clip", desc="scoring"):
        time.sleep(0.02)
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue() and 2 <= len(lines) <= 12
    assert all(line.startswith("scoring: ") and "/40 [" in line and "clip/s]" in line for line in lines)
    assert "<" in lines[0] and lines[-1].startswith("scoring: 100%")


def test_short_work_says_nothing_to_a_log_file_and_shows_a_bar_to_people(monkeypatch):
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr("sys.stderr", stream)
        with progress.tqdm(total=3) as bar:
            bar.update(3)
        assert ("\r" in stream.getvalue()) == stream.isatty() and bool(stream.getvalue()) == stream.isatty()


@pytest.mark.parametrize(
    ("preset", "machines", "recipe", "values"),
    [
        ("paper1", (FAN, PUMP), "proxy_outlier.py", ["machine_type=fan", "machine_id=00", "outlier_set=all"]),
        ("paper1", (FAN,), "autoencoder.py", ["machine_type=fan", "machine_id=00"]),
        ("paper2", (FAN, PUMP), "multitask.py", ["machine_type=fan"]),
    ],
)
def test_the_command_that_comes_next_can_be_copied(tmp_path, preset, machines, recipe, values):
    clips = [clip for machine in machines for clip in write_clips(tmp_path / "raw", machine, 2, 0)]
    data_dir = str(tmp_path / "my data")
    words = shlex.split(next_command(prepare(clips, data_dir, "folder", preset, say=lambda _: None)))
    assert words[:3] == ["python", "tools/train.py", f"--config=configs/{recipe}"]
    assert words[3] == ("--workdir=runs/fan" if preset == "paper2" else "--workdir=runs/fan_00")
    assert words[4:] == [f"--config.{value}" for value in [f"data_dir={data_dir}", *values]]
