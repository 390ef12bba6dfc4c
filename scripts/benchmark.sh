#!/usr/bin/env bash
# Run the benchmarks and keep what they print and write under out/bench, one folder per run.
set -euo pipefail

usage() {
    cat <<TXT
Usage: scripts/benchmark.sh [--label WORD] [-- WORDS FOR THE BENCHMARK]

Runs 'make bench' and keeps out/bench/DATE[-WORD]/ with the printed table (bench.txt), the JSON files
the run wrote, the machine profile (machine.yml) and the commit that was measured (commit.txt).
TXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
label=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --label) label=${2:?--label needs a word}; shift 2 ;;
        --) shift; break ;;
        *) echo "benchmark: unknown word '$1'" >&2; usage >&2; exit 2 ;;
    esac
done
[[ $label =~ ^[A-Za-z0-9._-]*$ ]] || { echo "benchmark: a label has letters, digits, '.', '_' and '-' only" >&2; exit 2; }

cd "$root"
folder=out/bench/$(date -u +%Y-%m-%dT%H%M%SZ)${label:+-$label}
[ ! -e "$folder" ] || { echo "benchmark: $folder exists already" >&2; exit 1; }
mkdir -p "$folder"
{
    git rev-parse HEAD 2>/dev/null || echo 'not a git checkout'
    git status --short 2>/dev/null || true
} >"$folder/commit.txt"
make --no-print-directory detect-gpu ARGS="--output $folder/machine.yml" >/dev/null || echo "benchmark: no machine profile this time" >&2
: >"$folder/.begun"
status=0
make --no-print-directory bench ARGS="$*" 2>&1 | tee "$folder/bench.txt" || status=$?
find out -maxdepth 2 -name '*.json' -newer "$folder/.begun" -path '*bench*' -exec cp {} "$folder/" \;
rm -f "$folder/.begun"
echo "benchmark: kept in $folder"
exit "$status"
