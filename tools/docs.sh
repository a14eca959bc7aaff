#!/usr/bin/env bash
# Builds the documentation as a site into site/, setting up first where needed; a warning is an error.
# tools/docs.sh [arguments of mkdocs], such as: tools/docs.sh serve
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/_env.sh

[ $# -gt 0 ] || set -- build --strict --quiet
export NO_MKDOCS_2_WARNING=1 # the theme's notice of a future version
exec "$PYTHON" -m mkdocs "$@"
