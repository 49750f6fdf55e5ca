"""Scores recordings nobody labelled: `python tools/score.py --workdir=W --input=FILE_OR_DIR --output=scores.csv`."""

from asd_jax import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax import cli
from asd_jax.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "What tools/train.py wrote.")
_INPUT = flags.DEFINE_string("input", None, "An audio file, or a folder of them: any rate, one window long or more.")
_OUTPUT = flags.DEFINE_string("output", None, "The CSV file to write: file, score and, with a threshold, decision.")
_TARGET_FPR = flags.DEFINE_float("target_fpr", 0.1, "Share of normal recordings that may be called anomalous.")
_MACHINE_ID = flags.DEFINE_string("machine_id", None, "Which machine was recorded, where the workdir knows several.")
_SCORE_HOP = flags.DEFINE_integer(
    "score_hop", None, "Frames between the windows of a recording; the recipe's if unset."
)
flags.mark_flags_as_required(["workdir", "input", "output"])
_SHOWN = 20  # lines on the screen; the file has all


def main() -> int:
    """Exits with 1 where a recording could not be scored."""
    if not 0 < _TARGET_FPR.value < 1:
        raise UserError(f"--target_fpr={_TARGET_FPR.value} was given: expected a share between 0 and 1, such as 0.1.")
    from asd_jax import report
    from asd_jax.recordings import score_recordings

    outcome = score_recordings(
        _WORKDIR.value, _INPUT.value, _OUTPUT.value, _TARGET_FPR.value, _MACHINE_ID.value, _SCORE_HOP.value
    )
    if outcome.threshold is None:
        print("No threshold is available, so nothing is decided: train with --config.held_back=N (clips) to have one.")
    else:
        print(f"Threshold {outcome.threshold:.4f} for a false positive rate of {_TARGET_FPR.value:g}")
    decisions = outcome.decisions or ["-"] * len(outcome.files)
    rows = [
        [f"{score:.4f}", decision, file]
        for score, decision, file in zip(outcome.scores, decisions, outcome.files, strict=True)
    ]
    most_anomalous = sorted(range(len(rows)), key=lambda i: -outcome.scores[i])[:_SHOWN]
    print(report.format_table(["score", "decision", "highest scores"], [rows[i] for i in most_anomalous]))
    for problem in outcome.problems:
        print(f"Not scored: {problem}")
    print(
        f"Scored {len(outcome.files)} of {len(outcome.files) + len(outcome.problems)} recordings. Wrote {_OUTPUT.value}"
    )
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    cli.run(main)
