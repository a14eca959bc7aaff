# Sourced by the scripts here: sets PYTHON to the python that has mmcss, setting it up first where that is needed.
PYTHON=$(bash "$(dirname "${BASH_SOURCE[0]}")/setup.sh")
