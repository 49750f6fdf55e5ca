"""What is listed about a folder of recordings, and what counts as a problem."""

import dataclasses

import numpy as np
import pytest
import soundfile

from asd_jax.datasets import DATASETS, audioset, check
from asd_jax.datasets.dataset import flat_counts

RATE = 16000


def write(path, seconds=10.0, rate=RATE, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros((int(seconds * rate), channels), np.int16), rate)


def pretend(monkeypatch, name, **published):
    """As if something else were published of a data set."""
    monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], **published))


@pytest.fixture
def published(monkeypatch):
    """A data set of one published machine type, small enough to write."""
    counts = {"dev": {"fan": {"00": (2, 1, 1)}}, "eval": {"fan": {"01": (1, 1, 1)}}}
    pretend(monkeypatch, "dcase2020", counts=flat_counts(counts), machine_types=("fan",))


def write_fan(raw):
    for name in (
        "dev_data/fan/train/normal_id_00_00000000.wav",
        "dev_data/fan/train/normal_id_00_00000001.wav",
        "dev_data/fan/test/normal_id_00_00000000.wav",
        "dev_data/fan/test/anomaly_id_00_00000000.wav",
        "eval_data/fan/train/normal_id_01_00000000.wav",
        "eval_data/fan/test/id_01_00000000.wav",
        "eval_data/fan/test/id_01_00000001.wav",
    ):
        write(raw / name)


def run(raw, **kwargs):
    return check.check(str(raw), "dcase2020", RATE, **kwargs)


def test_a_complete_data_set_has_no_problems(tmp_path, published):
    write_fan(tmp_path)
    report = run(tmp_path)
    assert report.all_problems == []
    dev, evaluation = report.rows
    assert (dev.train, dev.test_normal, dev.test_anomaly, dev.test_unlabelled, dev.seconds) == (2, 1, 1, 0, 40.0)
    assert (evaluation.train, evaluation.test_unlabelled, evaluation.expected) == (1, 2, (1, 1, 1))
    assert dev.formats == ("16000 Hz x 1",)
    header, first, second, *rest = check.report_lines(report)
    assert "part  train" in header
    assert first.split()[:8] == ["fan", "00", "dev", "2", "1", "1", "0", "40"]
    assert second.split()[:8] == ["fan", "01", "eval", "1", "0", "0", "2", "30"]
    assert rest[-1] == "No problems."


def test_missing_training_data_and_a_packed_zip_are_listed(tmp_path, published):
    write_fan(tmp_path)
    (tmp_path / "eval_data/fan/train/normal_id_01_00000000.wav").unlink()
    (tmp_path / "dev_data/fan/train/normal_id_00_00000000.wav").unlink()
    for name in ("eval_data_train_fan.zip", "dev_data_fan.zip", "other.zip"):
        (tmp_path / name).touch()
    report = run(tmp_path)
    zipped, dev, evaluation = report.all_problems
    assert zipped == f"{tmp_path}/eval_data_train_fan.zip is not unpacked: unzip it in {tmp_path}/eval_data."
    assert "fan 00 (dev): 1 training clips where the data set holds 2: download and unzip dev_data_fan.zip" in dev
    assert "fan 01 (eval): 0 training clips where the data set holds 1" in evaluation
    assert "eval_data_train_fan.zip" in evaluation
    assert "1/2" in check.report_lines(report)[1]


def test_an_absent_machine_of_a_known_type_has_a_row(tmp_path, published):
    write(tmp_path / "dev_data/fan/train/normal_id_00_00000000.wav")
    report = run(tmp_path)
    assert [(row.machine_id, row.part, row.train) for row in report.rows] == [("00", "dev", 1), ("01", "eval", 0)]
    assert any("0 test clips where the data set holds 2" in problem for problem in report.rows[1].problems)


def test_absent_types_are_listed_unless_types_are_named(tmp_path):
    write(tmp_path / "dev_data/fan/train/normal_id_00_00000000.wav")
    assert any("no clips of ToyCar, ToyConveyor, pump, slider, valve" in p for p in run(tmp_path).problems)
    assert run(tmp_path, machine_types=["fan"]).problems == ()


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"rate": 8000}, "1 clips are of 8000 Hz, not 16000 Hz: "),
        ({"channels": 2}, "1 clips have 2 channels, not 1: "),
        ({"seconds": 9.5}, "1 clips are not 10.0 s long: "),
        ({"seconds": 0}, "1 clips hold no samples: "),
    ],
)
def test_a_clip_of_another_format_is_named(tmp_path, published, kwargs, expected):
    write_fan(tmp_path)
    odd = tmp_path / "dev_data/fan/test/normal_id_00_00000000.wav"
    write(odd, **kwargs)
    assert any(expected in problem and str(odd) in problem for problem in run(tmp_path).all_problems)


def test_one_channel_of_several_may_be_named(tmp_path, published):
    write_fan(tmp_path)
    odd = tmp_path / "dev_data/fan/test/normal_id_00_00000000.wav"
    write(odd, channels=2)
    assert run(tmp_path, channel=0).all_problems == []
    [*others, last] = run(tmp_path, channel=1).all_problems
    assert str(odd) not in " ".join([*others, last]) and "have no channel 1, counted from 0" in last


