#!/usr/bin/env bash
# Checks the other OpenMMLab stack, the originals, in an environment of its own (.venv-openmmlab): importing, inheriting
# from mmseg::, training, resuming, loading in stock MMSegmentation, and exchanging checkpoints with the fork.
# tools/test_stacks.sh [pytest arguments]; with --all the whole suite runs there.
# The first time it builds mmcv, whose wheel is kept for later.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
MMCSS_OTHER_PYTHON=$(bash tools/setup.sh) # the active environment, or .venv
unset VIRTUAL_ENV CONDA_PREFIX
# Without a GPU's toolkit to compile with: nothing here needs one.
PYTHON=$(bash tools/setup.sh --stack openmmlab --cpu)
export MMCSS_OTHER_PYTHON OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

selection=(-m stack)
if [ "${1:-}" = --all ]; then
    selection=()
    shift
fi
exec "$PYTHON" -m pytest -n logical --maxprocesses 8 --dist worksteal ${selection[@]+"${selection[@]}"} "$@"
