#!/usr/bin/env bash
# Installs what the tests need into .venv and runs the linter and the tests. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup.sh" '[test]'
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" # files side by side: most tests use one core
