"""The page of a workdir says what the scores say, runs nobody's script, needs no network, and works in a browser."""

import base64
import collections
import hashlib
import html.parser
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS
from asd_jax.evaluation import evaluate
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.workdir import Summary, Workdir
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.report import excerpts, findings, page
from asd_jax.scoring.thresholds import gamma_threshold
from asd_jax.sound.audio import read_audio
from tests.conftest import tiny_recipe
from tests.recordings import HIGH, LOW, write_tone
from tests.report.ear import Ear
from tests.report.parsed import Parsed

HOSTILE = ("normal/<script>alert(1)</script>.wav", "anomaly/a\"b&c ' onerror=x.wav")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A person's own machines: the faults of 00 sound like 01."""
    folder = tmp_path_factory.mktemp("own") / "raw"
    for i in range(6):
        write_tone(folder / f"drill/00/train/{i}.wav", LOW, i)
        write_tone(folder / f"drill/01/train/{i}.wav", HIGH, 100 + i)
    for label, tone, hostile in (("normal", LOW, HOSTILE[0]), ("anomaly", HIGH, HOSTILE[1])):
        write_tone(folder / "drill/00/test" / hostile, tone, 200)
        for i in range(5):
            write_tone(folder / f"drill/00/test/{label}/{i}.wav", tone, 300 + i)
    wave, rate = soundfile.read(folder / "drill/00/test/normal/0.wav")
    wave[rate:] = soundfile.read(folder / "drill/00/test/anomaly/0.wav")[0][rate:]
    soundfile.write(folder / "drill/00/test/anomaly/0.wav", wave, rate)
    return folder


@pytest.fixture(scope="module")
def workdir(raw, tmp_path_factory):
    """As a training leaves it, but for checkpoints: an `Ear` is what was trained."""
    prepare(DATASETS["folder"].list_clips(str(raw)), str(raw.parent / "data"), "folder", "paper1")
    config, folder = tiny_recipe(raw.parent / "data", tmp_path_factory), raw.parent / "run"
    config.held_back, config.num_runs, config.score_hop = 3, 2, 4
    machine = ("drill", "00")
    clips = list(open_store(config.data_dir, "paper1").clips(machine, "train"))[:3]
    summary = Summary(0, 1, 2, 3, 6, (machine,), tuple(clip.name for clip, _ in clips), {}, None, "")
    left = Workdir(folder)
    left.keep_recipe(read_recipe(config))
    left.keep_summary(summary)
    left.keep_surroundings()
    lines = [{"run": run, "epoch": epoch, "loss": 1 / epoch, "seconds": 0.5} for epoch in (1, 2) for run in (0, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def load(workdir, devices=None, score_hop=None):
        recipe = workdir.recipe
        method = ProxyOutlier(None, 32, 128, recipe.score_hop)
        return Ear(recipe, method, [machine], None, [], workdir, steps=(2, 2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "load_trained", load)
        patch.setattr(evaluate, "load_trained", load)
        scores = {clip.name: float(one["score"].mean()) for clip, one in load(left).outputs(clips)}
        (folder / "held_back_scores.json").write_text(json.dumps({"steps": [2, 2], "scores": {"drill/00": scores}}))
        yield folder


@pytest.fixture(scope="module")
def text(raw, workdir):
    """Of the page; the workdir was not evaluated before."""
    assert page.write_page([str(workdir)], str(workdir / "page.html"), raw_dir=str(raw)) == []
    return (workdir / "page.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.jsonl", '{"run": 0, "epoch": 1, "lo', "metrics.jsonl is damaged"),
        ("metrics.jsonl", '{"run": 0, "loss": 1.0}\n', "metrics.jsonl is damaged .epoch is missing"),
        ("metrics.jsonl", '{"run": 0, "epoch": 1, "loss": "x"}\n', "metrics.jsonl is damaged .loss is of the type str"),
        (
            "scores/run_0/anomaly_score_drill_id_00.csv",
            "a.wav,1,2\n",
            "line 1 is 'a.wav,1,2': expected 'file name,number'",
        ),
        ("scores/run_0/anomaly_score_drill_id_00.csv", "a.wav,1\n", "have scores of different clips, such as .*a.wav"),
    ],
)
def test_what_is_damaged_is_one_sentence(text, workdir, name, content, said):
    before = (workdir / name).read_bytes()
    (workdir / name).write_text(content)
    try:
        with pytest.raises(UserError, match=said):
            findings.read_findings(str(workdir), None, 0.1, None)
    finally:
        (workdir / name).write_bytes(before)


def test_scores_by_older_weights_are_made_anew(text, workdir, capsys):
    scores, origin = workdir / "scores/anomaly_score_drill_id_00.csv", workdir / "scores/origin.json"
    found = scores.read_bytes()
    for stale in (json.dumps({"steps": [1, 2], "score_hop": 4}), None):  # None: as older versions left the folder
        scores.write_text("")
        origin.unlink() if stale is None else origin.write_text(stale)
        findings.read_findings(str(workdir), None, 0.1, None)
        assert scores.read_bytes() == found and "not scored by its newest weights" in capsys.readouterr().out
    scores.write_text(scores.read_text())
    findings.read_findings(str(workdir), None, 0.1, None)
    assert "not scored" not in capsys.readouterr().out


def test_the_page_says_what_was_measured(text, workdir):
    [row] = json.loads((workdir / "metrics.json").read_text())["rows"]
    parsed = Parsed(text)
    [header, cells] = parsed.tables[0]
    shown = dict(zip(header, cells, strict=True))
    assert shown["normal"] == shown["anomalous"] == "6"
    for name in ("AUC", "pAUC"):
        assert shown[name] == f"{100 * row['mean'][name]:.1f} ± {100 * row['std'][name]:.1f}"
    assert shown["AUC of mean score"] == f"{100 * row['mean_score']['AUC']:.1f}"

    held_back = json.loads((workdir / "held_back_scores.json").read_text())["scores"]["drill/00"]
    threshold = gamma_threshold(list(held_back.values()), 0.9)
    lines = (workdir / "scores/anomaly_score_drill_id_00.csv").read_text().splitlines()
    assert len(lines) == 12
    above = collections.Counter(
        (name.strip('"').split("/")[0], float(score) > threshold)
        for name, score in (line.rsplit(",", 1) for line in lines)
    )
    assert (
        shown["found"] == f"{above['anomaly', True]} of 6" and shown["false alarms"] == f"{above['normal', True]} of 6"
    )
    decided = parsed.tables[1]
    assert decided[1] == ["normal", f"{above['normal', False]}passed", f"{above['normal', True]}false alarms"]
    assert decided[2] == ["anomalous", f"{above['anomaly', False]}missed", f"{above['anomaly', True]}found"]
    settings = next(table for table in parsed.tables if ["held_back", "3"] in table)
    assert ["score_hop", "4"] in settings and any(
        row[0] == "hardware" and "cores" in row[1] for row in parsed.tables[3]
    )


def test_no_name_is_run_and_nothing_is_loaded(text):
    parsed = Parsed(text)
    names = ["".join(row[0]) for table in parsed.tables for row in table]
    assert set(HOSTILE) <= set(names)
    [script] = parsed.texts["script"]
    assert "alert(1)" not in script and text.count("<script") == 1
    allowed = {"id", "class", "style", "src", "href", "alt", "content", "name", "lang", "charset", "scope", "type"}
    allowed |= {"http-equiv", "controls", "preload", "role", "viewbox", "d", "transform", "clip-path", "open"}
    allowed |= {"x", "y", "width", "height", "xlink:href", "patternunits", "fill"}
    for tag, attributes in parsed.tags:
        rest = {name for name in attributes.keys() - allowed if not name.startswith(("aria-", "data-"))}
        assert not rest, (tag, rest)
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("data:image/jpeg;base64,", "data:audio/mpeg;base64,", "#"))
    assert not re.search(r"@import|url\((?!#)", text)
    [policy] = [attributes["content"] for _, attributes in parsed.tags if "http-equiv" in attributes]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{digest}';" in policy
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    links = [attributes["href"][1:] for tag, attributes in parsed.tags if tag == "a"]
    assert len(ids) == len(set(ids)) and set(links) <= set(ids) and "machine-0" in links


