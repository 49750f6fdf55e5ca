"""Two processes that train together: the numbers of one process, one writer, one sentence when one of them is lost."""

import copy
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest
from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.devices import hosts, lost_process
from asd_jax.devices.mesh import make_mesh
from asd_jax.scoring.held_back import train_and_keep
from configs import autoencoder, maf
from tests.fake_devices import DEVICES
from tests.training.test_run import epochs, weights

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def configs(data_dir, tmp_path_factory):
    """A batch split between the processes; and a run on each of them, whose log-mels lie on the devices."""
    split, sides = autoencoder.get_config("quicktest"), maf.get_config("quicktest")
    split.network.widths, split.window, split.batch_size = (8, 2, 8), 8, 256
    split.num_epochs, split.checkpoint_epochs, split.held_back = 24, 4, 0
    split.steps_per_dispatch = None
    sides.num_runs, sides.window, sides.hop, sides.network.blocks, sides.network.hidden = 2, 1, 1, 1, 64
    sides.batch_size, sides.num_epochs, sides.validation_share = 64, 2, 0.2
    for config in (split, sides):
        config.data_dir, config.machine_type = str(data_dir), "drill"
        config.compilation_cache = str(tmp_path_factory.getbasetemp() / "compiled")
    return {"sides": sides, "split": split}


class Pair:
    """Two processes on this machine that train one config after the other."""

    def __init__(self, configs, folder, names):
        with socket.create_server(("localhost", 0)) as free:
            command = [sys.executable, "-m", "tests.host", str(free.getsockname()[1])]
        for name, config in configs.items():
            (folder / f"{name}.json").write_text(config.to_json_best_effort())
        trainings = [f"{folder / name}.json:{folder / name}" for name in names]
        self.texts, self.processes = [], []
        for process in ("0", "1"):
            self.texts.append([folder / f"{stream}_{process}" for stream in ("printed", "said")])
            with open(self.texts[-1][0], "w") as out, open(self.texts[-1][1], "w") as error:
                given = {"cwd": ROOT, "stdout": out, "stderr": error}
                self.processes.append(subprocess.Popen([*command, process, *trainings], **given))

    def wait_for(self, there):
        """What `there` gives, once it is something."""
        while not (found := there()):
            assert [one.poll() for one in self.processes] == [None, None], self.told()
            time.sleep(0.01)
        return found

    def told(self):
        """(printed, said) of each process."""
        return [[path.read_text() for path in texts] for texts in self.texts]


@pytest.fixture(scope="module")
def story(configs, tmp_path_factory):
    """Two processes are stopped by SIGTERM to one, and go on until one is killed; one process then does the rest."""
    folder = tmp_path_factory.mktemp("story")
    pair = Pair(configs, folder, ("sides", "split", "split"))

    def last_step():
        return max(
            (int(path.name) for path in folder.glob("split/checkpoints/run_0/*") if path.name.isdigit()), default=0
        )

    pair.wait_for(last_step)
    pair.processes[1].send_signal(signal.SIGTERM)
    goes_on = pair.wait_for(lambda: re.search(r"Run 0 goes on after step (\d+)", pair.told()[0][0]))
    pair.wait_for(lambda: last_step() > int(goes_on[1]))
    pair.processes[1].kill()
    began = time.monotonic()
    codes = [one.wait(60) for one in pair.processes]
    seconds, killed_at = time.monotonic() - began, last_step()
    train_and_keep(configs["split"], str(folder / "split"), DEVICES[:2])
    return types.SimpleNamespace(
        folder=folder, told=pair.told(), codes=codes, seconds=seconds, stopped_at=int(goes_on[1]), killed_at=killed_at
    )


def learned(states):
    """The arrays by their places, but for biases that a BatchNorm takes out again, and its means, which follow them.

    The gradient of such a bias is 0 but for rounding, of which Adam makes steps as large as any. So they differ
    wherever the programs are compiled otherwise, and nothing that the network gives does.
    """
    found = {}
    for run, (params, batch_stats, opt_state, best) in enumerate(states):
        normed = [name for name in batch_stats if name.replace("BatchNorm", "Dense") in params]
        without = [f"['{name}']['mean']" for name in normed]
        without += [f"['{name.replace('BatchNorm', 'Dense')}']['bias']" for name in normed]
        for path, leaf in jax.tree.leaves_with_path((params, batch_stats, opt_state, best)):
            place = jax.tree_util.keystr(path)
            if not any(one in place for one in without):
                found[f"{run} {place}"] = leaf
    return found


def test_one_process_with_two_devices_gives_the_same_weights(story, configs, tmp_path):
    for name, config in configs.items():
        train_and_keep(config, str(tmp_path / name), DEVICES[:2])
        one, two = (learned(weights(folder / name)) for folder in (tmp_path, story.folder))
        assert one.keys() == two.keys() and len(one) > 20
        for place in one:
            np.testing.assert_allclose(one[place], two[place], rtol=1e-4, atol=1e-6, err_msg=place)
        losses = [
            {
                (e["run"], e["epoch"]): [e["steps"], e["loss"], e.get("validation_loss", 0)]
                for e in epochs(folder / name)
            }
            for folder in (tmp_path, story.folder)
        ]
        assert losses[0].keys() == losses[1].keys() and len(losses[0]) == config.num_runs * config.num_epochs
        for place, values in losses[1].items():
            if values[0] == losses[0][place][0]:  # the epoch in which it was stopped tells of the steps after that
                assert values == pytest.approx(losses[0][place], rel=1e-5)


