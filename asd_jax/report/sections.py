"""The section of one machine: a sentence, its scores in pictures, its decisions, and clips to see and hear."""

from collections.abc import Mapping
from html import escape

import numpy as np

from asd_jax.backends.embeddings import Embeddings
from asd_jax.measures.metrics import MAX_FPR
from asd_jax.report import excerpts, markup, pictures
from asd_jax.report.excerpts import Excerpt
from asd_jax.report.findings import Findings, Part
from asd_jax.report.markup import Markup, Number
from asd_jax.studies import encoder_pictures, figures

ENDS, WRONG = 3, 4
"""How many clips a section shows: of the most anomalous and the most normal each, and of wrongly judged ones."""

_LISTED = 400  # clips in the table of a section, those with the highest scores
_EMBEDDED = 600  # clips in a picture of embeddings: its time grows with their square
_LABELS = {0: figures.NORMAL, 1: figures.ANOMALOUS, -1: figures.UNLABELLED}
_TAGS = {"false alarm": "anomalous", "missed": "anomalous", "anomalous": "anomalous", "normal": "normal"}
_OUTSIDE = (0.5, 99.9)  # percentiles of the log-mels that are the ends of the colours


def section(anchor: str, findings: Findings, part: Part, title: str, raw_dir: str | None) -> Markup:
    """All of one part.

    Args:
        anchor: by which the page links to it.
        findings: whose part it is.
        part: of the test clips.
        title: what to call it.
        raw_dir: the recordings, to be heard.
    """
    shown = part.to_show(ENDS, WRONG)
    cut = excerpts.cut_excerpts(findings, part, [part.names[clip] for clip in shown], raw_dir)
    drawn = [_histogram(part), *([_roc(part)] if part.is_measured else []), _decisions(part)]
    embedded = _embeddings(findings, part)
    cards = _cards(part, shown, cut)
    return Markup(
        f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{markup.paragraph(headline(part), "headline")}\n'
        f'<div class="grid">{"".join(drawn + embedded)}</div>\n'
        f"<h3>Clips to see and hear</h3>\n{_how_to_read(cut, part)}"
        f'<div class="grid">{"".join(cards)}</div>\n{_every_clip(part)}</section>\n'
    )


def headline(part: Part) -> str:
    """What was found, in a sentence or two."""
    total = len(part.names)
    if not part.is_measured:
        sentence = f"{total} clips, not measured: that takes clips labelled normal and clips labelled anomalous."
        if part.threshold is None:
            return sentence
        return f"{sentence} {(part.scores > part.threshold).sum()} of them are above the threshold."
    auc, pauc = part.measures()
    normal, anomalous = part.counts
    found = part.decisions(part.limit()).found
    sentence = (
        f"AUC {100 * auc.of_mean_score:.1f}, pAUC {100 * pauc.of_mean_score:.1f}; {found} of {anomalous} anomalous "
        f"clips can be found at a false positive rate of {100 * MAX_FPR:g} %."
    )
    if part.threshold is None:
        return sentence
    decided = part.decisions(part.threshold)
    return (
        f"{sentence} The threshold finds {decided.found} of them and calls {decided.false_alarms} of the {normal} "
        "normal clips anomalous."
    )


def _histogram(part: Part) -> Markup:
    groups = {name: part.scores[part.labels == label] for label, name in _LABELS.items()}
    groups = {name: scores for name, scores in groups.items() if len(scores)}
    picture = pictures.histogram(groups, *_limit(part))
    caption = "How the clips score." + (" The less the two groups overlap, the better." if part.is_measured else "")
    return markup.figure(picture, caption)


def _limit(part: Part) -> tuple[float | None, str]:
    """The limit that is drawn and decided by, if there is one, and what it is called."""
    if part.threshold is not None:
        return part.threshold, "threshold"
    return (part.limit(), f"{MAX_FPR:.0%} false alarms") if part.is_measured else (None, "")


def _roc(part: Part) -> Markup:
    known = part.labels >= 0
    picture = pictures.roc(part.labels[known], part.runs[:, known])
    thin = " Thin: the single runs." if len(part.runs) > 1 else ""
    return markup.figure(
        picture, f"ROC: what share of the anomalous clips is found at the price of how many false alarms.{thin}"
    )


