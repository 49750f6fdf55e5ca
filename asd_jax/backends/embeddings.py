"""Embeddings of the segments of clips: what they belong to, and the file that keeps them."""

import dataclasses
import io

import numpy as np
from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.datasets.clips import Machine


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """One row for every segment of some clips.

    Attributes:
        embedding: [rows, width] float32.
        clip: [rows] names of the clips, unique within a machine.
        segment: [rows] which of the segments of its clip, from 0.
        machine_type: [rows] "fan", "pump", ...
        machine_id: [rows] product ID: the machine ID, or the section of DCASE 2021.
        label: [rows] 0 normal, 1 anomaly, -1 unknown.
        domain: [rows] "source" or "target".
        part: [rows] "dev" or "eval".
        probability: [rows] float32, of its own product ID, as the encoder's product head says; NaN where it has none.
        step: of the training, after which the network gave them; None where that is not known.
    """

    embedding: np.ndarray
    clip: np.ndarray
    segment: np.ndarray
    machine_type: np.ndarray
    machine_id: np.ndarray
    label: np.ndarray
    domain: np.ndarray
    part: np.ndarray
    probability: np.ndarray
    step: int | None = None

    def row_machines(self) -> list[Machine]:
        """[rows] The machine of every row."""
        return list(zip(self.machine_type.tolist(), self.machine_id.tolist(), strict=True))

    def machines(self) -> list[Machine]:
        """The machines, sorted."""
        return sorted(set(self.row_machines()))

    def rows_of(self, machine: Machine) -> np.ndarray:
        """[rows] Whether a row is of the machine."""
        return (self.machine_type == machine[0]) & (self.machine_id == machine[1])

    def select(self, mask: np.ndarray) -> "Embeddings":
        """The rows where the mask [rows] is true, or the rows with these numbers, in their order."""
        return Embeddings(**{name: column[mask] for name, column in _columns(self).items()}, step=self.step)

    def clips(self) -> tuple[np.ndarray, np.ndarray]:
        """The clips, in the order of their first rows.

        Returns:
            (the first row of every clip [clips], the number of the clip of every row [rows]).
        """
        numbers: dict[tuple[Machine, str], int] = {}
        pairs = zip(self.row_machines(), self.clip.tolist(), strict=True)
        clip_of_row = np.array([numbers.setdefault(pair, len(numbers)) for pair in pairs], dtype=int)
        return np.unique(clip_of_row, return_index=True)[1], clip_of_row

    def save(self, path: epath.PathLike) -> None:
        """Writes an `.npz` file; it appears whole or not at all."""
        content = io.BytesIO()
        step = {} if self.step is None else {"step": np.int64(self.step)}
        np.savez(content, allow_pickle=False, **_columns(self), **step)
        write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: epath.PathLike) -> "Embeddings":
        """Reads what `save` wrote.

        Raises:
            UserError: there is no such file, it is damaged, or it is something else.
        """
        path = epath.Path(path)
        if not path.exists():
            raise UserError(f"There is no file of embeddings {path}: write the embeddings first.")
        try:
            stored = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
            columns = {name: stored[name] for name in _COLUMNS}
            step = int(stored["step"]) if "step" in stored else None
            if len({len(column) for column in columns.values()}) > 1:
                raise ValueError("its columns differ in length")
        except Exception as error:  # numpy and zipfile raise many types for damaged files
            raise UserError(
                f"{path} holds no embeddings or is damaged ({error}): delete it and write it anew."
            ) from error
        return cls(**columns, step=step)


_COLUMNS = tuple(field.name for field in dataclasses.fields(Embeddings) if field.name != "step")


def _columns(embeddings: Embeddings) -> dict[str, np.ndarray]:
    return {name: getattr(embeddings, name) for name in _COLUMNS}
