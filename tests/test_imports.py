"""Imports run along the way of the data, downwards never back up; and heavy packages only where they are needed."""

import ast
import pathlib
import sys

import pytest

import asd_jax

PACKAGE = pathlib.Path(asd_jax.__file__).parent

ROOMS = [
    ("errors", "interrupt", "lost_process", "progress"),
    ("files", "locks"),
    ("hosts", "stored_json"),
    ("cli", "clips", "audio_files", "unfinished", "threads", "kernels"),
    ("audio",),
    ("label_list",),
    ("datasets",),
    ("outliers",),
    ("features",),
    ("wave_statistics",),
    ("manifest",),
    ("records",),
    ("prepare", "log_mels", "random_streams"),
    ("prepare_beam",),
    ("input_pipeline",),
    ("embeddings",),
    ("inlier",),
    ("models",),
    ("methods",),
    ("parallel",),
    ("feed",),
    ("checkpoints", "experiment"),
    ("training_data",),
    ("scoring", "epoch_log"),
    ("metrics",),
    ("detection", "validation"),
    ("train",),
    ("selection",),
    ("score_files",),
    ("report",),
    ("detector",),
    ("evaluation", "recordings", "select_inlier", "ensemble"),
    ("export",),
    ("pieces",),
    ("along_time", "follow"),
    ("studies",),
    ("benchmark", "page"),
    ("doctor",),
]
"""Top to bottom: a room imports from those above it, and files within one room from each other."""


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            if node.module == "asd_jax":
                yield from (f"asd_jax.{alias.name}" for alias in node.names)


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    level = {room: i for i, rooms in enumerate(ROOMS) for room in rooms}
    mine = room_of(path)
    for name in imports(path):
        if name.startswith("asd_jax."):
            other = name.split(".")[1]
            assert level[other] < level[mine] or other == mine, f"{path.name} imports {name}"


def reachable(name):
    """All modules that importing asd_jax.<name> imports, by reading the sources."""
    found, waiting = set(), [PACKAGE / f"{name}.py"]
    while waiting:
        for module in imports(waiting.pop()):
            if module in found:
                continue
            found.add(module)
            if module.startswith("asd_jax."):
                path = PACKAGE.joinpath(*module.split(".")[1:])
                waiting += [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()]
    return {module.split(".")[0] for module in found}


@pytest.mark.parametrize(
    "name",
    [
        "models/layers",
        "models/depthwise",
        "models/resnet",
        "models/efficientnet",
        "models/timm_weights",
        "models/autoencoder",
        "models/maf",
        "methods/proxy_outlier",
        "methods/autoencoder",
        "methods/maf",
        "methods/multitask",
        "parallel",
        "checkpoints",
        "features",
    ],
)
def test_networks_methods_and_the_step_do_not_import_tensorflow(name):
    assert not reachable(name) & {"tensorflow", "tensorflow_datasets"}


@pytest.mark.parametrize(
    "name",
    [
        "metrics",
        "embeddings",
        "inlier",
        "selection",
        "score_files",
        "report",
        "studies/published",
        "studies/figures",
        "studies/paper1_results",
        "studies/claims",
        "studies/paper2_tables",
        "page/markup",
        "clips",
        "audio",
        "outliers",
        "datasets/__init__",
    ],
)
def test_files_and_measures_import_neither_jax_nor_tensorflow(name):
    assert not reachable(name) & {"jax", "flax", "optax", "tensorflow", "tensorflow_datasets"}


def test_the_rule_is_read_from_real_imports():
    assert "numpy" in reachable("metrics") and "tensorflow" in reachable("records")
    assert set(sys.stdlib_module_names) >= {"os"} and "jax" in reachable("parallel")
