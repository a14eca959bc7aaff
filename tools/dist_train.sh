#!/usr/bin/env bash
# Train a scenario on several devices, or on several processes without a GPU:
#   tools/dist_train.sh CONFIG DEVICES [options of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail

CONFIG=$1
DEVICES=$2

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$DEVICES" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
