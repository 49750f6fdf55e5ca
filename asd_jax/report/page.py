"""The page: findings of workdirs side by side, as one HTML file that needs no network."""

import base64
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, write_atomically
from asd_jax.measures.metrics import MAX_FPR
from asd_jax.methods.recipe import HalfOutliers
from asd_jax.report import findings, markup, pictures, sections
from asd_jax.report.findings import Findings, Part
from asd_jax.report.markup import Cell, Markup, Number

SECTIONS = 10
"""How many machines (by domain and workdir) a page shows at most; its tables hold all of them."""

LARGEST = 21_000_000
"""Bytes of a page's pictures and sounds of single clips at most."""

_LOSSES = ("loss", "validation_loss", "machine_loss", "product_loss", "cross_entropy", "metric_loss")
_SCORES = ("normal_score", "outlier_score")
_UNKNOWN = Number(float("nan"), "")


def write_page(
    workdirs: Sequence[str],
    out: str,
    machines: Sequence[str] = (),
    raw_dir: str | None = None,
    labels_csv: str | None = None,
    target_fpr: float = 0.1,
    score_hop: int | None = None,
) -> list[str]:
    """Writes the page; a workdir whose test clips are not scored yet is evaluated first.

    Args:
        workdirs: what to show side by side.
        out: the file.
        machines: "type/ID" of those to show in sections; the first ones where empty, at most `SECTIONS`.
        raw_dir: the recordings that the test clips were prepared from, to be heard.
        labels_csv: eval_data_list.csv, for labels that neither the data nor the clips' names say.
        target_fpr: share of normal clips that the threshold lets be called anomalous.
        score_hop: frames between the windows of a clip; the recipe's where None.

    Returns:
        Sentences about what the page lacks.

    Raises:
        UserError: a folder is no workdir, its test clips cannot be scored, or there is no such machine.
    """
    check_own(out, "--out", rb"<!DOCTYPE html>\n<!-- made by asd_jax -->", "page")
    shown = {
        name: findings.read_findings(workdir, labels_csv, target_fpr, score_hop)
        for name, workdir in zip(short_names(workdirs), workdirs, strict=True)
    }
    parts = sorted(
        ((name, part) for name, one in shown.items() for part in one.parts),
        key=lambda pair: (pair[1].machine, pair[1].domain or ""),
    )
    chosen = _chosen(parts, machines)
    anchors = {id(part): f"machine-{number}" for number, (_, part) in enumerate(chosen)}
    several = len(shown) > 1
    body = [
        sections.section(
            anchors[id(part)], shown[name], part, f"{part.name} · {name}" if several else part.name, raw_dir
        )
        for name, part in chosen
    ]
    notes = [f"{name}: {note}" if several else note for name, one in shown.items() for note in one.notes]
    if len(chosen) < len(parts):
        notes.append(
            f"{len(chosen)} of {len(parts)} machines are shown in sections: --machines=type/ID,... shows others."
        )
    machines = ", ".join(dict.fromkeys(" ".join(part.machine) for _, part in chosen))
    title = f"Anomalous machine sounds: {machines}"
    page = [
        f"<header><h1>{escape(title)}</h1>",
        markup.paragraph(f"Detector: {'; '.join(dict.fromkeys(_detectors(shown)))}.", "soft"),
        "</header>",
        _index(chosen, anchors, several),
        "<main>",
        "<section id=results><h2>Results</h2>",
        _results(parts, anchors, several),
        _side_by_side(shown, parts) if several else "",
        *(markup.paragraph(note, "soft") for note in notes),
        _words(target_fpr),
        "</section>",
        *body,
        _training(shown),
        "</main>",
    ]
    write_atomically(out, _document(title, "\n".join(page)))
    return notes


def short_names(workdirs: Sequence[str]) -> list[str]:
    """What to call them: their paths without the folders that all have in common."""
    paths = [workdir.rstrip("/").split("/") for workdir in workdirs]
    common = 0
    while all(len(path) > common + 1 and path[common] == paths[0][common] for path in paths):
        common += 1
    names = ["/".join(path[common:]) for path in paths]
    if len(set(names)) < len(names):
        raise UserError(f"--workdir names {max(workdirs, key=workdirs.count)} twice: name each once.")
    return names


