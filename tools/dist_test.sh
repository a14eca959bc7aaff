#!/usr/bin/env bash
# Evaluate the steps of a run on several devices: tools/dist_test.sh CONFIG DEVICES [options of tools/test.py]
# Works without GPUs too; for several machines see tools/_launch.sh.
exec bash "$(dirname "$0")/_launch.sh" test.py "$@"
