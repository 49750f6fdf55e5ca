"""What does not exist yet comes in by its own lines: a backend and a method of this file are trained and shipped."""

import csv
import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asd_jax.backends import BACKENDS
from asd_jax.backends.backend import Backend
from asd_jax.datasets import DATASETS
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.export import folder as export
from asd_jax.methods import METHODS, Recipe, encoder
from asd_jax.methods.recipe import EveryWindow, OneCycle, key
from asd_jax.recipes.keys import as_config
from asd_jax.records.prepare import prepare
from asd_jax.report.page import write_page
from asd_jax.scoring.held_back import train_and_keep
from configs import multitask
from tests.test_paper2 import write_sections
from tests.tiny_encoder import TinyEncoder


class NearestOfADomain(Backend):
    """The distance to the nearest normal embedding, and to the mean of those of the domain "source"."""

    model_type = dict

    @classmethod
    def needs(cls, p):
        return 1

    @classmethod
    def fit(cls, normal, p, seed):
        source = normal.embedding[normal.domain == "source"]
        assert len(source) and set(normal.domain) == {"source"}  # of the clips that were held back
        return cls({"points": normal.embedding, "middle": source.mean(0)})

    def segment_scores(self, segments):
        apart = segments.embedding[:, None] - self.model["points"]
        return np.linalg.norm(apart, axis=-1).min(1) + np.linalg.norm(segments.embedding - self.model["middle"], axis=1)

    def arrays(self):
        return self.model

    @staticmethod
    def device_segment_scores(arrays, outputs, product, p):
        apart = outputs["embedding"][:, None] - arrays["points"]
        nearest = jnp.linalg.norm(apart, axis=-1).min(1)
        return nearest + jnp.linalg.norm(outputs["embedding"] - arrays["middle"], axis=1)


def test_a_backend_that_looks_at_domains_goes_from_recordings_to_results_export_and_page(tmp_path, monkeypatch):
    monkeypatch.setitem(BACKENDS, "nearest", NearestOfADomain)
    monkeypatch.setattr(encoder, "Encoder", lambda products, axis_name, **_: TinyEncoder(products, axis_name))
    raw = write_sections(tmp_path / "raw", train_clips=12, test_clips=4)
    prepare(DATASETS["dcase2021"].list_clips(str(raw)), str(tmp_path / "data"), "dcase2021", "paper2")
    config = multitask.get_config("quicktest,without_mixup")
    config.data_dir, config.machine_type, config.compilation_cache = str(tmp_path / "data"), "drill", ""
    config.window, config.batch_size, config.num_epochs, config.validation_share = 64, 8, 1, 0.25
    config.inlier, config.inlier_p = "nearest", 1
    workdir = tmp_path / "run"
    train_and_keep(config, str(workdir), jax.devices())
    evaluate_workdir(str(workdir))
    with open(workdir / "scores/result.csv") as file:
        assert sum(row[:1] == ["drill"] or "source" in row for row in csv.reader(file))
    assert json.loads((workdir / "metrics.json").read_text())["inlier"] == "nearest"
    clips = str(raw / "eval_data/drill/train")
    model = export.export_workdir(str(workdir), str(tmp_path / "out"), 0.1, ["cpu"], machine_id="03", check=clips)
    assert model["check"]["share_of_range"] <= export.TOLERANCE and model["threshold"] == pytest.approx(
        json.loads((workdir / "threshold.json").read_text())["thresholds"]["drill/03"]
    )
    assert write_page([str(workdir)], str(tmp_path / "page.html")) == []


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A linear classifier of machines on the mean log-mel of a window; the score is the own machine's surprise."""

    machines: int
    window: int
    n_mels: int

    def init(self, key):
        return {"kernel": 0.01 * jax.random.normal(key, (self.n_mels, self.machines))}, {}

    def _log_shares(self, params, log_mels):
        return jax.nn.log_softmax(log_mels.astype(jnp.float32).mean(1) / 50 @ params["kernel"])

    def loss(self, params, batch_stats, batch, key, progress):
        surprise = optax.softmax_cross_entropy_with_integer_labels(
            self._log_shares(params, batch["features"]), batch["product"]
        )
        return surprise.mean(), (batch_stats, {"surprise": surprise.mean()})

    def outputs(self, params, batch_stats, log_mels, product):
        return {"score": -jnp.take_along_axis(self._log_shares(params, log_mels), product[:, None], 1)[:, 0]}

    def starts(self, frames):
        return np.arange(0, frames - self.window + 1, self.window)


@dataclasses.dataclass(frozen=True)
class ClassifierRecipe(Recipe):
    """All machines of all types at once, nothing held back."""

    method: str = "classifier"
    title: ClassVar[str] = "a classifier of machines"
    window: int = key(16, within=(1, 100))

    @property
    def sampler(self):
        return EveryWindow(self.window)

    @property
    def schedule(self):
        return OneCycle(self.learning_rate)

    def build(self, machines, classes):
        return Classifier(machines, self.window, self.n_mels)


def test_a_method_of_all_machines_at_once_goes_from_recordings_to_results_export_and_page(
    data_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(METHODS, "classifier", ClassifierRecipe)
    config = as_config(ClassifierRecipe())
    config.data_dir, config.compilation_cache, config.num_epochs = str(data_dir), "", 30
    config.learning_rate, config.batch_size, config.num_runs = 0.1, 16, 2
    workdir = tmp_path / "run"
    train_and_keep(config, str(workdir))
    assert "drill/00, drill/01: 22 normal clips, 0 held back;" in capsys.readouterr().out
    evaluate_workdir(str(workdir))
    [row] = [one for one in json.loads((workdir / "metrics.json").read_text())["rows"] if one["machine_id"] == "00"]
    assert row["mean"]["AUC"] > 0.9  # the tone of another machine is heard
    assert (workdir / "scores/result.csv").exists()
    out = str(tmp_path / "out")
    model = export.export_workdir(str(workdir), out, 0.1, ["cpu"], machine_id="00")
    assert model["check"]["share_of_range"] <= export.TOLERANCE and model["threshold"] is None
    [note] = write_page([str(workdir)], str(tmp_path / "page.html"))
    assert "no normal clips" in note and "a classifier of machines" in (tmp_path / "page.html").read_text()
