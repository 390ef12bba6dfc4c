#!/usr/bin/env bash
# Choose the accelerator that this checkout's environment is made for: cpu, cuda or mps.
set -euo pipefail

usage() {
    cat <<TXT
Usage: scripts/switch_env.sh cpu|cuda|mps
       scripts/switch_env.sh --show

Brings the environment to the hashed set of that accelerator and keeps the choice, so that every
later 'make' uses it. With pixi on PATH it is pixi's environment of that name, else .venv.
  cpu    Linux x86_64 and macOS arm64; no GPU needed
  cuda   Linux x86_64 with an NVIDIA driver for CUDA 13
  mps    macOS 14 or newer on Apple silicon
TXT
}
die() { echo "switch_env: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
choice=${1:-}
case $choice in
    -h | --help) usage; exit 0 ;;
    --show)
        if [ -f "$root/.cache/environment.mk" ]; then sed -n 's/^POSE_SET ?= //p' "$root/.cache/environment.mk"
        elif [ -f "$root/.venv/.pose-stamp" ]; then head -n 1 "$root/.venv/.pose-stamp" | cut -d- -f1
        else echo cpu; fi
        exit 0 ;;
    cpu | cuda | mps) ;;
    '') usage >&2; exit 2 ;;
    *) echo "switch_env: '$choice' is none of cpu, cuda, mps" >&2; exit 2 ;;
esac
[ $# -eq 1 ] || { usage >&2; exit 2; }

system=$(uname -s)
case $choice-$system in
    cuda-Darwin) die "there is no CUDA on macOS; choose mps or cpu" ;;
    mps-Linux) die "Metal (mps) exists on macOS only; choose cuda or cpu" ;;
esac
if [ "$choice" = cuda ] && ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
    echo "switch_env: no NVIDIA GPU answers here; the CUDA set will run on the CPU" >&2
fi

cd "$root"
if command -v pixi >/dev/null 2>&1; then
    pixi run -e "$choice" validate-env || die "pixi could not make the environment '$choice'; its message is above"
else
    POSE_SET=$choice scripts/bootstrap || die "the environment is unchanged or incomplete; the reason is above"
    .venv/bin/python scripts/validate_env.py --no-import || die "the environment differs from the locked set; see above"
fi
mkdir -p .cache
printf 'POSE_SET ?= %s\n' "$choice" >.cache/environment.mk
echo "switch_env: this checkout now uses $choice"
