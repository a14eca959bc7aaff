#!/usr/bin/env bash
# Runs the tests, setting up first where needed: tools/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/_env.sh

# One worker per core, one thread per worker; later arguments win, as in: tools/test.sh -n 0
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$PYTHON" -m pytest -n logical --maxprocesses 8 --dist worksteal "$@"
