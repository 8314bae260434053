#!/usr/bin/env bash
# Run a command in the emulated Raspberry Pi that build.sh made, in FOLDER, which it sees as /board:
#   deploy/pi/run.sh ROOT FOLDER COMMAND...
# The variables of the host stay outside. PI_PYTHONPATH is the PYTHONPATH inside; without it both runtimes are on it.
# Times measured in here say nothing about a board.
# proot translates paths and starts every program of the Pi, children too, in QEMU; it needs no privilege.
set -euo pipefail
root=$1 folder=$2
shift 2
exec env -i HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 PYTHONPATH="${PI_PYTHONPATH-/opt/board}" \
  proot -q "qemu-aarch64-static -cpu cortex-a72" -r "$root" -b "$folder:/board" -b /dev -w /board "$@"