def test_unreadable_headers_are_listed_and_long_lists_are_cut(tmp_path):
    write(tmp_path / "dev_data/saw/train/normal_id_00_00000009.wav", seconds=1)
    for i in range(5):
        (tmp_path / f"dev_data/saw/train/normal_id_00_0000000{i}.wav").write_text("not audio")
    (problem,) = run(tmp_path).all_problems
    assert problem.startswith("saw 00 (dev): 5 clips have no readable audio header: ")
    assert problem.count(".wav") == 3 and problem.endswith(" and others.")


def test_a_type_nobody_published_may_have_any_count_and_length(tmp_path):
    write(tmp_path / "dev_data/saw/train/normal_id_00_00000000.wav", seconds=3)
    report = run(tmp_path)
    assert report.all_problems == [] and report.rows[0].expected is None


def test_a_folder_that_cannot_be_listed_is_a_problem_not_an_exception(tmp_path):
    (tmp_path / "dev_data_fan.zip").touch()
    report = run(tmp_path)
    assert report.rows == () and "No recordings found" in report.problems[0]
    assert "dev_data_fan.zip is not unpacked" in report.problems[1]
    assert check.report_lines(report)[-1].startswith("- ")


def test_own_recordings_may_have_any_format(tmp_path):
    write(tmp_path / "fan/00/train/a.wav", seconds=1, rate=44100, channels=2)
    write(tmp_path / "fan/00/train/b.wav", seconds=2, rate=8000)
    for name in ("00/test/abnormal/c.wav", "00/test/humming/d.wav", "01/train/e.wav"):
        write(tmp_path / "fan" / name, seconds=1)
    report = check.check(str(tmp_path), "folder", RATE)
    assert report.all_problems == []
    unlabelled, low = report.all_warnings
    assert unlabelled.startswith("1 test clips have no label (fan/00/test/humming): to measure with them, ")
    assert low.startswith(
        "fan 00 (dev): 1 recordings are below 16000 Hz (1 of 8000 Hz): nothing is heard of them above "
    )
    lines = check.report_lines(report)
    assert lines[lines.index("Taken for:") + 1 :][:3] == [
        "- test/abnormal: 1 anomalous",
        "- test/humming: 1 without a label",
        "- train: 3 healthy, to learn from",
    ]
    assert lines.index("Warnings:") < lines.index("No problems.") == len(lines) - 1
    assert report.rows[0].formats == ("16000 Hz x 1", "44100 Hz x 2", "8000 Hz x 1") and report.rows[0].seconds == 5


def test_a_name_that_does_not_fit_is_listed_beside_the_rows(tmp_path):
    for i in range(3):
        write(tmp_path / f"dev_data/drill/train/normal_id_00_0000000{i}.wav", seconds=2.0)
    write(tmp_path / "dev_data/drill/train/normal_id_00_00000003.wav", seconds=1.5)
    (tmp_path / "dev_data/drill/train/notes.txt").write_text("")
    report = run(tmp_path)
    assert [row.train for row in report.rows] == [4]
    assert len(report.all_problems) == 2
    assert "notes.txt does not fit" in report.all_problems[0]
    assert "1 clips are not 2 s long, as most are" in report.all_problems[1]


@pytest.fixture
def published_2021(monkeypatch):
    """The same for DCASE 2021."""
    counts = {
        "source": {"dev": {"fan": {"00": (2, 1, 1)}}, "eval": {"fan": {"03": (2, 1, 1)}}},
        "target": {"dev": {"fan": {"00": (1, 1, 1)}}, "eval": {"fan": {"03": (1, 1, 2)}}},
    }
    flat = {key: one for domain, parts in counts.items() for key, one in flat_counts(parts, domain).items()}
    pretend(monkeypatch, "dcase2021", counts=flat, machine_types=("fan",))


def write_fan_2021(raw):
    for part, section in (("dev", "00"), ("eval", "03")):
        for name in ("source_train_normal_0000_a_b", "source_train_normal_0001", "target_train_normal_0000_c"):
            write(raw / f"{part}_data/fan/train/section_{section}_{name}.wav")
    for domain, count in (("source", 2), ("target", 3)):
        folder = f"fan/{domain}_test/section"
        write(raw / f"dev_data/{folder}_00_{domain}_test_normal_0000.wav")
        write(raw / f"dev_data/{folder}_00_{domain}_test_anomaly_0000.wav")
        for i in range(count):
            write(raw / f"eval_data/{folder}_03_{domain}_test_000{i}.wav")


def test_a_complete_data_set_of_2021_has_a_row_for_every_domain(tmp_path, published_2021):
    write_fan_2021(tmp_path)
    report = check.check(str(tmp_path), "dcase2021", RATE)
    assert report.all_problems == []
    lines = check.report_lines(report)
    assert lines[0].split()[:5] == ["type", "ID", "part", "domain", "train"]
    assert [line.split()[:9] for line in lines[1:5]] == [
        ["fan", "00", "dev", "source", "2", "1", "1", "0", "40"],
        ["fan", "00", "dev", "target", "1", "1", "1", "0", "30"],
        ["fan", "03", "eval", "source", "2", "0", "0", "2", "40"],
        ["fan", "03", "eval", "target", "1", "0", "0", "3", "40"],
    ]