def test_one_process_alone_prints_and_writes(story):
    (first, _), (second, said) = story.told
    assert "Compiled" in first and "2 run(s) at a time, each batch over 1" in first and "each batch over 2" in first
    assert not [line for line in second.splitlines() if "[Gloo]" not in line] and "step/s" not in said
    for name, runs in (("split", 1), ("sides", 2)):
        lines = [(entry["run"], entry["epoch"]) for entry in epochs(story.folder / name)]
        assert len(lines) == len(set(lines)) == runs * len({epoch for _, epoch in lines})
    assert len(list((story.folder / "sides/tensorboard/run_0").glob("events*"))) == 1
    assert (story.folder / "sides/held_back_scores.json").exists()


def test_a_lost_process_ends_the_other_one_with_one_sentence(story):
    _, said = story.told[0]
    assert story.codes[0] != 0 and story.seconds < 60
    assert (
        story.stopped_at < story.killed_at < json.loads((story.folder / "split/training.json").read_text())["num_steps"]
    )
    assert said.splitlines()[-1] == (
        "Error: Process 1 of 2 is lost: run the same command on all hosts again to go on from the last checkpoint."
    )
    assert "Traceback" not in said and "***" not in said and "Terminating" not in said


def test_sigterm_to_one_process_stops_all_after_the_same_steps(story):
    printed, _ = story.told[0]
    assert f"Stopped after step {story.stopped_at}, which is saved" in printed


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("h:1", None, None), "--coordinator_address needs --num_processes and --process_id too"),
        ((None, 2, 0), "--num_processes and --process_id needs --coordinator_address too"),
        (("h:1", 2, 2), "--process_id=2 of --num_processes=2 .* from 0 to 1"),
        (("h:1", 2, -1), "--process_id=-1"),
        (("h:1", 0, 0), "--num_processes=0"),
        (("h", 2, 1), "expected HOST:PORT"),
        (("localhost:1", 2, 1), "The coordinator at localhost:1 could not be reached within 0 s"),
    ],
)
def test_flags_that_do_not_fit_together_are_told(flags, sentence, monkeypatch):
    monkeypatch.setattr(hosts, "_REACH", 0)
    with pytest.raises(UserError, match=sentence), hosts.joined(*flags):
        pass
    assert not jax.distributed.is_initialized()


def test_without_flags_and_cluster_nothing_is_joined(monkeypatch):
    monkeypatch.setattr(lost_process, "watch", None)
    with hosts.joined(None, None, None):
        assert not jax.distributed.is_initialized()
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert not hosts._in_cluster()  # of a batch script, which is one process
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[1-2]")
    assert hosts._in_cluster()


def test_what_a_process_says_is_passed_on_until_jax_ends_it():
    message = (
        "F1123 00:57:05.481731   18639 client.h:80] Terminating process because the JAX distributed service detected "
        "fatal errors. {}\n*** Check failure stack trace: ***\n    @     0x7fd307240634  absl::SendToLog()\n"
    )
    for said, sentence in (
        ("", ""),
        ("Fine\rFine: 3 of 4", ""),
        ("A bar:  3%" + message.format("Shutdown barrier has failed."), "One of 8 processes is lost"),
        (message.format("(stopped sending heartbeats):\n1\n3\nThe tasks"), "Process 1, 3 of 8 is lost"),
        ("a\n" + message.format("UNAVAILABLE: Failed to send RPC to coordination service."), "Process 0 of 8 is lost"),
        (message.format("DEADLINE\n\nRPC: /xla.coordination.CoordinationService/RegisterTask"), "Not all of 8"),
        (message.format("Shutdown barrier has failed."), "One of 8 processes is lost"),
    ):
        command = [sys.executable, lost_process.__file__, "8"]
        heard = subprocess.run(command, input=said.encode(), capture_output=True, check=True).stderr.decode()
        if sentence:
            before, _, after = heard.rpartition("Error: ")
            assert after.startswith(sentence) and after.count("\n") == 1
            assert before in ("", "a\n", "A bar:  3%\n")
        else:
            assert heard == said


def test_processes_that_would_not_get_equal_parts_are_refused():
    devices = [types.SimpleNamespace(process_index=process) for process in (0, 0, 1, 1)]
    for num_runs, batch_size in ((1, 63), (3, 64)):
        with pytest.raises(UserError, match=f"{num_runs} run.* cannot be dealt equally to 4 devices of 2 processes"):
            make_mesh(num_runs, batch_size, devices)


def test_a_workdir_in_the_cloud_is_only_touched_as_one(configs, tmp_path, monkeypatch):
    @epath.register_path_cls("bucket://")
    class Bucket:
        def __new__(cls, path):
            return pathlib.Path(str(path).replace("bucket://", f"{tmp_path}/bucket/"))

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = copy.deepcopy(configs["split"])
    config.num_epochs, config.held_back = 1, 3
    for _ in range(2):
        train_and_keep(config, "bucket://run", DEVICES[:2])
    assert not list((tmp_path / "here").iterdir())
    names = {path.name for path in (tmp_path / "bucket/run").iterdir()}
    assert names == {
        "config.json",
        "training.json",
        "surroundings.json",
        "checkpoints",
        "metrics.jsonl",
        "tensorboard",
        "held_back_scores.json",
    }