def test_pictures_and_players_can_be_told_apart_without_seeing_them(text):
    tags = Parsed(text).tags
    pictures = [a for tag, a in tags if tag == "svg"]
    assert pictures and all(a["role"] == "img" and a["aria-label"] for a in pictures)
    images, players = ([a for tag, a in tags if tag == name] for name in ("img", "audio"))
    assert len(images) == len(players) >= 6
    assert all(HOSTILE[0] in a["alt"] or a["alt"].endswith(".wav") for a in images) and all(
        "aria-label" in a for a in players
    )
    tables = sum(tag == "table" for tag, _ in tags)
    assert tables == sum(tag == "caption" for tag, _ in tags)
    assert all(a["scope"] in ("col", "row") for tag, a in tags if tag == "th")


def test_an_excerpt_is_the_recording_and_its_windows(raw, workdir, text):
    found = findings.read_findings(str(workdir), None, 0.1, None)
    [part] = found.parts
    cut = excerpts.cut_excerpts(found, part, part.names[:5], str(raw))
    assert list(cut) == list(part.names[:5])
    for name, excerpt in cut.items():
        assert excerpt.scores.mean() == pytest.approx(part.scores[part.names.index(name)], abs=1e-5)
        np.testing.assert_allclose(excerpt.starts, np.arange(0, 63 - 32 + 1, 4) * 512 / 16000)
        assert excerpt.first == 0 and excerpt.log_mel.shape == (63, 128)
        np.testing.assert_array_equal(excerpt.wave, read_audio(str(raw / "drill/00/test" / name), 16000))
        heard, rate = soundfile.read(io.BytesIO(excerpts.mp3(excerpt.wave, 16000)))
        assert rate == 16000 and np.corrcoef(heard, excerpt.wave)[0, 1] > 0.7
    part_wrong = excerpts.cut_excerpts(found, part, ["anomaly/0.wav"], None)[
        "anomaly/0.wav"
    ]  # from its second second on
    assert part_wrong.highest[1] > 1.7 and part_wrong.scores[0] < part_wrong.scores[-1]
    silent = excerpts.cut_excerpts(found, part, part.names[:1], str(raw / "drill"))
    assert silent[part.names[0]].wave is None and "No sound of drill 00" in found.notes[-1]


