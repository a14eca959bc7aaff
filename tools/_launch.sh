#!/usr/bin/env bash
# _launch.sh TOOL CONFIG DEVICES [options]: runs a tool of this folder on several devices, or on several
# processes without a GPU. Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail

if [[ $# -lt 3 || ! $3 =~ ^[0-9]+$ ]]; then
    echo "usage: CONFIG DEVICES [options of tools/$1]; got: ${*:2}" >&2
    exit 2
fi
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$3" \
    "$(dirname "$0")/$1" "$2" --launcher pytorch "${@:4}"
