"""Scores recordings nobody labelled.

python tools/score.py --workdir=W --input=FILE_OR_DIR --output=scores.csv [MORE ...]
python tools/score.py --workdir=W --input=FILE_OR_DIR --output=scores.csv --piece=10    # long ones, along time
python tools/score.py --workdir=W --input=DIR --output=scores.csv --follow    # and those that arrive there
arecord -q -t raw -f S16_LE -r 48000 | python tools/score.py --workdir=W --stdin --sample_rate=48000
"""

import contextlib
import sys

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax.base import cli
from asd_jax.base.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "What tools/train.py wrote.", required=True)
_INPUT = flags.DEFINE_string(
    "input", None, "An audio file or a folder of them, one window long or more; words after the flags are more of them."
)
_OUTPUT = flags.DEFINE_string("output", None, "The CSV file to write: file, score and, with a threshold, decision.")
_TARGET_FPR = flags.DEFINE_float("target_fpr", 0.1, "Share of normal recordings that may be called anomalous.")
_MACHINE_ID = flags.DEFINE_string("machine_id", None, "Which machine was recorded, where the workdir knows several.")
_SCORE_HOP = flags.DEFINE_integer(
    "score_hop", None, "Frames between the windows of a recording; the recipe's if unset."
)
_PIECE = flags.DEFINE_float(
    "piece", None, "Score along time, in pieces of so many seconds: best as long as the training clips."
)
_PIECE_HOP = flags.DEFINE_float("piece_hop", None, "Seconds from one piece to the next; --piece if unset.")
_FOLLOW = flags.DEFINE_bool("follow", False, "Go on watching the folder --input; appends to --output.")
_SETTLE = flags.DEFINE_float("settle", 2, "Seconds without a change until a file is finished.", lower_bound=0.1)
_STDIN = flags.DEFINE_bool("stdin", False, "Score raw little-endian 16-bit PCM, a JSON line for each piece (10 s).")
_SAMPLE_RATE = flags.DEFINE_integer("sample_rate", None, "Of --stdin, Hz.", lower_bound=1)
_CHANNELS = flags.DEFINE_integer("channels", 1, "Of --stdin.", lower_bound=1)
_STDIN_PIECE = 10.0  # seconds, the papers' clips


def main(words: list[str]) -> int:
    """Scores --input, and the words as well; exits with 1 where something could not be scored."""
    sources = [_INPUT.value] * bool(_INPUT.value) + words
    _check(sources)
    with contextlib.redirect_stdout(sys.stderr if _STDIN.value else sys.stdout):
        from asd_jax.listening import printed  # late: a mistake on the command line is reported at once

    asked = printed.Asked(_WORKDIR.value, _OUTPUT.value, _TARGET_FPR.value, _MACHINE_ID.value, _SCORE_HOP.value)
    piece = _PIECE.value or _STDIN_PIECE
    hop = _PIECE_HOP.value or piece
    if _STDIN.value:
        return printed.print_pieces(asked, _SAMPLE_RATE.value, _CHANNELS.value, piece, hop)
    if _FOLLOW.value:
        return printed.print_followed(asked, sources[0], _SETTLE.value)
    if _PIECE.value:
        return printed.print_along_time(asked, sources, piece, hop)
    return printed.print_recordings(asked, sources)


def _check(sources: list[str]) -> None:
    if not 0 < _TARGET_FPR.value < 1:
        raise UserError(f"--target_fpr={_TARGET_FPR.value} was given: expected a share between 0 and 1, such as 0.1.")
    if _STDIN.value:
        if sources or _OUTPUT.value or _FOLLOW.value or not _SAMPLE_RATE.value:
            raise UserError("--stdin takes --sample_rate (Hz), and neither --input, --output nor --follow.")
        return
    if not (sources and _OUTPUT.value):
        raise UserError("--input and --output are needed (or --stdin): name the recordings and the CSV file to write.")
    if _FOLLOW.value and _PIECE.value:
        raise UserError("--follow gives every recording one score: leave --piece out.")
    if _PIECE_HOP.value and not _PIECE.value:
        raise UserError("--piece_hop was given without --piece: give both, such as --piece=10 --piece_hop=5.")
    if _FOLLOW.value and len(sources) > 1:
        raise UserError(f"--follow watches one folder, and {len(sources)} were given: {', '.join(sources)}.")


if __name__ == "__main__":
    cli.run(main, takes_words=True)
