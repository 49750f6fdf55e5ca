"""Writing files that nobody ever sees half-written."""

from etils import epath


def write_atomically(path: epath.PathLike, content: str | bytes) -> None:
    """Writes a file, with its folder: readers see the old file or the whole new one."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)
