"""Writes a detector as a program: `python tools/export.py --workdir=W --out=model_dir [--platforms=cpu,cuda,tpu]`."""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax.base import cli
from asd_jax.base.errors import UserError

_WORKDIR = flags.DEFINE_string("workdir", None, "What tools/train.py wrote.")
_OUT = flags.DEFINE_string("out", None, "The folder to write; an older export there is replaced.")
_PLATFORMS = flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], "What the program will run on.")
_CHECK = flags.DEFINE_string("check", None, "Recordings to check the export on, best ones of the machine; or made-up.")
_SECONDS = flags.DEFINE_float("seconds", None, "Length of the recordings it will score; that of the data's if unset.")
_TARGET_FPR = flags.DEFINE_float("target_fpr", 0.1, "Share of normal recordings that may be called anomalous.")
_MACHINE_ID = flags.DEFINE_string("machine_id", None, "Which machine it is for, where the workdir knows several.")
_SCORE_HOP = flags.DEFINE_integer(
    "score_hop", None, "Frames between the windows of a recording; the recipe's if unset."
)
_LITERT = flags.DEFINE_bool("litert", False, "Write program.tflite too, for LiteRT.")
flags.mark_flags_as_required(["workdir", "out"])


def main() -> None:
    """Exports, and says how far the scores are from the library's."""
    if not 0 < _TARGET_FPR.value < 1:
        raise UserError(f"--target_fpr={_TARGET_FPR.value} was given: expected a share between 0 and 1, such as 0.1.")
    from asd_jax.export.folder import export_workdir

    model = export_workdir(
        _WORKDIR.value,
        _OUT.value,
        _TARGET_FPR.value,
        platforms=_PLATFORMS.value,
        machine_id=_MACHINE_ID.value,
        score_hop=_SCORE_HOP.value,
        seconds=_SECONDS.value,
        check=_CHECK.value,
        to_litert=_LITERT.value,
    )
    check = model["check"]
    print(
        f"Scores {model['samples'] / model['sample_rate']:g} s of {model['machine_type']}/{model['machine_id']} on "
        f"{', '.join(model['platforms'])}; "
        + ("no threshold" if model["threshold"] is None else f"threshold {model['threshold']:.4f}")
    )
    print(
        f"Checked on {len(check['clips'])} {check['sounds']}: differs from the library by at most "
        f"{check['largest_difference']:.2g}, {check['share_of_range']:.1g} of the range of scores. Wrote {_OUT.value}"
    )


if __name__ == "__main__":
    cli.run(main)