def _chosen(parts: Sequence[tuple[str, Part]], machines: Sequence[str]) -> list[tuple[str, Part]]:
    there = {"/".join(part.machine) for _, part in parts}
    if missing := sorted(set(machines) - there):
        raise UserError(f"--machines names {', '.join(missing)}: expected some of {', '.join(sorted(there))}.")
    chosen = [pair for pair in parts if not machines or "/".join(pair[1].machine) in machines]
    if machines and len(chosen) > SECTIONS:
        raise UserError(
            f"--machines names {len(chosen)} sections, by machine, domain and workdir: expected at most {SECTIONS}."
        )
    return chosen[:SECTIONS]


def _detectors(shown: dict[str, Findings]) -> Iterable[str]:
    return (one.recipe.title for one in shown.values())


def _index(chosen: Sequence[tuple[str, Part]], anchors: dict[int, str], several: bool) -> str:
    entries = [("results", "Results")]
    entries += [(anchors[id(part)], f"{part.name} · {name}" if several else part.name) for name, part in chosen]
    entries += [("training", "Training"), ("settings", "Settings")]
    items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in entries)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _results(parts: Sequence[tuple[str, Part]], anchors: dict[int, str], several: bool) -> Markup:
    """A line for every part, those without a section too; columns of which nothing is known are left out."""
    header = [
        "machine",
        "workdir",
        "normal",
        "anomalous",
        "unlabelled",
        "AUC",
        "pAUC",
        "AUC of mean score",
        "pAUC of it",
    ]
    header += ["threshold", "found", "false alarms"]
    rows = []
    for name, part in parts:
        link = f'<a href="#{anchors[id(part)]}">{escape(part.name)}</a>' if id(part) in anchors else escape(part.name)
        normal, anomalous = part.counts
        counts = (normal, anomalous, len(part.names) - normal - anomalous)
        row: list[Cell] = [Markup(link), name if several else _UNKNOWN]
        row += [Number(count, str(count)) if count else _UNKNOWN for count in counts]
        row += [_UNKNOWN] * (len(header) - len(row))
        if part.is_measured:
            both, by_runs = part.measures(), len(part.runs) > 1
            row[5:7] = [markup.percent(one.mean, one.std if by_runs else None) for one in both]
            row[7:9] = [markup.percent(one.of_mean_score) if by_runs else _UNKNOWN for one in both]
        if part.threshold is not None:
            row[9] = Number(part.threshold, f"{part.threshold:.4g}")
        if part.is_measured and part.threshold is not None:
            decided = part.decisions(part.threshold)
            row[10] = Number(decided.found / anomalous, f"{decided.found} of {anomalous}")
            row[11] = Number(decided.false_alarms / normal, f"{decided.false_alarms} of {normal}")
        rows.append(row)
    known = [place for place in range(len(header)) if any(row[place] is not _UNKNOWN for row in rows)]
    header, *rows = ([row[place] for place in known] for row in (header, *rows))
    return markup.table("Test clips of every machine, AUC and pAUC in percent; a header sorts", header, rows)


def _side_by_side(shown: dict[str, Findings], parts: Sequence[tuple[str, Part]]) -> Markup:
    """AUC and pAUC of every machine by every workdir; empty where no machine is in two of them."""
    by_name: dict[str, dict[str, Cell]] = {}
    for name, part in parts:
        if part.is_measured:
            auc, pauc = part.measures()
            text = f"{100 * auc.of_mean_score:.1f}, {100 * pauc.of_mean_score:.1f}"
            by_name.setdefault(part.name, {})[name] = Number(auc.of_mean_score, text)
    rows = [[machine, *(cells.get(name, _UNKNOWN) for name in shown)] for machine, cells in by_name.items()]
    if not any(len(cells) > 1 for cells in by_name.values()):
        return Markup("")
    return markup.table("Side by side: AUC, pAUC of the mean score of the runs", ["machine", *shown], rows)


def _words(target_fpr: float) -> str:
    words = {
        "Anomaly score": "how unlike the machine's normal sound a clip is to the detector. The higher, the more "
        "anomalous; it has no unit, and those of two detectors cannot be compared.",
        "AUC": "how often an anomalous clip scores higher than a normal one, in percent. 50 is guessing, 100 perfect.",
        "pAUC": f"the same where at most {100 * MAX_FPR:g} % of the normal clips raise a false alarm; 50 is guessing.",
        "Threshold": "the score above which a clip is called anomalous, set on normal clips that the training did not "
        f"see so that about {100 * target_fpr:g} % of normal clips exceed it.",
        "±": "standard deviation over the independent trainings (runs) of the same recipe.",
    }
    return "<dl>" + "".join(f"<dt>{word}</dt><dd>{escape(meaning)}</dd>" for word, meaning in words.items()) + "</dl>"


