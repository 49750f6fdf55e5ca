"""Imports run along the way of the data, downwards never back up; and heavy packages only where they are needed."""

import ast
import pathlib
import sys

import pytest

import asd_jax

PACKAGE = pathlib.Path(asd_jax.__file__).parent

PACKAGES = [
    "base",
    "sound",
    "measures",
    "datasets",
    "records",
    "models",
    "backends",
    "methods",
    "devices",
    "recipes",
    "training",
    "scoring",
    "evaluation",
    "listening",
    "export",
    "studies",
    "report",
    "benchmark",
    "doctor",
]
"""In the order of the data: a package imports from those before it, and files within a package from each other."""

LONGEST = 300  # lines of a file


def package_of(path):
    return path.relative_to(PACKAGE).parts[0]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            if node.module.startswith("asd_jax"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards_and_stay_inside(path):
    mine = PACKAGES.index(package_of(path))
    for name in imports(path):
        first, *rest = name.split(".")
        assert first not in ("configs", "tests", "tools", "installed"), f"{path.name} imports {name}"
        if first == "asd_jax" and rest:
            assert PACKAGES.index(rest[0]) <= mine, f"{path.name} imports {name}"


def test_the_table_of_contents_and_the_packages_own_ones_are_complete():
    assert sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__") == sorted(PACKAGES)
    contents = (PACKAGE / "__init__.py").read_text()
    assert [line.split()[0] for line in contents.splitlines() if line.startswith("    ")] == PACKAGES
    for name in PACKAGES:
        told = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text()))
        for path in (PACKAGE / name).glob("*.py"):
            if path.name != "__init__.py":
                assert f"{path.stem}:" in told, f"{name} does not list {path.stem}"


TESTS = sorted(pathlib.Path(__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", FILES + TESTS, ids=lambda p: "/".join(p.parts[-2:]))
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= LONGEST


ASKED_OF_EACH = {
    *("DATASET", "list_clips", "GROUPS", "LAYOUT", "ARCHIVES", "CLIP_COUNTS", "CLIP_SECONDS"),  # of a layout
    *("MACHINE_TYPE", "MACHINE_ID"),  # of a layout of other sounds
    *("Recipe", "Network"),  # of a method
    *("Study", "open_study", "reproduce", "write_table"),  # of a study
}
"""Public names that several modules have, as each answers the same question."""


def test_no_two_modules_define_the_same_public_name():
    defined = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            for name in names:
                if not name.startswith("_") and name not in ASKED_OF_EACH:
                    defined.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in defined.items() if len(paths) > 1} == {}


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
        *(f"models/{path.stem}" for path in (PACKAGE / "models").glob("*.py")),
        *(f"methods/{path.stem}" for path in (PACKAGE / "methods").glob("*.py")),
        *(f"recipes/{path.stem}" for path in (PACKAGE / "recipes").glob("*.py")),
        *(f"backends/{path.stem}" for path in (PACKAGE / "backends").glob("*.py")),
        *(f"devices/{path.stem}" for path in (PACKAGE / "devices").glob("*.py")),
        "scoring/trained",
        "benchmark/step",
        "benchmark/score",
        "sound/presets",
    ],
)
def test_what_reads_no_records_does_not_import_tensorflow(name):
    assert not reachable(name) & {"tensorflow", "tensorflow_datasets"}


@pytest.mark.parametrize(
    "name",
    [
        "measures/metrics",
        "evaluation/score_files",
        "evaluation/results",
        "studies/published",
        "studies/figures",
        "studies/paper1_results",
        "studies/claims",
        "studies/paper2_tables",
        "report/markup",
        "backends/embeddings",
        "sound/audio",
        *(f"datasets/{path.stem}" for path in (PACKAGE / "datasets").glob("*.py")),
    ],
)
def test_files_and_measures_import_neither_jax_nor_tensorflow(name):
    assert not reachable(name) & {"jax", "flax", "optax", "tensorflow", "tensorflow_datasets"}


def test_the_rule_is_read_from_real_imports():
    assert "numpy" in reachable("measures/metrics") and "tensorflow" in reachable("records/store")
    assert set(sys.stdlib_module_names) >= {"os"} and "jax" in reachable("devices/steps")
