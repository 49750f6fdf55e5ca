"""Features on disk, as a TFDS builder with one configuration a machine.

data_dir/manifest.json                    what is stored; see `manifest`
data_dir/records/<data set>.<type>.<ID>/  TFRecord shards of the splits "train" and "test"
data_dir/partial/                         finished shards of machines that are not complete

Machines that earlier versions stored lie in data_dir/log_mel_records and are read as they are; what they do not say of
a clip is empty.
"""

import contextlib
import dataclasses
import errno
import json
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import absl.logging
import numpy as np
from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import whole_file
from asd_jax.datasets.clips import Machine, StoredClip
from asd_jax.records.manifest import MachineRecords, Manifest, check_preset, read_manifest
from asd_jax.sound.features import FeaturePreset

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it announces them on every import; nothing is computed here

import tensorflow as tf  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from tensorflow_datasets.core import dataset_builder  # noqa: E402

tf.config.set_visible_devices([], "GPU")  # the GPUs are JAX's
# TFDS warns of its own deprecations, and of every configuration that is not in a list.
absl.logging.get_absl_logger().addFilter(lambda record: "tensorflow_datasets" not in record.pathname)

SPLITS = ("train", "test")
UNLABELLED = -1
_READ = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)


_TEXTS = ("name", "domain", "part", "attributes")
_EARLIER = "log_mel"  # the features, and the folder's name, before attributes were kept


