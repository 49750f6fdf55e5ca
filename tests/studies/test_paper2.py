"""Paper 2's study in small: what is trained once stays, and the tables hold what was measured."""

import csv
import json
import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn
from sklearn.metrics import roc_auc_score

from asd_jax.backends.embeddings import Embeddings
from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, synthetic
from asd_jax.methods import encoder
from asd_jax.records.prepare import prepare
from asd_jax.studies import figures, grid, paper2, paper2_tables, published
from asd_jax.studies.paper2_tables import RunMeasure
from configs import ddcsad, multitask, parallel
from tests.test_commands import succeeds

ROWS = ("proposed", "without_inlier", "only_product_ids")
RECIPES = {module.__name__.split(".")[1]: module.get_config for module in (ddcsad, multitask, parallel)}
TINY = "network.width=0.1,network.depth=0.1,batch_size=4,window=32,inlier_p=1,num_epochs=1"


class BandMeans(nn.Module):
    """In the encoder's place, which takes a minute to compile."""

    products: int
    axis_name: str | None

    @nn.compact
    def __call__(self, log_mel, train):
        self.variable("batch_stats", "unused", jnp.zeros, ())
        embedding = nn.Dense(8)(log_mel.astype(jnp.float32).mean(1) / 50)
        machine = jnp.linalg.norm(embedding, axis=-1) - 1
        return {"embedding": embedding, "machine": machine, "product": nn.Dense(self.products)(embedding)}


@pytest.fixture(scope="module", autouse=True)
def small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "Encoder", lambda products, axis_name, **_: BandMeans(products, axis_name))
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    sizes = {"machine_ids": ["00", "03"], "train_clips": 10, "test_clips": 4, "seconds": 3}
    synthetic.generate(folder / "raw", layout="dcase2021", machine_types=["rotor", "belt"], **sizes)
    clips = DATASETS["dcase2021"].list_clips(str(folder / "raw"))
    prepare(clips, str(folder / "data"), "dcase2021", "paper2")
    return str(folder / "data")


def open_study(data_dir, out, rows=ROWS, machine_types=("rotor",), **changes):
    cache = str(out.parent / "compiled")
    overrides = dict(map(grid.parse_override, f"{TINY},compilation_cache={cache}".split(","))) | changes
    return paper2.open_study(data_dir, str(out), RECIPES, machine_types, rows, overrides)


def times(folder):
    """When every file of the trainings, and the picture, were written."""
    files = [*folder.glob("*/**/*"), *folder.glob("tsne*")]
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


@pytest.fixture(scope="module")
def reproduced(data_dir, tmp_path_factory):
    """Killed before its second training, and gone on with."""
    out = tmp_path_factory.mktemp("study") / "out"
    opened, trained = open_study(data_dir, out), []

    def killed(config, workdir, devices, stop):
        if trained:
            raise KeyboardInterrupt
        trained.append(workdir)
        real(config, workdir, devices, stop)

    real = grid.train_and_keep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "train_and_keep", killed)
        patch.setattr(grid, "device_groups", lambda devices, num_runs, trainings: [devices])  # one after the other
        with pytest.raises(KeyboardInterrupt):
            paper2.reproduce(opened)
    before = times(out)
    assert trained == [str(out / "proposed" / "rotor")] and out / "proposed/rotor/metrics.json" in before
    assert paper2.reproduce(opened)
    assert before == {path: time for path, time in times(out).items() if path in before}
    return out


def read_csv(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_every_row_is_trained_once_and_shared_weights_are_not_trained_again(reproduced):
    assert sorted(path.name for path in reproduced.iterdir() if path.is_dir()) == ["only_product_ids", "proposed"]
    config = json.loads((reproduced / "only_product_ids/rotor/config.json").read_text())
    assert (config["machine_weight"], config["product_weight"], config["network"]["width"]) == (0.0, 1.0, 0.1)


def test_results_are_those_of_metrics_json_on_the_evaluation_ids(reproduced):
    results = read_csv(reproduced / "results.csv")
    assert {(line["machine_id"], line["domain"], line["run"]) for line in results} == {("03", "source", "0")}
    for row in ("proposed", "only_product_ids"):
        found = json.loads((reproduced / row / "rotor/metrics.json").read_text())["rows"]
        [expected] = [one["mean"] for one in found if one["machine_id"] == "03"]
        [line] = [line for line in results if line["row"] == row]
        assert {name: float(line[name]) for name in ("AUC", "pAUC")} == expected


def test_without_inlier_scores_by_the_probability_of_the_own_id(reproduced):
    embeddings = Embeddings.load(reproduced / "proposed/rotor/embeddings/run_0/test.npz")
    mine = embeddings.select((embeddings.machine_id == "03") & (embeddings.domain == "source"))
    names = np.unique(mine.clip)
    scores = [-mine.probability[mine.clip == name].mean() for name in names]
    labels = [mine.label[mine.clip == name][0] for name in names]
    [line] = [line for line in read_csv(reproduced / "results.csv") if line["row"] == "without_inlier"]
    assert float(line["AUC"]) == pytest.approx(roc_auc_score(labels, scores))
    assert float(line["pAUC"]) == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1))


