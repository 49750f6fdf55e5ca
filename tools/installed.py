"""Imported first by every command: one sentence where the package is not installed for this Python."""

import importlib.util
import os
import sys

if importlib.util.find_spec("asd_jax") is None or importlib.util.find_spec("jax") is None:
    os.write(
        2,
        "Error: asd_jax is not installed for {}, Python {}.{}: run 'bash tools/setup.sh' once, and then "
        "'source .venv/bin/activate'.\n".format(sys.executable, *sys.version_info[:2]).encode(),
    )
    sys.exit(2)
