"""What all commands share: flag parsing, and a mistake told in one sentence instead of a traceback."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from asd_jax.errors import UserError


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags and runs `main`; a person's mistake ends in one sentence and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported, which commands do in `main`
    app.run(lambda _: _tell(main), flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    rest = _tell(lambda: flags.FLAGS(argv))
    logging.set_verbosity(logging.WARNING)  # Orbax tells every small step
    return rest


def _tell(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (UserError, flags.Error) as error:
        sentence = str(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sentence = f"No space left on the device while writing {error.filename or 'output'}: free some and run the command again."
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    print(f"Error: {sentence}", file=sys.stderr)
    sys.exit(2)