def test_without_the_prepared_data_there_is_a_page_without_pictures_of_clips(workdir, text):
    config = json.loads((workdir / "config.json").read_text())
    try:
        (workdir / "config.json").write_text(json.dumps(config | {"data_dir": "nowhere"}))
        [note] = page.write_page([str(workdir)], str(workdir / "bare.html"))
    finally:
        (workdir / "config.json").write_text(json.dumps(config))
    assert "nowhere holds no prepared data" in note
    bare = Parsed((workdir / "bare.html").read_text())
    assert bare.tables[0] == Parsed(text).tables[0]  # labels are in the names
    assert not [tag for tag, _ in bare.tags if tag in ("img", "audio")]


def test_without_labels_there_are_scores_and_no_measures(workdir, text, monkeypatch):
    monkeypatch.setattr(findings, "_label", lambda *_: -1)
    monkeypatch.setattr(excerpts, "cut_excerpts", lambda *_: {})
    page.write_page([str(workdir)], str(workdir / "unlabelled.html"))
    parsed = Parsed((workdir / "unlabelled.html").read_text())
    assert parsed.tables[0][0] == ["machine", "unlabelled", "threshold"] and parsed.tables[0][1][:2] == [
        "drill 00",
        "12",
    ]
    assert parsed.tables[1][1][0] == "not labelled" and not any(
        "ROC" in caption for caption in parsed.texts["figcaption"]
    )


def test_workdirs_stand_side_by_side(workdir, text, monkeypatch):
    monkeypatch.setattr(excerpts, "cut_excerpts", lambda *_: {})
    other = workdir.parent / "other"
    shutil.copytree(workdir, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"learning_rate": 0.5}))
    page.write_page([str(workdir), f"{other}/"], str(other / "page.html"))
    parsed = Parsed((other / "page.html").read_text())
    assert [row[:2] for row in parsed.tables[0]] == [["machine", "workdir"], ["drill 00", "run"], ["drill 00", "other"]]
    [header, row] = parsed.tables[1]
    assert header == ["machine", "run", "other"] and row[1] == row[2] != ""
    settings = next(table for table in parsed.tables if ["beta2", "0.99", "0.99"] in table)
    assert [row for row in settings if "*" in row[0]] == [["learning_rate *", "0.002", "0.5"]]
    with pytest.raises(UserError, match="names run twice"):
        page.short_names(["run", "run/"])


DRIVER = """
const loaded = [...document.querySelectorAll("audio")].map((audio) => new Promise((done) => {
  audio.addEventListener("canplay", () => done(audio.duration));
  audio.addEventListener("error", () => done(audio.error.message));
  audio.preload = "auto";
  audio.load();
}));
Promise.all(loaded).then((durations) => {
  const table = document.querySelector("section details table");
  const column = (place) => {
    table.tHead.querySelectorAll("button")[place].click();
    return [...table.tBodies[0].rows].map((row) => row.cells[place].dataset.value ?? row.cells[place].textContent);
  };
  const outcome = document.createElement("pre");
  outcome.id = "outcome";
  outcome.textContent = JSON.stringify({durations, scores: [column(1), column(1), column(1)], names: column(0)});
  document.body.append(outcome);
});
"""


def test_in_a_browser_tables_sort_and_sounds_load(text, tmp_path):
    if not (chromium := shutil.which("chromium")):
        pytest.skip("there is no chromium here: nobody looked at the page")
    digest = base64.b64encode(hashlib.sha256(DRIVER.encode()).digest()).decode()
    driven = text.replace("script-src '", f"script-src 'sha256-{digest}' '")  # all else of the policy stays
    (tmp_path / "page.html").write_text(driven.replace("</body>", f"<script>{DRIVER}</script></body>"))
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={tmp_path / 'profile'}"]
    arguments += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000", "--dump-dom"]
    command = [chromium, *arguments, (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    outcome = json.loads(html.unescape(re.search('<pre id="outcome">(.*?)</pre>', done.stdout)[1]))
    assert len(outcome["durations"]) >= 6 and outcome["durations"] == pytest.approx(
        [2.0] * len(outcome["durations"]), abs=0.1
    )
    first, second, third = ([float(score) for score in column] for column in outcome["scores"])
    assert first == sorted(first, reverse=True) and second == sorted(first) and third == first
    assert len(set(outcome["names"])) == 12 and set(HOSTILE) < set(outcome["names"])
    assert [n for n in outcome["names"] if n[-5].isdigit()] == [
        f"{k}/{i}.wav" for k in ("anomaly", "normal") for i in range(5)
    ]
