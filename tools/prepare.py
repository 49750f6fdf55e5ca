"""Recordings on disk -> log-mels as TFRecords.

    python tools/prepare.py --dataset=dcase2020 --raw_dir=RAW --data_dir=DATA --features=paper1
    python tools/prepare.py --dataset=tau2020 --raw_dir=TAU --data_dir=DATA    # outlier set e
    python tools/prepare.py --dataset=audioset --raw_dir=AUDIOSET --data_dir=DATA    # outlier set f

Run it again after it was stopped: it continues with what is missing. With --check it only says what lies in the raw
folder, what is missing there and what is wrong, from names and audio headers. On many machines, through Apache Beam:

    python tools/prepare.py ... --beam_pipeline_options=runner=DirectRunner,direct_num_workers=4
"""

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
import functools
import sys
import time

from absl import flags

from asd_jax.base import cli
from asd_jax.datasets import DATASETS, check
from asd_jax.datasets.clips import with_channel
from asd_jax.sound.audio_files import unread_warning
from asd_jax.sound.presets import PRESETS

_DATASET = flags.DEFINE_enum("dataset", None, sorted(DATASETS), "How the recordings lie on disk.", required=True)
_RAW_DIR = flags.DEFINE_string("raw_dir", None, "Folder of the recordings.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder to prepare into; not needed with --check.")
_FEATURES = flags.DEFINE_enum("features", "paper1", sorted(PRESETS), "Feature preset.")
_MACHINE_TYPES = flags.DEFINE_list("machine_types", None, "Only these machine types; all that are found by default.")
_GROUPS = flags.DEFINE_list("groups", [], "Recording groups of machine types, such as drone=lab,fan=hall.")
_CHANNEL = flags.DEFINE_integer(
    "channel", None, "Which channel of the recordings to take, from 0; the mean over all if unset.", lower_bound=0
)
_DTYPE = flags.DEFINE_enum("dtype", "float16", ["float16", "float32"], "How log-mels are stored.")
_WORKERS = flags.DEFINE_integer("workers", None, "Threads; one for each core by default.", lower_bound=1)
_SKIP_BAD = flags.DEFINE_bool("skip_bad", False, "Clips that cannot be used are no failure.")
_BEAM_PIPELINE_OPTIONS = flags.DEFINE_list(
    "beam_pipeline_options", None, "Prepare on Apache Beam with these options, such as runner=DirectRunner."
)
_CHECK = flags.DEFINE_bool("check", False, "Only say what is there.")


def main() -> int:
    """Checks or prepares; clips that were left out are exit code 1."""
    if _CHECK.value:
        rate = PRESETS[_FEATURES.value].sample_rate
        report = check.check(_RAW_DIR.value, _DATASET.value, rate, _MACHINE_TYPES.value, _CHANNEL.value)
        print(*check.report_lines(report), sep="\n")
        return 1 if report.all_problems else 0
    if not _DATA_DIR.value:
        raise flags.Error("--data_dir is missing: name the folder to prepare into.")
    groups = {}
    for pair in _GROUPS.value:
        machine_type, separator, group = pair.partition("=")
        if not (machine_type and separator and group):
            raise flags.Error(f"--groups holds {pair!r}: expected pairs such as drone=lab.")
        groups[machine_type] = group
    clips = DATASETS[_DATASET.value].list_clips(_RAW_DIR.value, machine_types=_MACHINE_TYPES.value, groups=groups)
    if unknown := sorted(groups.keys() - {clip.machine_type for clip in clips}):
        raise flags.Error(f"--groups names {', '.join(unknown)}, which {_RAW_DIR.value} does not hold.")
    from asd_jax.records.prepare import prepare, prepared_lines  # TensorFlow takes seconds to import
    from asd_jax.sound.presets import compile_kernels
    from asd_jax.training.first_training import next_command

    write_elsewhere = None
    if _BEAM_PIPELINE_OPTIONS.value is not None:
        from asd_jax.records.beam import write_on_beam

        write_elsewhere = functools.partial(write_on_beam, _BEAM_PIPELINE_OPTIONS.value)
    compile_kernels(_FEATURES.value)  # the rate below is of the work alone
    begin = time.perf_counter()
    done = prepare(
        with_channel(clips, _CHANNEL.value),
        _DATA_DIR.value,
        _DATASET.value,
        _FEATURES.value,
        _DTYPE.value,
        _WORKERS.value,
        write_elsewhere=write_elsewhere,
    )
    seconds = time.perf_counter() - begin
    print(*prepared_lines(done), sep="\n")
    if unread := unread_warning(_RAW_DIR.value):
        print(f"Warning: {unread}")
    print(
        f"{done.computed} clips in {seconds:.1f} s, {done.computed / seconds:.0f} clips/s, written to {_DATA_DIR.value}"
    )
    if done.left_out:
        print(f"{len(done.left_out)} clips left out:", *done.left_out, sep="\n  ", file=sys.stderr)
    if command := next_command(done):
        print(f"Next: {command}")
    if not done.left_out:
        return 0
    return 0 if _SKIP_BAD.value else 1


if __name__ == "__main__":
    cli.run(main)