class Store(Manifest):
    """The prepared data of one folder, for reading."""

    def groups(self) -> dict[Machine, str]:
        """The recording group of every machine that has training clips; with sounds of no machine, where prepared."""
        return {machine: stored.group for machine, stored in self.machines.items() if stored.clips.get("train")}

    def read(
        self, machine: Machine, split: str, share: range | None = None, fields: Sequence[str] = ()
    ) -> tf.data.Dataset:
        """The clips of one machine and split (or a share of them), sorted by name: the same order every time.

        `fields`: of the result, to decode alone; all where empty.

        Returns:
            A dataset of dicts: "features" [frames, ...] of `dtype`, "label" (0 normal, 1 anomaly, -1 nobody has said),
            "name" (of the file), "part", "domain", "attributes", "index" (place among all clips found, sorted by name).

        Raises:
            UserError: the machine or split is not stored. A damaged file shows while iterating: see `examples`.
        """
        part = split if share is None else f"{split}[{share.start}:{share.stop}]"
        builder = self._builder(machine, split)
        asked = dict.fromkeys((field for field in fields if field in builder.info.features), True)
        decoders = tfds.decode.PartialDecoding(asked) if fields else None
        return builder.as_dataset(part, read_config=_READ, decoders=decoders)

    def examples(
        self, machine: Machine, split: str, share: range | None = None, fields: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """The clips of `read` as dicts of NumPy values; a damaged or missing file is a UserError that names it."""
        try:
            yield from self.read(machine, split, share, fields).as_numpy_iterator()
        except tf.errors.OpError as error:
            info = self._builder(machine, split).info.splits[split]
            for path, count in zip(info.filepaths, info.shard_lengths, strict=True):
                if not _is_whole(path, count):
                    raise UserError(
                        f"{path} is damaged or missing: delete {path.parent} and prepare {'/'.join(machine)} again."
                    ) from error
            raise

    def clips(
        self, machine: Machine, split: str, share: range | None = None
    ) -> Iterator[tuple[StoredClip, np.ndarray]]:
        """What each clip of `examples` is, and its features [frames, ...]."""
        for example in self.examples(machine, split, share):
            yield _clip(machine, example), example["features" if "features" in example else _EARLIER]

    def listed(self, machine: Machine, split: str) -> Iterator[StoredClip]:
        """What each clip of `examples` is; their features are not decoded."""
        for example in self.examples(machine, split, fields=("label", *_TEXTS)):
            yield _clip(machine, example)

    def damaged(self, machine: Machine) -> Iterator[str]:
        """The files of a machine that are missing or cut off, by their sizes alone."""
        for split, count in self.find(machine).clips.items():
            info = self._builder(machine, split).info.splits[split]
            sizes = [path.stat().length if path.exists() else None for path in info.filepaths]
            missing = [os.fspath(path) for path, size in zip(info.filepaths, sizes, strict=True) if size is None]
            yield from missing
            if not missing and (sum(sizes) != info.num_bytes or sum(info.shard_lengths) != count):
                yield os.fspath(info.filepaths[0].parent / f"*-{split}.*")

    def _builder(self, machine: Machine, split: str) -> tfds.core.DatasetBuilder:
        stored = self.find(machine)
        if not stored.clips.get(split):
            raise UserError(f"{self.data_dir} holds no {split} clips of {'/'.join(machine)}: they are needed here.")
        folder = record_folder(self.data_dir, stored)
        if not (folder / "dataset_info.json").exists():
            raise UserError(f"{folder} is missing or damaged: prepare {'/'.join(machine)} again.")
        _check_features(folder / "features.json")
        return tfds.builder_from_directory(folder)


def _clip(machine: Machine, example: dict[str, Any]) -> StoredClip:
    texts = {name: example[name].decode() for name in _TEXTS if name in example}
    return StoredClip(machine, label=int(example["label"]), **texts)


def open_store(data_dir: str, preset_name: str) -> Store:
    """Opens prepared data.

    Raises:
        UserError: nothing is prepared there, or with another preset.
    """
    manifest = read_manifest(data_dir)
    if manifest is None:
        raise UserError(f"{data_dir} holds no prepared data (no manifest.json that lists any): run tools/prepare.py.")
    check_preset(manifest, preset_name)
    return Store(**vars(manifest))


def record_folder(data_dir: str, machine: MachineRecords) -> epath.Path:
    """Where the complete records of a machine are, or will be."""
    name = _config_name(machine)
    earlier = epath.Path(data_dir) / f"{_EARLIER}_records" / name / "1.0.0"
    return earlier if earlier.exists() else epath.Path(data_dir) / Records.name / name / str(Records.VERSION)


def partial_folder(data_dir: str, machine: MachineRecords) -> epath.Path:
    """Where the finished shards of a machine wait until it is complete."""
    return epath.Path(data_dir) / "partial" / _config_name(machine)


def features(preset: FeaturePreset, dtype: str) -> tfds.features.FeaturesDict:
    """How one clip is stored; the features as raw bytes."""
    return tfds.features.FeaturesDict(
        {
            "features": tfds.features.Tensor(
                shape=(None, *preset.frame_shape), dtype=np.dtype(dtype), encoding="bytes"
            ),
            "label": tfds.features.Scalar(np.int64),
            "name": tfds.features.Text(),
            "part": tfds.features.Text(),
            "domain": tfds.features.Text(),
            "attributes": tfds.features.Text(),
            "index": tfds.features.Scalar(np.int64),
        }
    )


@contextlib.contextmanager
def shard_writer(path: epath.Path) -> Iterator[tf.io.TFRecordWriter]:
    """Writes a new TFRecord file, which appears when it is whole."""
    with whole_file(path) as unfinished, tf.io.TFRecordWriter(os.fspath(unfinished)) as writer:
        yield writer


@contextlib.contextmanager
def no_space_reported(data_dir: str) -> Iterator[None]:
    """Around writing: a full disk becomes a UserError."""
    try:
        yield
    except (OSError, tf.errors.ResourceExhaustedError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"No space left on the device while writing to {data_dir}: free some and run the command again; "
            "what is stored there stays, and finished parts are not computed again."
        ) from error


def store_machine(
    manifest: Manifest, machine: MachineRecords, shards: Mapping[str, Sequence[tuple[epath.Path, int]]]
) -> None:
    """Moves the finished shards of a machine to where they are read, in place of older ones.

    Args:
        manifest: of the folder; not changed.
        machine: whose.
        shards: split -> (file, number of clips), in order.
    """
    older = record_folder(manifest.data_dir, machine).parent
    if older.exists():
        older.rmtree()
    config = MachineConfig(_config_name(machine), preset=manifest.preset, dtype=manifest.dtype, shards=shards)
    nothing = partial_folder(manifest.data_dir, machine) / "downloads"
    Records(data_dir=manifest.data_dir, config=config).download_and_prepare(download_dir=os.fspath(nothing))


@dataclasses.dataclass
class MachineConfig(tfds.core.BuilderConfig):
    """One machine's records: how its features are stored, and the finished shards (file, number of clips) by split."""

    preset: FeaturePreset | None = None
    dtype: str = "float16"
    shards: Mapping[str, Sequence[tuple[epath.Path, int]]] = dataclasses.field(default_factory=dict)


class Records(dataset_builder.FileReaderBuilder, skip_registration=True):
    """The TFDS builder of one machine. Its shards were written before, so that a killed run can go on from them."""

    name = "records"
    VERSION = tfds.core.Version("2.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        stored_as = features(self.builder_config.preset, self.builder_config.dtype)
        return tfds.core.DatasetInfo(builder=self, features=stored_as, disable_shuffling=True)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        splits = []
        for split, shards in self.builder_config.shards.items():
            template = self._get_filename_template(split)
            size = sum(path.stat().length for path, _ in shards)
            for index, (path, _) in enumerate(shards):
                path.rename(template.sharded_filepath(shard_index=index, num_shards=len(shards)))
            lengths = [count for _, count in shards]
            splits.append(tfds.core.SplitInfo(split, lengths, size, filename_template=template))
        self.info.set_splits(tfds.core.splits.SplitDict(splits))

    def _log_download_bytes(self) -> None:
        """Says nothing: there is no download."""

    _log_download_done = _log_download_bytes


def _check_features(path: epath.Path) -> None:
    """TFDS imports the modules that the file names: they must be its own."""
    if not path.exists():
        return
    try:
        names = list(_class_names(json.loads(path.read_text())))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): delete {path.parent} and prepare it again.") from error
    for name in names:
        if not str(name).startswith("tensorflow_datasets.core.features."):
            raise UserError(f"{path} names {name!r}, which tools/prepare.py never writes: do not use these records.")


def _class_names(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ("pythonClassName", "python_class_name") or key == "type" and isinstance(value, str):
                yield value
            yield from _class_names(value)
    elif isinstance(content, list):
        for value in content:
            yield from _class_names(value)


def _config_name(machine: MachineRecords) -> str:
    parts = (machine.dataset, machine.machine_type, machine.machine_id)
    return ".".join(urllib.parse.quote(part, safe="").replace(".", "%2E") for part in parts)


def _is_whole(path: epath.Path, count: int) -> bool:
    try:
        return sum(1 for _ in tf.data.TFRecordDataset(os.fspath(path))) == count
    except tf.errors.OpError:
        return False
