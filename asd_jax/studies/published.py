"""What others say that their detectors reach."""

from typing import NamedTuple

TYPES_2021 = ("fan", "gearbox", "pump", "valve", "slider", "ToyCar", "ToyTrain")
"""Of paper 2, whose last figure is "All"."""


class Line(NamedTuple):
    """One line of a table.

    Attributes:
        method: as the paper calls it.
        row: the row of the study (`asd_jax.studies.paper2.ROWS`) that is compared with it.
        figures: harmonic means of AUC and pAUC over three machine IDs, in percent, for every one of `TYPES_2021`.
        overall: harmonic mean over all machine types, in percent.
    """

    method: str
    row: str
    figures: tuple[float, ...]
    overall: float


class Table(NamedTuple):
    """A table of a paper; `note` says what our figures are where that is not plain."""

    name: str
    title: str
    lines: tuple[Line, ...]
    note: str = ""


_PROPOSED = Line("Proposed", "proposed", (84.35, 68.42, 71.60, 65.03, 83.97, 62.08, 58.83), 69.42)

PAPER_2 = (
    Table(
        "table_2",
        "Table II of Kuroyanagi et al., EUSIPCO 2022: comparison with other detectors",
        (
            Line("Parallel [12]", "parallel", (56.11, 62.43, 85.33, 66.68, 74.58, 68.46, 69.04), 67.93),
            Line("Serial [22]", "only_product_ids", (82.37, 66.22, 77.21, 72.06, 78.02, 54.72, 50.88), 66.78),
            Line("DDCSAD [18]", "ddcsad", (69.21, 58.13, 68.55, 75.66, 59.56, 57.71, 57.71), 63.12),
            _PROPOSED,
        ),
        note="Ours are stand-ins where little is published: serial is the ablation that learns only product IDs, "
        "parallel the ensemble of configs/parallel.py, DDCSAD what asd_jax/methods/ddcsad.py says.",
    ),
    Table(
        "table_3",
        "Table III of Kuroyanagi et al., EUSIPCO 2022: ablations",
        (
            _PROPOSED,
            Line("w/o Mixup", "without_mixup", (86.35, 71.54, 66.52, 67.66, 81.88, 52.51, 59.90), 67.75),
            Line("w/o h", "without_inlier", (64.34, 49.80, 66.25, 57.19, 61.69, 50.51, 53.35), 56.93),
            Line("only product IDs", "only_product_ids", (85.39, 66.07, 66.88, 58.16, 70.50, 51.68, 52.78), 62.79),
        ),
    ),
)

DCASE2020_BASELINE = {
    "ToyCar": {
        "01": (82.8474, 67.8514),
        "02": (86.6307, 76.2236),
        "03": (63.9396, 54.6659),
        "04": (86.9477, 70.1461),
    },
    "ToyConveyor": {
        "01": (79.3497, 65.0428),
        "02": (64.2430, 56.4437),
        "03": (74.4579, 60.4880),
    },
    "fan": {
        "00": (53.9607, 49.2435),
        "02": (72.1866, 55.4171),
        "04": (62.2098, 52.7072),
        "06": (72.2770, 52.9961),
    },
    "pump": {
        "00": (67.0769, 57.2690),
        "02": (60.9369, 58.0370),
        "04": (88.8600, 67.6842),
        "06": (73.4902, 57.0175),
    },
    "slider": {
        "00": (96.3315, 81.8451),
        "02": (78.8090, 62.8819),
        "04": (94.6011, 73.9503),
        "06": (70.2247, 49.0242),
    },
    "valve": {
        "00": (68.7311, 51.3490),
        "02": (67.4083, 51.2281),
        "04": (74.4000, 51.5351),
        "06": (55.2833, 48.2895),
    },
}
"""AUC and pAUC, in percent, on the development part of DCASE 2020 Task 2: the README of the challenge's baseline."""
