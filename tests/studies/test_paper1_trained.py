"""Paper 1's study with real trainings, as small as they get."""

import json
import os
import signal

import jax.numpy as jnp
import pytest
from flax import linen as nn

from asd_jax.studies import grid, paper1
from configs import autoencoder, maf, proxy_outlier
from tests.fake_devices import all_devices
from tests.studies.test_paper1 import OUTPUTS, open_study, read_csv
from tests.test_commands import succeeds


class BandMeans(nn.Module):
    """In the place of paper 1's network, which takes long to compile."""

    @nn.compact
    def __call__(self, log_mels, train):
        self.variable("batch_stats", "unused", jnp.zeros, ())
        return nn.Dense(1)(log_mels.astype(jnp.float32).mean(1) / 50)[:, 0]


def small(recipe, **values):
    def make(variant):
        config = recipe("quicktest")
        config.num_epochs = 1
        config.update_from_flattened_dict(values)
        return config

    return make


@pytest.fixture(scope="module")
def small_recipes(tmp_path_factory):
    cache = {"compilation_cache": str(tmp_path_factory.mktemp("compiled"))}
    recipes = {
        "proxy_outlier": small(proxy_outlier.get_config, window=32, batch_size=8, held_back=0, **cache),
        "autoencoder": small(autoencoder.get_config, held_back=0, **cache),
        "maf": small(maf.get_config, **{"network.blocks": 1, "network.hidden": 32}, **cache),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asd_jax.methods.proxy_outlier.ResNet", lambda **_: BandMeans())
        yield recipes


@pytest.fixture(scope="module")
def reproduced(data, small_recipes, tmp_path_factory):
    """Trained in truth on 2 + 2 devices; SIGTERM comes with the third training, and the study is continued."""
    out, begun, devices_of = tmp_path_factory.mktemp("study"), [], {}
    asked = {"detectors": ["autoencoder", "maf", "proxy_outlier"], "outlier_sets": ["a"], "sizes": (2,)}
    study = open_study(data, out, machine_types=["rotor"], machine_ids=["00"], recipes=small_recipes, **asked)

    def stopped(config, workdir, devices, stop):
        begun.append(workdir)
        devices_of[workdir] = tuple(device.id for device in devices)
        if len(begun) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        real(config, workdir, devices, stop)

    real = grid.train_and_keep
    with pytest.MonkeyPatch.context() as patch, all_devices():
        patch.setattr(grid, "train_and_keep", stopped)
        with pytest.raises(SystemExit):
            paper1.reproduce(study)
        finished = {path: path.stat().st_mtime_ns for path in out.glob("**/metrics.json")}
        assert finished and len(begun) < len(study.trainings) == 4
        assert paper1.reproduce(study)
    assert finished == {path: path.stat().st_mtime_ns for path in finished}
    assert len(list(out.glob("**/metrics.json"))) == 4
    assert len(set(devices_of.values())) == 2 and len({one for ids in devices_of.values() for one in ids}) == 4
    return out


def test_real_trainings_side_by_side_are_measured(reproduced):
    lines = read_csv(reproduced / "results.csv")
    settings = {(line["detector"], line["outlier_set"], line["size"]) for line in lines}
    assert settings == {
        ("autoencoder", "", ""),
        ("maf", "", ""),
        ("proxy_outlier", "a", ""),
        ("proxy_outlier", "c", "2"),
    }
    assert len(lines) == 8 and all(0 <= float(line["AUC"]) <= 1 for line in lines)
    for workdir, setting in (("proxy_outlier/c_2/rotor/00", ("c", "2")), ("proxy_outlier/a/rotor/00", ("a", ""))):
        [one] = json.loads((reproduced / workdir / "metrics.json").read_text())["rows"]
        mine = [float(line["AUC"]) for line in lines if (line["outlier_set"], line["size"]) == setting]
        assert mine == [values["AUC"] for values in one["runs"]]
    of_maf = json.loads((reproduced / "maf/metrics.json").read_text())["rows"]
    assert {(one["machine_type"], one["machine_id"]) for one in of_maf} >= {("rotor", "00"), ("belt", "01")}


def test_the_command_goes_through(data, tmp_path):
    flags = ("--paper=1", f"--data_dir={data / 'paper1'}", f"--out={tmp_path}", "--machine_types=rotor", "--runs=1")
    small = "window=8,num_epochs=1,compilation_cache=''"
    said = succeeds("reproduce", *flags, "--machine_ids=00", "--detectors=autoencoder", f"--override={small}")
    assert "part 1 of 1 autoencoder/rotor/00: took " in said and "not measured: needs" in said
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == OUTPUTS
