#!/usr/bin/env bash
# Train a scenario on several devices: tools/dist_train.sh CONFIG DEVICES [options of tools/train.py]
# Works without GPUs too; for several machines see tools/_launch.sh.
exec bash "$(dirname "$0")/_launch.sh" train.py "$@"
