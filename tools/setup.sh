# Sourced by the other scripts: makes .venv where there is none, and installs the project into it (with the extras in $1).
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONDONTWRITEBYTECODE # without compiled files every command would start half a minute later
installed=.venv/installed.$(cksum <pyproject.toml | tr ' ' -)
if ! [ -e "$installed${1:-}" ]; then
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --editable ".${1:-}"
  .venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null || true
  touch "$installed" "$installed${1:-}"
fi
