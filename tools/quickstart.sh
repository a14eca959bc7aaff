#!/usr/bin/env bash
# From nothing to results: sets up, makes a small data set, trains fine-tuning
# and PLOP through four steps, evaluates, and draws what they predict.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/_env.sh

DATA=data/shapes8
RUNS=work_dirs/quickstart
PICTURE=$RUNS/predictions.png
start=$SECONDS

say() { echo "[quickstart] $*"; }
train() { # method, further options of tools/train.py
    "$PYTHON" -W ignore tools/train.py "configs/$1/deeplabv3_r101_voc_15-1.py" --scenario shapes8_5-1 \
        --model deeplabv3_r18_scratch --work-dir "$RUNS/$1" --resume "${@:2}"
}

say "1/4 generated data: $DATA"
"$PYTHON" tools/make_shapes.py --out $DATA
say "2/4 fine-tuning: 5 classes, then 3 more one by one"
train finetune
say "3/4 PLOP: the same steps, from the same first step"
train plop --first-step-from $RUNS/finetune
say "4/4 results"
"$PYTHON" tools/compare.py --framed finetune=$RUNS/finetune plop=$RUNS/plop
"$PYTHON" -W ignore tools/show.py $PICTURE --classes-json $DATA/classes.json \
    --images $DATA/images/val/0000[0-3].jpg --labels $DATA/labels/val/0000[0-3].png \
    --runs finetune=$RUNS/finetune plop=$RUNS/plop
say "done in $((SECONDS - start)) s: numbers in $RUNS/*/results.json, picture in $PICTURE"