def test_tables_hold_harmonic_means_of_the_results(reproduced):
    text = (reproduced / "table_3.md").read_text()
    lines = {line["method"]: line for line in read_csv(reproduced / "table_3.csv")}
    for result in read_csv(reproduced / "results.csv"):
        mean = f"{100 * scipy.stats.hmean([float(result['AUC']), float(result['pAUC'])]):.2f}"
        [method] = [line.method for line in published.PAPER_2[1].lines if line.row == result["row"]]
        assert lines[method]["rotor"] == lines[method]["All"] == mean
        assert f"| {method} | {mean} (-) | {mean} (-) |" in text
    assert lines["w/o Mixup"]["rotor"] == "-"
    assert "mean over 1 run(s); epochs: proposed 1, only_product_ids 1; measured on the machine IDs rotor 03" in text


def test_the_command_finds_all_finished(data_dir, reproduced):
    before = times(reproduced)
    flags = ("--paper=2", f"--data_dir={data_dir}", f"--out={reproduced}", "--machine_types=rotor", "--epochs=1")
    said = succeeds("reproduce", *flags, f"--rows={','.join(ROWS)}", f"--override={TINY}")
    assert "part 2 of 2 rotor/only_product_ids: finished before" in said
    assert times(reproduced) == before and {path.name for path in before} >= {"tsne_rotor_03.png", "tsne_rotor_03.svg"}


def test_newer_embeddings_are_drawn_anew_clip_by_clip(data_dir, reproduced, tmp_path, monkeypatch):
    shutil.copytree(reproduced, tmp_path / "out")
    stored = tmp_path / "out/proposed/rotor/embeddings/run_0/test.npz"
    os.utime(stored)
    drawn, real = {}, figures.tsne_figure
    monkeypatch.setattr(figures, "tsne_figure", lambda title, panels: drawn.update(panels) or real(title, panels))
    assert paper2.reproduce(open_study(data_dir, tmp_path / "out"))
    assert list(drawn) == ["proposed", "only product ids"]
    assert (tmp_path / "out/tsne_rotor_03.png").stat().st_mtime_ns == stored.stat().st_mtime_ns
    panel, embeddings = drawn["proposed"], Embeddings.load(stored)
    expected = {figures.NORMAL: 4, figures.ANOMALOUS: 4, figures.OTHER_IDS: 4, figures.OTHER_TYPES: 8}
    assert {
        str(group): int(count) for group, count in zip(*np.unique(panel.group, return_counts=True), strict=True)
    } == expected
    mine = (embeddings.machine_id == "03") & (embeddings.label == 1)
    means = [
        embeddings.embedding[mine & (embeddings.clip == name)].mean(0) for name in np.unique(embeddings.clip[mine])
    ]
    np.testing.assert_allclose(
        np.sort(panel.embedding[panel.group == figures.ANOMALOUS], 0), np.sort(means, 0), rtol=1e-5
    )


def test_a_part_that_fails_is_told_and_the_others_go_on(data_dir, reproduced, tmp_path, monkeypatch, capsys):
    shutil.copytree(reproduced, tmp_path / "out")
    os.remove(tmp_path / "out/proposed/rotor/metrics.json")

    def fails(*_):
        raise UserError("The loss is not finite.")

    monkeypatch.setattr(grid, "train_and_keep", fails)
    opened = open_study(data_dir, tmp_path / "out")
    assert not paper2.reproduce(opened)
    said = capsys.readouterr().out
    assert "part 1 of 2 rotor/proposed failed: The loss is not finite." in said
    assert "part 2 of 2 rotor/only_product_ids: finished before" in said
    assert {line["row"] for line in read_csv(tmp_path / "out/results.csv")} == {"only_product_ids"}


