"""Paper 1's study in small: what is trained for what, and that tables, pictures and claims hold what was measured."""

import csv
import json
import pathlib

import pytest

from asd_jax.base.errors import UserError
from asd_jax.recipes.workdir import Workdir
from asd_jax.studies import grid, paper1, paper1_pictures, published
from asd_jax.studies.paper1 import Setting
from asd_jax.studies.paper1_results import RunResults
from configs import autoencoder, maf, proxy_outlier

RECIPES = {module.__name__.split(".")[1]: module.get_config for module in (autoencoder, maf, proxy_outlier)}
OUTPUTS = {"results.csv", "table_1.md", "table_1.csv", "figure_3.png", "figure_3.svg", "claims.md"}


def open_study(data, out, **changes):
    given = {"baseline_data_dir": str(data / "dcase2020_baseline"), "overrides": {"num_runs": 2}}
    return paper1.open_study(str(data / "paper1"), str(out), **{"recipes": RECIPES} | given | changes)


def read_csv(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture
def fake(monkeypatch):
    """In the place of training and evaluation: a config's machines get the AUC of `auc`, in the second run 0.1 less.

    `trained` are the workdirs.
    """

    class Fake:
        def __init__(self):
            self.trained = []

        def auc(self, config, machine_type, machine_id):
            return 0.8

        def train(self, recipe, workdir, devices, stop):
            self.trained.append(workdir)
            Workdir(workdir).keep_recipe(recipe)

        def evaluate(self, workdir, devices):
            config, rows = Workdir(workdir).recipe, []
            for machine_type in [config.machine_type] if config.machine_type else ["belt", "rotor"]:
                for machine_id in [config.machine_id] if config.machine_id else ["00", "01", "02"]:
                    auc = self.auc(config, machine_type, machine_id)
                    runs = [{"AUC": auc - run / 10, "pAUC": auc / 2} for run in range(config.num_runs)]
                    rows.append({"machine_type": machine_type, "machine_id": machine_id, "domain": None, "runs": runs})
            pathlib.Path(workdir, "metrics.json").write_text(json.dumps({"rows": rows, "steps": [4], "num_steps": 4}))
            return ""

    fake = Fake()
    monkeypatch.setattr(grid, "train_and_keep", fake.train)
    monkeypatch.setattr(grid, "evaluate_workdir", fake.evaluate)
    return fake


def test_every_detector_is_trained_once_for_the_machines_it_is_for(data, tmp_path, capsys):
    study = open_study(data, tmp_path)
    found = {}
    for training in study.trainings:
        config = training.recipe
        assert config.num_runs == 2 and config.data_dir == str(data / config.features)
        assert training.workdir == str(tmp_path / training.name)
        found.setdefault((training.detector, getattr(config, "outlier_set", "")), []).append(training.name)
    machines = [f"{kind}/{one}" for kind in ("belt", "rotor") for one in ("00", "01")]
    assert found.pop(("autoencoder", "")) == [f"autoencoder/{machine}" for machine in machines]
    assert found.pop(("dcase2020_baseline", "")) == ["dcase2020_baseline/belt", "dcase2020_baseline/rotor"]
    assert found.pop(("maf", "")) == ["maf"]
    assert found == {
        ("proxy_outlier", one): [f"proxy_outlier/{one}/{machine}" for machine in machines] for one in "abcf"
    }
    said = capsys.readouterr().out
    assert "Outlier set d is left out for belt, rotor. The outlier set 'd' of belt 00 is empty" in said
    assert "Outlier set e is left out for belt, rotor. " in said and "Outlier set f" not in said


def test_sizes_are_cut_to_what_the_set_holds(data, tmp_path, capsys):
    """Set c of every machine holds 5 machines of 6 clips."""
    sizes = (2, 8, 30, 64, 128)
    study = open_study(data, tmp_path, detectors=["proxy_outlier"], outlier_sets=["a"], sizes=sizes)
    of_one = [cell for cell in study.cells if cell.machine == ("rotor", "00")]
    found = {cell.setting[1:]: (cell.training.name, cell.training.recipe.num_outliers) for cell in of_one}
    assert found == {
        ("a", None): ("proxy_outlier/a/rotor/00", None),
        ("c", 2): ("proxy_outlier/c_2/rotor/00", 2),
        ("c", 8): ("proxy_outlier/c_8/rotor/00", 8),
        ("c", 30): ("proxy_outlier/c/rotor/00", None),
    }
    assert "rotor: 30 outlier clips are all of set c, which holds 30" in capsys.readouterr().out
    both = open_study(data, tmp_path, detectors=["proxy_outlier"], outlier_sets=["c"], sizes=(31,))
    assert len(both.cells) == 8 and len(both.trainings) == 4  # the whole set is trained once


def test_without_data_for_it_the_challenges_baseline_is_left_out(data, tmp_path, capsys):
    study = open_study(data, tmp_path, baseline_data_dir="")
    assert "dcase2020_baseline is left out: " in capsys.readouterr().out
    assert {training.detector for training in study.trainings} == {"autoencoder", "maf", "proxy_outlier"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"detectors": ["proxy"]}, "no detector 'proxy': expected some of autoencoder, dcase2020_baseline, maf, proxy"),
        ({"outlier_sets": ["g"]}, "no outlier set 'g': expected some of a, b, c, d, e, f"),
        ({"outlier_sets": ["a", "d"]}, "The outlier set 'd' of belt 00 is empty"),
        ({"detectors": ["maf"], "sizes": [4]}, "sizes are for the detector proxy_outlier"),
        ({"detectors": ["dcase2020_baseline"], "baseline_data_dir": ""}, "--features=dcase2020_baseline"),
        ({"baseline_data_dir": "nowhere"}, "nowhere holds no prepared data"),
        ({"machine_types": ["fan"]}, "no test clips of fan labelled"),
        ({"machine_ids": ["07"]}, "no test clips of machine ID 07 labelled"),
        ({"overrides": {"widht": 1}}, "No recipe of the study has the key 'widht'"),
        ({"overrides": {"outlier_set": "a"}}, "No recipe of the study has the key 'outlier_set'"),
        ({"overrides": {"num_epochs": "many"}}, "num_epochs='many' does not fit the recipe of autoencoder"),
        ({"overrides": {"batch_size": 3}}, "batch_size=3"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(data, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        open_study(data, tmp_path, **arguments)


def test_sizes_are_numbers_or_those_of_the_paper():
    assert paper1.parse_sizes(["64", "8", "8"]) == (8, 64)
    assert len(paper1.parse_sizes(["figure4"])) == 13 and paper1.parse_sizes(["figure4", "5"])[:3] == (4, 5, 8)
    for wrong in ("0", "-4", "many", ""):
        with pytest.raises(UserError, match=f"--sizes={wrong} was given"):
            paper1.parse_sizes([wrong])


def test_results_tables_pictures_and_claims_hold_what_was_measured(data, tmp_path, fake, capsys):
    fake.auc = lambda config, machine_type, machine_id: (
        {"autoencoder": 0.5, "maf": 0.6, "proxy_outlier": 0.9}[config.method] + (machine_id == "01") / 100
    )
    study = open_study(data, tmp_path, sizes=(2,))
    assert paper1.reproduce(study)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == OUTPUTS | {"figure_4.png", "figure_4.svg"}
    lines = read_csv(tmp_path / "results.csv")
    assert len(lines) == 2 * len(study.cells) == 2 * 4 * (3 + 4 + 1)  # runs, machines, settings
    of_maf = [line for line in lines if line["detector"] == "maf" and line["machine_id"] == "01"]
    assert [(line["machine_type"], line["run"], float(line["AUC"]), float(line["pAUC"])) for line in of_maf] == [
        (kind, str(run), pytest.approx(0.61 - run / 10), pytest.approx(0.305))
        for kind in ("belt", "rotor")
        for run in (0, 1)
    ]
    assert {(line["outlier_set"], line["size"]) for line in lines if line["detector"] == "proxy_outlier"} == {
        *((one, "") for one in "abcf"),
        ("c", "2"),
    }
    table = (tmp_path / "table_1.md").read_text()
    assert "| MAF | 55.50 ± 7.07 | 55.50 ± 7.07 | 55.50 ± 7.07 |" in table
    claims = (tmp_path / "claims.md").read_text()
    assert "Sets a and c improve clearly over the baselines: holds: all types: (a) same type 85.50, MAF 55.50" in claims
    said = capsys.readouterr().out
    assert table in said and claims in said


def test_a_training_that_fails_leaves_its_machine_type_open(data, tmp_path, fake, monkeypatch, capsys):
    def fails(config, workdir, devices, stop):
        if workdir.endswith("a/rotor/01"):
            raise UserError("The loss is not finite.")
        fake.train(config, workdir, devices, stop)

    monkeypatch.setattr(grid, "train_and_keep", fails)
    study = open_study(data, tmp_path, detectors=["proxy_outlier"], outlier_sets=["a", "b"])
    assert not paper1.reproduce(study)
    assert "proxy_outlier/a/rotor/01 failed: The loss is not finite." in capsys.readouterr().out
    assert len(read_csv(tmp_path / "results.csv")) == 2 * (8 - 1)
    rows = {line["detector"]: line for line in read_csv(tmp_path / "table_1.csv") if line["measure"] == "AUC"}
    assert (rows["(a) same type"]["belt"], rows["(a) same type"]["rotor"]) == ("75.0", "")
    assert float(rows["(b) other types"]["rotor"]) == 75
    monkeypatch.setattr(grid, "train_and_keep", fake.train)
    fake.trained.clear()
    assert paper1.reproduce(open_study(data, tmp_path, detectors=["proxy_outlier"], outlier_sets=["a", "b"]))
    assert fake.trained == [str(tmp_path / "proxy_outlier/a/rotor/01")]


def test_nothing_measured_is_no_picture(tmp_path):
    nothing = RunResults({"fan": ("00",)}, [])
    assert paper1_pictures.figure_3(nothing) is None and paper1_pictures.figure_4(nothing) is None


def test_settings_have_short_names():
    labels = [Setting("maf"), Setting("proxy_outlier", "a"), Setting("proxy_outlier", "c", 4)]
    assert [one.label for one in labels] == ["MAF", "(a) same type", "(c) both, 4 clips"]


@pytest.mark.parametrize(
    ("machine_type", "auc", "pauc"),
    [
        ("ToyCar", 80.0914, 67.2218),
        ("ToyConveyor", 72.6835, 60.6582),
        ("fan", 65.1585, 52.5910),
        ("pump", 72.5910, 60.0019),
        ("slider", 84.9916, 66.9254),
        ("valve", 66.4557, 50.6004),
    ],
)
def test_the_published_figures_have_the_published_averages(machine_type, auc, pauc):
    found = list(published.DCASE2020_BASELINE[machine_type].values())
    means = [sum(column) / len(column) for column in zip(*found, strict=True)]
    assert means == pytest.approx([auc, pauc], abs=1e-3)
