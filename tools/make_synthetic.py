"""Writes a small made-up data set in the layout of DCASE 2020 or 2021.

python tools/make_synthetic.py --out=DIR [--layout=dcase2020] [--seed=0] [--machine_types=rotor,belt]
    [--machine_ids=00,01,02,03] [--train_clips=40] [--test_clips=20] [--seconds=10]
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax.base import cli
from asd_jax.datasets import synthetic

_OUT = flags.DEFINE_string("out", None, "Folder to write to.", required=True)
_LAYOUT = flags.DEFINE_enum(
    "layout", "dcase2020", synthetic.layouts(), "dcase2021 adds a target domain, with 3 training clips per machine."
)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed, another set of machines.", lower_bound=0)
_TYPES = flags.DEFINE_list("machine_types", list(synthetic.MADE_UP_TYPES), "Machine types.")
_IDS = flags.DEFINE_list("machine_ids", ["00", "01", "02", "03"], "IDs; the first half is for development.")
_TRAIN = flags.DEFINE_integer("train_clips", 40, "Normal training clips per machine.", lower_bound=0)
_TEST = flags.DEFINE_integer("test_clips", 20, "Test clips per machine, domain and label.", lower_bound=0)
_SECONDS = flags.DEFINE_float("seconds", 10.0, "Length of a clip.", lower_bound=1.0)


def main() -> None:
    """Generates, and says what was written where."""
    count = synthetic.generate(
        _OUT.value,
        layout=_LAYOUT.value,
        seed=_SEED.value,
        machine_types=_TYPES.value,
        machine_ids=_IDS.value,
        train_clips=_TRAIN.value,
        test_clips=_TEST.value,
        seconds=_SECONDS.value,
    )
    print(
        f"Wrote {count} clips of {_SECONDS.value:g} s ({len(_TYPES.value)} machine types, {len(_IDS.value)} IDs each) "
        f"and eval_data_list.csv to {_OUT.value}"
    )


if __name__ == "__main__":
    cli.run(main)