def test_rivals_train_for_each_id_or_average_the_other_rows(data_dir, tmp_path):
    opened = open_study(data_dir, tmp_path / "out", rows=("ddcsad", "parallel"), validation_share=0.3)
    assert paper2.reproduce(opened)
    lines = read_csv(tmp_path / "out/results.csv")
    assert [(line["row"], line["machine_id"]) for line in lines] == [("ddcsad", "03"), ("parallel", "03")]
    assert (tmp_path / "out/ddcsad/rotor/03/metrics.json").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == [
        "ddcsad",
        "only_product_ids",
        "proposed",
        "without_mixup",
    ]
    shown = {line["method"]: line["rotor"] for line in read_csv(tmp_path / "out/table_2.csv")}
    assert shown["Proposed"] == "-" and shown["DDCSAD [18]"] != "-" and shown["Parallel [12]"] != "-"


def test_another_inlier_model_is_measured_anew_without_training(data_dir, reproduced, tmp_path):
    shutil.copytree(reproduced, tmp_path / "out")
    weights = {path: time for path, time in times(tmp_path / "out").items() if "checkpoints" in path.parts}
    before = (tmp_path / "out/proposed/rotor/scores/anomaly_score_rotor_section_03_source_test.csv").read_text()
    assert paper2.reproduce(open_study(data_dir, tmp_path / "out", rows=("proposed",), inlier="lof"))
    assert weights.items() <= times(tmp_path / "out").items()
    after = (tmp_path / "out/proposed/rotor/scores/anomaly_score_rotor_section_03_source_test.csv").read_text()
    assert before != after
    assert json.loads((tmp_path / "out/proposed/rotor/inlier/run_0/inlier.json").read_text())["kind"] == "lof"


def test_a_finished_part_of_another_recipe_is_refused_and_stays(data_dir, reproduced, tmp_path, capsys):
    shutil.copytree(reproduced, tmp_path / "out")
    before = {path: time for path, time in times(tmp_path / "out").items() if path.name == "metrics.json"}
    assert not paper2.reproduce(open_study(data_dir, tmp_path / "out", rows=("proposed",), learning_rate=0.5))
    assert "rotor/proposed failed: " in (said := capsys.readouterr().out) and "learning_rate" in said
    assert before == {path: time for path, time in times(tmp_path / "out").items() if path.name == "metrics.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ("propsed",)}, "no row 'propsed': expected some of proposed, without_mixup"),
        ({"machine_types": ("fan",)}, "no test clips of fan labelled"),
        ({"widht": 1}, "No recipe of the study has the key 'widht'"),
        ({"machine_id": "00"}, "No recipe of the study has the key 'machine_id'"),
        ({"num_epochs": "many"}, "num_epochs='many' does not fit the recipe of proposed"),
        ({"batch_size": 3}, "batch_size=3"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(data_dir, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        open_study(data_dir, tmp_path / "out", **arguments)


def measures(row, values, machine_types=published.TYPES_2021):
    """Of two runs, on one ID of every type: AUC and pAUC as given, and 0.1 more."""
    return [
        RunMeasure(machine_type, row, "03", "source", run, value + run / 10, value + run / 10)
        for machine_type, value in zip(machine_types, values, strict=True)
        for run in (0, 1)
    ]


def table(tmp_path, *given, machine_types=published.TYPES_2021):
    paper2_tables.write_table(str(tmp_path), published.PAPER_2[0], machine_types, given, "")
    return {line["method"]: line for line in read_csv(tmp_path / "table_2.csv")}


def test_tables_average_runs_and_put_the_published_figures_beside(tmp_path):
    line = table(tmp_path, *measures("proposed", [0.5, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5]))["Proposed"]
    assert (line["fan"], line["fan published"], line["gearbox"]) == ("55.00", "84.35", "65.00")
    overall = np.mean([scipy.stats.hmean([a + b] * 2 + [a] * 12) for a, b in ((0.5, 0.1), (0.6, 0.1))])
    assert (line["All"], line["All published"]) == (f"{100 * overall:.2f}", "69.42")


def test_all_is_left_open_where_a_type_is_missing_or_the_types_are_not_the_papers(tmp_path):
    line = table(tmp_path, *measures("proposed", [0.5], ["fan"]))["Proposed"]
    assert (line["fan"], line["pump"], line["All"], line["All published"]) == ("55.00", "-", "-", "69.42")
    given = measures("proposed", [0.5, 0.5], ["fan", "saw"])
    line = table(tmp_path, *given, machine_types=("fan", "saw"))["Proposed"]
    assert (line["saw"], line["saw published"], line["All"], line["All published"]) == ("55.00", "-", "55.00", "-")


@pytest.mark.parametrize("line", [line for table in published.PAPER_2 for line in table.lines], ids=lambda x: x.method)
def test_the_published_overall_figure_is_the_harmonic_mean_of_its_line(line):
    assert scipy.stats.hmean(line.figures) == pytest.approx(line.overall, abs=0.015)
