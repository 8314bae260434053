#!/usr/bin/env bash
# Build the root of an emulated Raspberry Pi 4 (Debian's 64-bit userland, Python, Pillow, both runtimes) in a folder:
#   deploy/pi/build.sh ROOT [PIP]
# Needs debootstrap and dpkg; PIP is a pip to fetch the aarch64 wheels with, in the versions of requirements.lock.
# A root that is there already, made by this script from these versions, is kept. Nothing in it is run as root.
set -euo pipefail
root=$1
pip=${2:-pip3}
here=$(cd "$(dirname "$0")" && pwd)
lock=$here/../../requirements.lock
runtimes=(numpy ai-edge-litert onnxruntime)

# What the lock says of the runtimes: each name with its version and the hashes that follow it.
wanted() {
  for name in "${runtimes[@]}"; do
    awk -v name="$name==" 'index($0, name) == 1 {on = 1} on {print} on && !/\\$/ {exit}' "$lock"
  done
}
made_from=$(cat "$0" <(wanted) | sha256sum)
if [ "$(cat "$root/.made-from" 2>/dev/null)" = "$made_from" ]; then exit 0; fi

command -v debootstrap >/dev/null || { echo "deploy/pi/build.sh: no debootstrap; run: make pi (as root)" >&2; exit 2; }
unfinished=$root.unfinished
rm -rf "$unfinished"
mkdir -p "$(dirname "$root")"
trap 'rm -rf "$unfinished"' EXIT

# The packages are unpacked, never configured: that would need to run them.
debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,python3-pil bookworm "$unfinished" >/dev/null
for package in "$unfinished"/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$unfinished"; done
rm -rf "$unfinished"/var/cache/apt/archives "$unfinished"/debootstrap

# Not in Python's own folder, so that a board without a runtime can be tried too: run.sh puts them on its path.
"$pip" install --quiet --target "$unfinished/opt/board" --no-deps --require-hashes --only-binary=:all: \
  --python-version 3.11 --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 -r <(wanted)

# Both runtimes look the CPU up in these files, and crash at start when they describe the host's.
cpus=$unfinished/sys/devices/system/cpu
mkdir -p "$cpus"
echo 0-3 | tee "$cpus/possible" "$cpus/present" "$cpus/online" >/dev/null
echo 255 >"$cpus/kernel_max"
for number in 0 1 2 3; do
  printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n' "$number"
  printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
done >"$unfinished/proc/cpuinfo"
printf 'Hardware\t: BCM2711\nRevision\t: c03111\nModel\t\t: Raspberry Pi 4 Model B Rev 1.1\n' >>"$unfinished/proc/cpuinfo"
printf 'MemTotal:        3884360 kB\n' >"$unfinished/proc/meminfo"
mkdir -p "$unfinished/proc/device-tree"
printf 'Raspberry Pi 4 Model B Rev 1.1\0' >"$unfinished/proc/device-tree/model"

echo "$made_from" >"$unfinished/.made-from"
rm -rf "$root"
mv "$unfinished" "$root"
