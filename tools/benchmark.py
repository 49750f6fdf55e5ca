"""How fast a recipe is on this machine.

python tools/benchmark.py --config=configs/proxy_outlier.py
python tools/benchmark.py --config=configs/multitask.py --config.batch_size=128 --mode=end_to_end --out=b.json
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
import json
import tempfile
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from asd_jax.base import cli
from asd_jax.base.files import check_own, write_atomically

_MODES = {
    "step": "training steps on made-up windows on the devices",
    "input": "tf.data alone",
    "end_to_end": "training steps on their input, and both alone",
    "prepare": "WAV files to records, and librosa beside it",
    "score": "every window of clips",
}
_CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe; any value can be overridden.")
_MODE = flags.DEFINE_enum("mode", "step", list(_MODES), "; ".join(f"{name}: {what}" for name, what in _MODES.items()))
_REPEATS = flags.DEFINE_integer("repeats", 20, "What is timed is done so many times.", lower_bound=2)
_CLIPS = flags.DEFINE_integer("clips", 200, "Made-up clips, where config.data_dir names none.", lower_bound=16)
_OUT = flags.DEFINE_string("out", None, "JSON file for the numbers.")
_PROFILE = flags.DEFINE_string("profile", None, "Folder for a trace of step or end_to_end, for TensorBoard and XProf.")
flags.mark_flag_as_required("config")


def main() -> None:
    """Imports late: a mistake on the command line is reported at once."""
    if _PROFILE.value and _MODE.value not in ("step", "end_to_end"):
        raise flags.Error(f"--profile was given with --mode={_MODE.value}: only step and end_to_end are traced.")
    if _OUT.value:
        check_own(_OUT.value, "--out", rb'\{\s+"mode": "', "benchmark")
    config, repeats = _CONFIG.value, _REPEATS.value
    with tempfile.TemporaryDirectory() as folder:
        result = _measure(config, repeats, folder)
    from asd_jax.benchmark import timing

    result = {"mode": _MODE.value, **timing.measured_with(config), **result}
    print(*timing.measurement_lines(result), sep="\n")
    if _PROFILE.value:
        print(f"Wrote a trace to {_PROFILE.value}: tensorboard --logdir {_PROFILE.value}")
    if _OUT.value:
        write_atomically(_OUT.value, json.dumps(result, indent=2) + "\n")
        print(f"Wrote {_OUT.value}")


def _measure(config: ml_collections.ConfigDict, repeats: int, folder: str) -> dict[str, Any]:
    """Imports what the mode needs alone: its memory is measured."""
    if _MODE.value == "step":
        from asd_jax.benchmark.step import measure_step

        return measure_step(config, repeats, _PROFILE.value)
    if _MODE.value == "score":
        from asd_jax.benchmark.score import measure_score

        return measure_score(config, repeats)
    if _MODE.value == "prepare":
        from asd_jax.benchmark.preparing import measure_prepare

        return measure_prepare(config, repeats, folder, _CLIPS.value)
    from asd_jax.benchmark.input import made_up, measure_end_to_end, measure_input

    config = made_up(config, folder, _CLIPS.value)
    if _MODE.value == "input":
        return measure_input(config, repeats)
    return measure_end_to_end(config, repeats, _PROFILE.value)


if __name__ == "__main__":
    cli.run(main)