def _decisions(part: Part) -> Markup:
    limit, _ = _limit(part)
    if limit is None:
        return Markup("")
    if part.threshold is not None:
        caption = f"Decisions by the threshold {limit:.4g}, set on normal clips that the training did not see"
    else:
        caption = (
            f"No clips were held back for a threshold: decisions by {limit:.4g}, which {MAX_FPR:.0%} of these normal "
            "clips exceed"
        )
    rows = []
    if part.is_measured:
        decided = part.decisions(limit)
        rows = [
            ("normal", (decided.passed, "right", "passed"), (decided.false_alarms, "wrong", "false alarms")),
            ("anomalous", (decided.missed, "wrong", "missed"), (decided.found, "right", "found")),
        ]
    unlabelled = part.scores[part.labels < 0]
    if len(unlabelled):
        above = int((unlabelled > limit).sum())
        rows.append((figures.UNLABELLED, (len(unlabelled) - above, "", "below"), (above, "", "above")))
    lines = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(f'<td class="{css}">{count}<small>{what}</small></td>' for count, css, what in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return Markup(
        f'<div><table class="confusion"><caption>{escape(caption)}</caption><thead><tr><td></td>'
        '<th scope="col">called normal</th><th scope="col">called anomalous</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _embeddings(findings: Findings, part: Part) -> list[Markup]:
    """A picture of the test clips' embeddings by the first run, where there are some."""
    trained = findings.scorer.trained
    path = trained.workdir.embeddings(0, "test")
    if findings.scorer.choice is None or not path.exists():
        return []
    every = Embeddings.load(path)
    if every.step != trained.steps[0]:
        return []
    every = every.select((every.domain == part.domain) if part.domain else np.full(len(every.clip), True))
    points, clips = encoder_pictures.clip_means(every)
    panel = encoder_pictures.panel(part.machine[1], points, clips, points[:0])
    if not 4 < len(panel.group) <= _EMBEDDED:
        return []
    return [
        markup.figure(
            pictures.embeddings(panel),
            "Where the encoder places the clips (t-SNE, first run): near points are alike, the axes have no meaning.",
        )
    ]


def _how_to_read(cut: Mapping[str, Excerpt], part: Part) -> Markup:
    if not cut:
        return markup.paragraph(
            "Only their scores are at hand: the prepared log-mels are gone (config.data_dir).", "soft"
        )
    line = " The dashed line is the threshold of the whole clip." if part.threshold is not None else ""
    sentence = (
        "Above, the log-mel spectrogram, bright is loud; below, the scores of the windows, each drawn at its middle. "
        f"The marked window scores highest: there it sounds most wrong.{line}"
    )
    sound = (
        " Click into a picture to hear from there on. All sounds of this machine are made louder by the same factor."
        if any(one.wave is not None for one in cut.values())
        else " To hear them, make the page with --raw_dir=DIR, the folder of the recordings."
    )
    return markup.paragraph(sentence + sound, "soft")


def _cards(part: Part, shown: Mapping[int, list[str]], cut: Mapping[str, Excerpt]) -> list[Markup]:
    louder = excerpts.gain(cut.values())
    scale, limits = (0.0, 1.0), (0.0, 1.0)
    if cut:
        low, high = np.percentile(np.concatenate([one.log_mel.ravel() for one in cut.values()]), _OUTSIDE)
        scale = (float(low), float(max(high, low + 1)))
        every = [*(one.scores for one in cut.values()), *([part.threshold] if part.threshold is not None else [])]
        least, most = min(map(np.min, every)), max(map(np.max, every))
        margin = 0.06 * (most - least) or 1.0
        limits = (float(least - margin), float(most + margin))
    cards = []
    for clip, reasons in shown.items():
        name = part.names[clip]
        tags = [*reasons, _LABELS[int(part.labels[clip])]]
        head = "".join(f'<span class="tag {_TAGS.get(tag, "")}">{escape(tag)}</span>' for tag in dict.fromkeys(tags))
        head = f'<h4>{escape(name)}</h4><p>{head} <span class="score">score {part.scores[clip]:.4g}</span></p>'
        body = _excerpt(part, name, cut[name], scale, limits, louder) if name in cut else ""
        cards.append(Markup(f'<article class="clip">{head}{body}</article>\n'))
    return cards


def _excerpt(
    part: Part,
    name: str,
    excerpt: Excerpt,
    scale: tuple[float, float],
    limits: tuple[float, float],
    louder: float,
) -> str:
    left, top, width, height = pictures.MEL_BOX
    place = f"left:{left:.1%};top:{top:.1%};width:{width:.1%};height:{height:.1%}"
    image = markup.data_uri("image/jpeg", pictures.log_mel_image(excerpt.log_mel, scale))
    axes = pictures.along_time(excerpt, part.threshold, limits)
    begin, end = excerpt.highest
    view = (
        f'<div class="view" data-left="{left}" data-width="{width}" data-seconds="{excerpt.seconds:.3f}">'
        f'<img style="{place}" src="{image}" alt="Log-mel spectrogram of {escape(name)}">{axes}'
        '<div class="head"></div></div>'
    )
    if excerpt.wave is None:
        return f"{view}<p>Highest from {begin:.1f} to {end:.1f} s.</p>"
    sound = markup.data_uri("audio/mpeg", excerpts.mp3(excerpt.wave * louder, excerpt.sample_rate))
    return (
        f'{view}<audio controls preload="metadata" src="{sound}" aria-label="Sound of {escape(name)}"></audio>'
        f'<button type="button" data-from="{begin - excerpt.first:.2f}">Play the highest window, {begin:.1f} to '
        f"{end:.1f} s</button>"
    )


def _every_clip(part: Part) -> Markup:
    limit, _ = _limit(part)
    order = np.argsort(-part.scores, kind="stable")[:_LISTED]
    header = ["clip", "score", "label", *(["decision"] if part.threshold is not None else [])]
    rows = [
        [part.names[i], Number(float(part.scores[i]), f"{part.scores[i]:.4g}"), _LABELS[int(part.labels[i])]]
        + ([figures.ANOMALOUS if part.scores[i] > limit else figures.NORMAL] if part.threshold is not None else [])
        for i in order
    ]
    left_out = len(part.names) - len(rows)
    caption = "All test clips" if not left_out else f"The {len(rows)} highest scores; {left_out} clips are left out"
    return Markup(f"<details><summary>{caption}</summary>{markup.table(caption, header, rows)}</details>")
