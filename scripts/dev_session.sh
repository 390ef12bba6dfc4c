#!/usr/bin/env bash
# One tmux session to work in: the pose API, the tests, a shell.
set -euo pipefail

usage() {
    cat <<TXT
Usage: scripts/dev_session.sh [--name NAME] [--port PORT] [--detached]

Opens (or comes back to) a tmux session with three windows:
  api    the pose API on 127.0.0.1:PORT (default 8001)
  tests  one run of the tests; start the next with the up arrow
  shell  a shell with this environment's programs on PATH
Leave it with C-b d; end it with 'tmux kill-session -t NAME' (default name: ai-ml-pipeline).
TXT
}
die() { echo "dev_session: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=ai-ml-pipeline
port=8001
attach=yes
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --name) name=${2:?--name needs a word}; shift 2 ;;
        --port) port=${2:?--port needs a number}; shift 2 ;;
        --detached) attach=no; shift ;;
        *) echo "dev_session: unknown word '$1'" >&2; usage >&2; exit 2 ;;
    esac
done
[[ $port =~ ^[0-9]+$ ]] && [ "$port" -ge 1 ] && [ "$port" -le 65535 ] || die "'$port' is not a port (1 to 65535)"
[[ $name =~ ^[A-Za-z0-9_-]+$ ]] || die "'$name' is not a session name: letters, digits, - and _ only"
command -v tmux >/dev/null 2>&1 ||
    die "tmux is not installed; install it (Debian: sudo apt-get install tmux, macOS: brew install tmux), or run 'make test' and 'make pose-api' in two terminals"

cd "$root"
if command -v pixi >/dev/null 2>&1; then
    api="pixi run pose-api 127.0.0.1 $port"
    shell='pixi shell'
else
    scripts/bootstrap || die "the environment could not be made; the reason is above"
    api=".venv/bin/python scripts/task.py pose-api 127.0.0.1 $port"
    shell='. .venv/bin/activate'
fi
if ! tmux has-session -t "=$name" 2>/dev/null; then
    tmux new-session -d -s "$name" -n api -c "$root"
    tmux send-keys -t "=$name:api" "$api" Enter
    tmux new-window -t "=$name" -n tests -c "$root"
    tmux send-keys -t "=$name:tests" 'make test' Enter
    tmux new-window -t "=$name" -n shell -c "$root"
    tmux send-keys -t "=$name:shell" "$shell" Enter
fi
if [ $attach = no ]; then
    echo "dev_session: '$name' runs; attach with: tmux attach -t $name"
elif [ -n "${TMUX:-}" ]; then
    tmux switch-client -t "=$name"
else
    tmux attach-session -t "=$name"
fi
