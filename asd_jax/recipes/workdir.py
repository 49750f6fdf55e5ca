"""The folder of one training: every file in it by name, each read once."""

import dataclasses
import functools
import json
import os
from typing import Any

from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.base.stored_json import read_json
from asd_jax.datasets.clips import Machine
from asd_jax.devices import hosts
from asd_jax.methods import Recipe
from asd_jax.recipes.keys import as_json, changes_weights, read_recipe
from asd_jax.recipes.surroundings import surroundings
from asd_jax.sound.presets import WaveStatistics

_FORMAT = 2
"""Of config.json; before 2 the network's keys lay beside the others."""

_WRITTEN_BY = "expected the JSON that tools/train.py wrote"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is trained on what (training.json).

    Attributes:
        parameters: of the network.
        steps_per_epoch: of the training.
        num_steps: of the whole training; a run is finished when it has taken them.
        normal_clips: of the target machines.
        outlier_clips: of the outlier set.
        machines: the target machines; a product is a place in this list.
        held_back: names of the clips that training must not see.
        wave_statistics: machine type -> what its waveforms were standardised by, which recordings to be scored must be
            too; None where the features take none.
        channels: "type/ID" -> the channel of its recordings that is read; None where all take the mean.
        names_sha256: of the names of all clips.
        classes: of the target machines' clips, where the recipe has classes; a class is a place in this list.
    """

    parameters: int
    steps_per_epoch: int
    num_steps: int
    normal_clips: int
    outlier_clips: int
    machines: tuple[Machine, ...]
    held_back: tuple[str, ...]
    wave_statistics: dict[str, WaveStatistics | None]
    channels: dict[str, int] | None
    names_sha256: str
    classes: tuple[str, ...] = ()


class Workdir:
    """A training's folder.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: epath.PathLike) -> None:
        self.path = epath.Path(path)

    def __str__(self) -> str:
        return os.fspath(self.path)

    def file(self, name: str) -> epath.Path:
        """The path of a file or folder in it."""
        return self.path / name

    def metrics(self, suffix: str = "") -> epath.Path:
        """The measures of the test clips' scores; `suffix` is that of other windows than the recipe's."""
        return self.path / f"metrics{suffix}.json"

    def scores(self, suffix: str = "") -> epath.Path:
        """The folder of the test clips' scores."""
        return self.path / f"scores{suffix}"

    def thresholds(self, suffix: str = "") -> epath.Path:
        """The thresholds of the machines, and how they were found."""
        return self.path / f"threshold{suffix}.json"

    def held_back_scores(self, suffix: str = "") -> epath.Path:
        """The scores of the clips that training held back, of a system that scores windows itself."""
        return self.path / f"held_back_scores{suffix}.json"

    def embeddings(self, run: int, what: str) -> epath.Path:
        """The embeddings that a run gives for the "held_back" or the "test" clips."""
        return self.path / "embeddings" / f"run_{run}" / f"{what}.npz"

    def inlier_models(self, run: int) -> epath.Path:
        """The folder of the inlier models that are fitted to a run's embeddings."""
        return self.path / "inlier" / f"run_{run}"

    @property
    def inlier_choice(self) -> epath.Path:
        """The inlier models that tools/select_inlier.py chose."""
        return self.path / "inlier_choice.json"

    @property
    def epochs(self) -> epath.Path:
        """The metrics of every epoch."""
        return self.path / "metrics.jsonl"

    def exists(self) -> bool:
        """Whether a training's recipe is kept here."""
        return self._config.exists()

    def has_begun(self) -> bool:
        """Whether what is trained on what is known."""
        return self._summary.exists()

    @property
    def _config(self) -> epath.Path:
        return self.path / "config.json"

    @property
    def _summary(self) -> epath.Path:
        return self.path / "training.json"

    @property
    def _surroundings(self) -> epath.Path:
        return self.path / "surroundings.json"

    @functools.cached_property
    def recipe(self) -> Recipe:
        """What it was trained with."""
        if not self._config.exists():
            raise UserError(f"{self} is not a workdir of tools/train.py: it holds no {self._config.name}.")
        content = _read(self._config)
        if content.pop("format", None) != _FORMAT:
            raise UserError(
                f"{self._config} is not a config that this version of tools/train.py wrote: train into another workdir."
            )
        try:
            return read_recipe(content)
        except UserError as error:
            raise UserError(f"{self._config} is not a config that tools/train.py wrote: {error}") from error

    @functools.cached_property
    def summary(self) -> Summary:
        """What is trained on what."""
        if not self._summary.exists():
            raise UserError(f"The training in {self} has not begun: run tools/train.py with the same config.")
        return _read(self._summary, Summary)

    @functools.cached_property
    def surroundings(self) -> dict:
        """What it was trained on, the newest; empty for a training that has not begun."""
        return _read(self._surroundings) if self._surroundings.exists() else {}

    def keep_recipe(self, recipe: Recipe) -> None:
        """Keeps the recipe; where the folder was begun with another one, a UserError names the key that differs."""
        if self._config.exists():
            old, new = _flat(as_json(self.recipe)), _flat(as_json(recipe))
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name) and changes_weights(recipe.method, name):
                    raise UserError(
                        f"config.{name} is {new.get(name)!r}, but {self} was begun with {old.get(name)!r}: "
                        "use that value, or another workdir."
                    )
        self._write(self._config, {"format": _FORMAT} | as_json(recipe))
        self.recipe = recipe

    def keep_summary(self, summary: Summary) -> None:
        """Keeps what is trained on what; a folder that was begun on other data is refused, naming what differs."""
        if self._summary.exists():
            for field in dataclasses.fields(Summary):
                old, new = getattr(self.summary, field.name), getattr(summary, field.name)
                if old != new:
                    raise UserError(
                        f"The prepared data are not those that {self} was begun with ({field.name} was {old!r} and is "
                        f"{new!r}): train into another workdir."
                    )
        self._write(self._summary, dataclasses.asdict(summary))
        self.summary = summary

    def keep_surroundings(self) -> None:
        """Keeps what a training runs on; where it continues elsewhere, the newest."""
        self._write(self._surroundings, surroundings())

    def _write(self, path: epath.Path, content: dict) -> None:
        if hosts.is_first():
            write_atomically(path, json.dumps(content, indent=2) + "\n")


def _flat(content: dict, above: str = "") -> dict:
    """Without groups: {"network.width": 64}."""
    flat = {}
    for name, value in content.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return flat


def _read(path: epath.Path, kind: Any = dict) -> Any:
    return read_json(path, kind, _WRITTEN_BY)