def test_what_a_domain_of_2021_lacks_is_listed_with_its_archive(tmp_path, published_2021):
    write_fan_2021(tmp_path)
    truth = [f"section_03_target_test_000{i}.wav,{int(i == 0)}\n" for i in range(3)]
    (tmp_path / "ground_truth_fan_section_03_target_test.csv").write_text("".join(truth))
    (tmp_path / "eval_data/fan/train/section_03_target_train_normal_0000_c.wav").unlink()
    for name in ("dev_data/fan/source_test/section_00_source_test_normal_0000.wav",):
        write(tmp_path / name, rate=8000)
    report = check.check(str(tmp_path), "dcase2021", RATE)
    rate, train, normal, anomaly = report.all_problems
    assert rate.startswith("fan 00 (dev source): 1 clips are of 8000 Hz, not 16000 Hz: ")
    assert train.startswith("fan 03 (eval target): 0 training clips where the data set holds 1: download and unzip ")
    assert "eval_data_fan_train.zip (Zenodo record 4660992)" in train
    assert "2 normal test clips where the data set holds 1: take away" in normal
    assert "1 anomalous test clips where the data set holds 2: " in anomaly
    assert "eval_data_fan_test.zip (Zenodo record 4884786)" in anomaly


def test_an_absent_domain_and_absent_types_of_2021_are_listed(tmp_path):
    write(tmp_path / "dev_data/fan/train/section_00_source_train_normal_0000.wav")
    report = check.check(str(tmp_path), "dcase2021", RATE)
    assert report.problems[0].startswith("no clips of ToyCar, ToyTrain, gearbox, pump, slider, valve: ")
    assert [(row.machine_id, row.part, row.domain, row.train) for row in report.rows] == [
        (f"0{section}", "dev" if section < 3 else "eval", domain, int((section, domain) == (0, "source")))
        for section in range(6)
        for domain in ("source", "target")
    ]
    lacks = "fan 05 (eval target): 0 training clips where the data set holds 3"
    assert any(problem.startswith(lacks) for problem in report.all_problems)
    assert any("0 test clips where the data set holds 200" in problem for problem in report.all_problems)


@pytest.mark.parametrize(
    ("name", "target", "there"),
    [
        ("dev_data_fan.zip", "dev_data", "train"),
        ("eval_data_fan_train.zip", "eval_data", "train"),
        ("eval_data_train_fan.zip", "eval_data", "train"),
        ("eval_data_fan_test.zip", "eval_data", "source_test"),
    ],
)
def test_a_packed_zip_of_2021_is_listed_until_it_is_unpacked(tmp_path, name, target, there):
    (tmp_path / name).touch()

    def packed():
        return [p for p in check.check(str(tmp_path), "dcase2021", RATE).all_problems if "not unpacked" in p]

    assert packed() == [f"{tmp_path}/{name} is not unpacked: unzip it in {tmp_path}/{target}."]
    write(tmp_path / target / "fan" / there / "any.wav")
    assert packed() == []


def test_scenes_of_any_format_are_compared_with_the_published_number(tmp_path, monkeypatch):
    for name in ("park-vienna-90-2700-s3", "tram-lyon-1-1-b"):
        write(tmp_path / f"audio/{name}.wav", seconds=1, rate=44100)
    report = check.check(str(tmp_path), "tau2020", RATE)
    [problem] = report.all_problems
    assert problem.startswith("TAU2020 all (dev): 2 training clips where the data set holds 23035: download and unzip ")
    assert "Zenodo record 3819968" in problem
    assert check.report_lines(report)[1].split()[:7] == ["TAU2020", "all", "dev", "2/23035", "0", "0", "0"]
    pretend(monkeypatch, "tau2020", counts={("TAU2020", "all", "dev", ""): (2, 0, 0)})
    report = check.check(str(tmp_path), "tau2020", RATE)
    assert report.all_problems == []
    assert (report.rows[0].train, report.rows[0].formats) == (2, ("44100 Hz x 1",))


def test_segments_of_any_format_are_compared_with_their_list(tmp_path):
    write(tmp_path / "--4gqARaEJE.wav", seconds=2, rate=44100, channels=2)
    write(tmp_path / "--BfvyPmVMo.wav", seconds=1, rate=8000)
    report = check.check(str(tmp_path), "audioset", RATE)
    assert report.all_problems == []
    assert (report.rows[0].train, report.rows[0].seconds, report.rows[0].expected) == (2, 3, None)
    (tmp_path / audioset.SEGMENTS).write_text(
        '# one\n--4gqARaEJE, 30.000, 40.000, "/m/068hy"\n--U7joUcTCo, 0, 10, ""\n'
    )
    report = check.check(str(tmp_path), "audioset", RATE)
    assert report.rows[0].train == 1
    missing, other = report.all_problems
    assert missing.startswith("1 of the 2 segments in ")
    assert "--BfvyPmVMo.wav" in other
