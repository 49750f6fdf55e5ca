"""Figures 3 and 4 of paper 1, of what a study measured."""

from matplotlib.figure import Figure

from asd_jax.studies import figures
from asd_jax.studies.paper1_results import BASELINES, SET_NAMES, RunResults

SWEPT_SET = "c"
"""The outlier set whose size Figure 4 varies."""


def figure_3(results: RunResults) -> Figure | None:
    """Baselines and whole outlier sets by machine type; None where nothing was measured."""
    groups = {}
    for machine_type in results.test_ids:
        scores = {
            setting.label: results.score(setting, [machine_type])
            for setting in results.settings
            if setting.size is None
        }
        groups[machine_type] = {label: score for label, score in scores.items() if score}
    sets = list(SET_NAMES.values())
    families = {
        "without outliers": list(BASELINES.values()),
        "matching recordings": sets[:3],
        "mismatching recordings": sets[3:],
    }
    return figures.bars_figure("AUC by machine type", groups, families) if any(groups.values()) else None


def figure_4(results: RunResults) -> Figure | None:
    """AUC by the number of outliers, for every machine type and their average; None where no size was measured."""
    panels = {machine_type: [machine_type] for machine_type in results.test_ids}
    if len(panels) > 1:
        panels["average"] = list(results.test_ids)
    curves = {}
    for name, machine_types in panels.items():
        scores = {setting: results.score(setting, machine_types) for setting in results.settings}
        found = {setting: score for setting, score in scores.items() if score}
        points = {setting.size: score for setting, score in found.items() if setting.size is not None}
        levels = {setting.label: score for setting, score in found.items() if setting.detector in BASELINES}
        if points:
            curves[name] = figures.Curve(points, levels)
    title = f"AUC by the number of outlier clips (set {SWEPT_SET})"
    return figures.sizes_figure(title, curves) if curves else None
