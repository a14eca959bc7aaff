#!/usr/bin/env bash
# Checks the code without running it: ruff (slips, style) and mypy (types), setting up first where needed.
# Both are set in pyproject.toml, their versions in setup.py. tools/check.sh ruff|mypy runs one of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/_env.sh

case ${1:-} in
    ruff) "$PYTHON" -m ruff check ;;
    mypy) "$PYTHON" -m mypy ;;
    '') "$PYTHON" -m ruff check && "$PYTHON" -m mypy ;;
    *) echo "tools/check.sh: got '$1', expected ruff, mypy or nothing" >&2 && exit 2 ;;
esac
