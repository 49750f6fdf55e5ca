"""Everything that is looked at, a line for each; what breaks is a line too."""

import json
import pathlib
from collections.abc import Callable, Iterator

from asd_jax.base.errors import UserError
from asd_jax.doctor import folders, machine
from asd_jax.doctor.finding import WRONG, Finding


def examine(data_dir: str | None = None, workdir: str | None = None) -> Iterator[Finding]:
    """Everything that is found, as it is found.

    Args:
        data_dir: of prepared data; the one that the workdir names where None.
        workdir: of a training that is to begin or to continue.
    """
    data_dir = data_dir or _data_dir_of(workdir)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("packages", machine.packages),
        ("environment", machine.environment),
        ("devices", machine.devices),
        ("TensorFlow", machine.tensorflow),
        ("memory", lambda: machine.memory(data_dir)),
        ("processors", machine.processors),
        ("allocator", machine.allocator),
        ("compilation cache", folders.caches),
        ("disk", lambda: folders.disk(data_dir, workdir)),
        ("clock", lambda: folders.clock(data_dir, workdir)),
        ("records", lambda: folders.records(data_dir)),
        ("workdir", lambda: folders.workdir(workdir)),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except UserError as error:
            yield Finding(WRONG, subject, str(error))
        except Exception as error:  # whatever a broken installation raises
            sentence = " ".join(str(error).split())[:300]
            yield Finding(WRONG, subject, f"{type(error).__name__}: {sentence}", "install again: bash tools/setup.sh")


def format_line(finding: Finding) -> str:
    """As it is printed."""
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{finding.level:<8}{finding.subject:<18}{finding.found}{advice}"


def _data_dir_of(workdir: str | None) -> str | None:
    try:
        return json.loads(pathlib.Path(workdir or "", "config.json").read_text())["data_dir"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # `_workdir` says why