def _training(shown: dict[str, Findings]) -> str:
    drawn = []
    for name, one in shown.items():
        for kind, names in (("Losses", _LOSSES), ("Mean scores of windows", _SCORES)):
            there = [metric for metric in names if any(metric in epoch for epoch in one.epochs)]
            if there:
                caption = f"{kind} in every epoch of the training" + (f" of {name}" if len(shown) > 1 else "")
                drawn.append(markup.figure(pictures.curves(one.epochs, there), f"{caption}; a line for every run."))
    about = _columns([_about(one) for one in shown.values()])
    settings = _columns([_flat(dataclasses.asdict(one.recipe)) for one in shown.values()], marked=True)
    versions = _columns([one.surroundings.get("versions", {}) for one in shown.values()])
    caption = "The resolved config" + ("; * differs between the workdirs" if len(shown) > 1 else "")
    return (
        "<section id=training><h2>Training</h2>\n"
        + markup.table("What was trained, and on what", ["", *shown], about, css="plain")
        + f'<h3>Training curves</h3><div class="grid">{"".join(drawn)}</div></section>\n'
        + "<section id=settings><h2>Settings</h2>"
        + f"<details open><summary>Config</summary>{markup.table(caption, ['key', *shown], settings)}</details>"
        + "<details open><summary>Versions</summary>"
        + (
            markup.table("Packages that trained", ["package", *shown], versions)
            if versions
            else markup.paragraph("The training did not keep them.")
        )
        + "</details></section>"
    )


def _about(one: Findings) -> dict[str, str]:
    """What a person asks first of a training."""
    recipe, summary, where = one.recipe, one.summary, one.surroundings
    machines = ", ".join(" ".join(machine) for machine in summary.machines)
    seconds = [epoch.get("seconds") for epoch in one.epochs]
    time = "" if None in seconds or not seconds else f"{sum(seconds):,.0f} s"
    outliers = "none"
    if isinstance(recipe.sampler, HalfOutliers):
        outliers = f"{summary.outlier_clips:,} (set {recipe.sampler.outlier_set})"
    epochs = "none: nothing is trained"
    if summary.num_steps:
        epochs = f"{recipe.num_epochs:,} of {summary.steps_per_epoch:,} steps, batch {recipe.batch_size}"
    device = "not kept"
    if where:
        device = f"{where['devices']} x {where['device_kind']} ({where['platform']}), {where['host_cores']} host cores"
    return {
        "detector": recipe.title,
        "machines": machines,
        "normal clips trained on": f"{summary.normal_clips:,}",
        "normal clips held back": f"{len(summary.held_back):,}",
        "clips of other sounds trained on": outliers,
        "runs": str(recipe.num_runs),
        "epochs": epochs,
        "parameters": f"{summary.parameters:,}",
        "features": f"{recipe.features}, windows of {recipe.window} frames",
        "data": recipe.data_dir,
        "time of all training steps": time,
        "hardware": device,
    }


def _columns(sides: Sequence[dict[str, str]], marked: bool = False) -> list[list[str]]:
    """A row for every key, its values side by side; marked where they differ."""
    rows = []
    for key in dict.fromkeys(key for side in sides for key in side):
        values = [side.get(key, "") for side in sides]
        rows.append([f"{key} *" if marked and len(set(values)) > 1 else key, *values])
    return rows


def _flat(config: dict, above: str = "") -> dict[str, str]:
    flat = {}
    for key, value in sorted(config.items()):
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _document(title: str, body: str) -> str:
    """The whole file. Its policy lets a browser run the page's own script alone, and load nothing."""
    style, script = (resources.files(__package__).joinpath(f"page.{kind}").read_text() for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        '<!DOCTYPE html>\n<!-- made by asd_jax -->\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f'<footer class="soft"><p>Made {made} by asd_jax {importlib.metadata.version("asd_jax")}.</p></footer>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )
