"""Whatever overrides say and files of a workdir or data_dir hold: it is taken, or one line says what is wrong where."""

import dataclasses
import json
import pathlib
import tempfile

import pytest
from absl import flags
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ml_collections import config_flags

from asd_jax.base import cli
from asd_jax.base.stored_json import read_json
from asd_jax.evaluation.evaluate import _training_seconds
from asd_jax.recipes.build import make_method
from asd_jax.recipes.keys import as_json, flat_keys, read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.manifest import MachineRecords, Manifest, TypeStatistics, read_manifest, write_manifest
from asd_jax.records.store import open_store
from asd_jax.scoring.held_back import held_back_scores
from asd_jax.scoring.scorer import Scorer, inlier_choice
from asd_jax.scoring.trained import Trained
from asd_jax.sound.features import WaveStatistics
from asd_jax.sound.presets import PRESETS
from asd_jax.studies import grid
from asd_jax.training.epoch_log import EpochLog
from tests.fuzzing import SCALARS, VALUES, broken_json, guarded, told

pytestmark = guarded
ROOT = pathlib.Path(__file__).parents[2]
RECIPES = ("proxy_outlier", "autoencoder", "maf", "multitask", "ddcsad")


def parsed(recipe, overrides):
    values = flags.FlagValues()
    arguments = [f"--config.{key}={value}" for key, value in overrides]
    command = ["train", f"--config={ROOT}/configs/{recipe}.py:quicktest", *arguments]
    config = config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=command)
    cli.parse_flags(command, values)
    return config.value


_ALL = set.union(*(flat_keys(parsed(recipe, [])) for recipe in RECIPES))
KEYS = st.sampled_from(sorted(_ALL - {"compilation_cache"}))
TEXTS = st.one_of(
    SCALARS.map(str),
    st.sampled_from(["(1,2,3)", "(0,1,1)", "(1e9,1,1)", "(1000000,1,1)", "[1]", "(1,", "'a'", "((((", "()", "(None,)"]),
    st.sampled_from(["float32", "paper2", "lof", "log", "random", "1e400", "0x10", "1_000", "3", "8", "32", "a,b"]),
)
OVERRIDES = st.lists(st.tuples(st.one_of(KEYS, KEYS, KEYS, st.text(max_size=6), st.just("network")), TEXTS), max_size=3)
NEEDED = [("data_dir", "D"), ("machine_type", "fan"), ("machine_id", "00")]


@given(st.sampled_from(RECIPES), OVERRIDES)
@example("proxy_outlier", [("learning_rate", "nan")])
@example("multitask", [("mixup_alpha", "nan")])
@example("multitask", [("network.depth", "1e9")])
@example("multitask", [("network.dropout", "1.0")])
@example("proxy_outlier", [("network.blocks", "(1000000,1,1)")])
@example("proxy_outlier", [("network.blocks", "(1,")])
@example("proxy_outlier", [("", "1")])
@example("proxy_outlier", [("0", "1")])
@example("proxy_outlier", [("network", "1")])
@example("proxy_outlier", [("window", str(10**30))])
@example("maf", [("network.hidden_layers", str(10**9))])
@example("autoencoder", [("network.widths", "(0,)")])
def test_overrides_are_taken_or_told(recipe, overrides):
    config = told(parsed, recipe, [*NEEDED, *overrides])
    if config is None:
        return
    found = told(read_recipe, config, names=["config.", "recipe"])
    if found is not None:
        assume(is_small(found))
        method = told(make_method, found, 2, names=["config."])
        assert method is None or method.window == found.window


def is_small(recipe):
    """Large networks take their time; whether they can be built is not asked of them."""
    numbers = [recipe.window, *vars(recipe.network).values()]
    lists = [value for value in numbers if isinstance(value, tuple)]
    numbers = [value for value in numbers if isinstance(value, int | float)]
    return max(numbers) <= 64 and all(max(value) < 1000 for value in lists) and max(map(sum, lists), default=0) < 1000


@given(st.sampled_from(RECIPES), st.one_of(st.text(max_size=12), st.tuples(KEYS, TEXTS).map("=".join)))
@example("multitask", "network=None")
def test_overrides_of_a_study_are_taken_or_told(recipe, text):
    override = told(grid.parse_override, text, names=["--override"])
    if override is not None:
        own = {"data_dir": "D", "machine_type": "fan", "machine_id": "00"}
        told(
            grid.make_training,
            "d",
            "n",
            "W",
            parsed(recipe, []),
            dict([override]),
            own,
            names=[override[0].split(".")[-1]],
        )


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield pathlib.Path(name)


CONFIGS = {
    recipe: {"format": 2} | as_json(read_recipe(parsed(recipe, NEEDED)))
    for recipe in ("proxy_outlier", "autoencoder", "multitask", "ddcsad")
}
SUMMARY = {
    "num_steps": 4,
    "machines": [["fan", "00"], ["fan", "02"]],
    "held_back": ["a.wav"],
    "wave_statistics": {"fan": {"mean": 0.1, "std": 1.0}, "pump": None},
    "parameters": 100,
    "steps_per_epoch": 2,
    "normal_clips": 3,
    "outlier_clips": 3,
    "channels": None,
    "names_sha256": "0",
}
SCORES = {"steps": [2], "scores": {"fan/00": {"a.wav": 0.5, "b.wav": -1}, "fan/02": {"c.wav": 3.0}}}
LINES = [{"run": 0, "epoch": 1, "step": 2, "steps": 2, "loss": 0.1, "seconds": 1.0}]


