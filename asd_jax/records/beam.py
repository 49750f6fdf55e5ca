"""The shards of `prepare`, written by the workers of an Apache Beam pipeline instead of this process's threads."""

import functools
import os
from collections.abc import Sequence

from asd_jax.base.errors import UserError
from asd_jax.records.manifest import Manifest
from asd_jax.records.shards import Shard, write_shard

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError as error:
    raise UserError(
        f"Preparing on Apache Beam needs it installed ({error}): run pip install 'asd_jax[beam]'."
    ) from error


def write_on_beam(pipeline_options: Sequence[str], manifest: Manifest, shards: Sequence[Shard]) -> None:
    """Writes shards as elements of one pipeline, each by one worker, for `prepare(write_elsewhere=...)`.

    The stored values equal those of this process, to the bit on processors of one kind.

    Args:
        pipeline_options: of Beam, such as ["runner=DirectRunner", "direct_num_workers=2"].
        manifest: of the folder; the workers get the preset, the dtype and the statistics by machine type.
        shards: what to write; every machine must see the recordings and the folder by the same paths.

    Raises:
        UserError: the pipeline cannot be started or fails, or the shards are not in the folder afterwards. Those that
            are finished stay.
    """
    if not shards:
        return
    options = PipelineOptions([f"--{option}" for option in pipeline_options])
    try:
        with beam.Pipeline(options=options) as pipeline:
            write = beam.Map(functools.partial(_write, manifest))
            pipeline | "Shards" >> beam.Create(shards) | "Write" >> write  # Create spreads them over the workers
    except Exception as error:  # every runner has its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UserError(
            f"The Beam pipeline failed ({reason}): what it finished stays in {manifest.data_dir}, "
            "and the same command goes on from there."
        ) from error
    if lost := [shard.path for shard in shards if not shard.is_complete()]:
        raise UserError(
            f"The Beam workers wrote {len(lost)} files that are not here, such as {lost[0]}: data_dir must be a folder "
            "that all machines see by the same path."
        )


def _write(manifest: Manifest, shard: Shard) -> None:
    if not os.path.exists(shard.clips[0].path):
        raise FileNotFoundError(f"{shard.clips[0].path} is not on this worker: all machines must see raw_dir.")
    write_shard(manifest, shard)