@given(st.sampled_from(sorted(CONFIGS)).flatmap(lambda recipe: broken_json(CONFIGS[recipe])))
@example(b'{"method": []}')
@example(b'{"method": "maf", "a.b": 1}')
@example(json.dumps(CONFIGS["autoencoder"] | {"network": {"widths": [128, None]}}).encode())
@example(json.dumps(CONFIGS["proxy_outlier"] | {"network": {"width": 0.5}}).encode())
def test_a_stored_config_is_read_or_told(folder, content):
    (folder / "config.json").write_bytes(content)
    found = told(lambda: Workdir(folder).recipe, names=["config.json"])
    if found is not None:
        assume(is_small(found))
        told(make_method, found, 2, names=["config."])


@given(broken_json(SUMMARY))
@example(b"[" * 100_000)
@example(b"[]")
@example(json.dumps(SUMMARY | {"wave_statistics": {"fan": {"std": 1.0}}}).encode())
def test_the_facts_of_a_training_are_read_or_told(folder, content):
    (folder / "training.json").write_bytes(content)
    summary = told(lambda: Workdir(folder).summary, names=["training.json"])
    if summary is not None:
        assert all(len(machine) == 2 for machine in summary.machines)
        for statistics in summary.wave_statistics.values():
            assert statistics is None or isinstance(statistics, WaveStatistics)


@given(broken_json(SCORES), broken_json({"kind": "gmm", "p": 2}))
@example(b'{"steps": [2], "scores": {"fan/00": {"a": NaN}}}', b"{}")
def test_held_back_scores_and_the_choice_of_inlier_models_are_read_or_told(folder, scores, choice):
    for method in ("proxy_outlier", "multitask"):
        workdir = folder / method
        workdir.mkdir(exist_ok=True)
        (workdir / "config.json").write_text(json.dumps(CONFIGS[method]))
    (folder / "proxy_outlier" / "held_back_scores.json").write_bytes(scores)
    (folder / "proxy_outlier" / "training.json").write_text(json.dumps(SUMMARY | {"held_back": ["a.wav"]}))
    workdir = Workdir(folder / "proxy_outlier")
    trained = Trained(workdir.recipe, None, [("fan", "00")], None, [], workdir, steps=(2,))
    names = ["held_back_scores.json", "The held-back clips of"]
    found = told(held_back_scores, Scorer(trained), names=names)
    assert found is None or all(isinstance(one, float | int) for mine in found.values() for one in mine.values())
    (folder / "multitask" / "inlier_choice.json").write_bytes(choice)
    told(inlier_choice, Workdir(folder / "multitask"), names=["inlier_choice.json"])


@given(broken_json(LINES[0]), st.booleans())
@example(b"[]", True)
def test_metrics_of_epochs_are_read_or_told(folder, line, ended):
    path = folder / "metrics.jsonl"
    path.write_bytes(json.dumps(LINES[0]).encode() + b"\n" + line + b"\n" * ended)
    told(_training_seconds, Workdir(folder), names=["metrics.jsonl"])
    log = object.__new__(EpochLog)
    log.path, log.lines, log.runs = path, [], [0]
    told(log._forget_after, 2, names=["metrics.jsonl"])


MANIFEST = Manifest(
    "D",
    PRESETS["paper2"],
    "float16",
    {("fan", "00"): MachineRecords("folder", "fan", "00", "g", ("dev",), ("source",), {"train": 3}, 30.0, (), "f")},
    {"fan": TypeStatistics(WaveStatistics(0.0, 1.0), "f")},
)


def test_a_manifest_is_read_back_as_it_was_written(tmp_path):
    write_manifest(dataclasses.replace(MANIFEST, data_dir=str(tmp_path)))
    assert read_manifest(str(tmp_path)) == dataclasses.replace(MANIFEST, data_dir=str(tmp_path))


@pytest.fixture(scope="module")
def manifest_json(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifest")
    write_manifest(dataclasses.replace(MANIFEST, data_dir=str(folder)))
    return json.loads((folder / "manifest.json").read_text())


@given(data=st.data())
def test_a_manifest_of_prepared_data_is_read_or_told(folder, manifest_json, data):
    (folder / "manifest.json").write_bytes(data.draw(broken_json(manifest_json)))
    manifest = told(read_manifest, str(folder), names=["manifest.json"])
    if manifest:
        assert all(isinstance(machine.group, str) for machine in manifest.machines.values())
        store = told(open_store, str(folder), "paper2", names=[str(folder)])
        for machine in store.machines if store else ():
            told(lambda machine=machine: list(store.clips(machine, "train")), names=[str(folder)])


@given(VALUES)
def test_a_value_of_a_kind_is_read_back_as_it_was(folder, value):
    path = folder / "value.json"
    path.write_text(json.dumps(value))
    for kind in (str, int, float, list[str], tuple[str, str], dict[str, float | None], {"a": int}):
        found = told(read_json, path, kind, "expected another", names=["value.json"])
        if found is not None:
            stored = json.loads(json.dumps(value))
            assert found == (tuple(stored) if isinstance(found, tuple) else stored)
