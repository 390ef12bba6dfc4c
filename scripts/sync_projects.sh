#!/usr/bin/env bash
# Copy this checkout to another machine or folder with rsync; shows what it would do unless told --go.
set -euo pipefail

usage() {
    cat <<TXT
Usage: scripts/sync_projects.sh [--go] [--delete] [--pull] TARGET

TARGET is a folder (/path/copy) or a folder on a machine (user@host:path/copy).
Without --go nothing is written: the list shows what would change.
  --go      do it
  --delete  also remove files at the receiving end that the sending end does not have
  --pull    the other way round: from TARGET into this checkout
Environments, caches and results (.venv .pixi .cache out runs data/cache ...) and .git stay behind.
TXT
}
die() { echo "sync_projects: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
go=no
delete=no
pull=no
target=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --go) go=yes ;;
        --delete) delete=yes ;;
        --pull) pull=yes ;;
        -*) echo "sync_projects: unknown option '$1'" >&2; usage >&2; exit 2 ;;
        *) [ -z "$target" ] || { echo "sync_projects: one TARGET, not '$target' and '$1'" >&2; exit 2; }; target=$1 ;;
    esac
    shift
done
[ -n "$target" ] || { usage >&2; exit 2; }
command -v rsync >/dev/null 2>&1 || die "rsync is not installed; install it here and at the other end (Debian: sudo apt-get install rsync)"

case $target in
    *:*) ;; # another machine: rsync says itself when it cannot be reached
    *)
        mkdir_hint=
        [ $go = yes ] || mkdir_hint=" (with --go it is made)"
        if [ -d "$target" ]; then
            resolved=$(cd "$target" && pwd)
            case $resolved/ in "$root"/*) die "'$target' lies in this checkout; choose a folder outside of it" ;; esac
            case $root/ in "$resolved"/*) die "this checkout lies in '$target'; choose its own folder for the copy" ;; esac
        elif [ $pull = yes ]; then die "there is no folder '$target' to pull from"
        elif [ $go = yes ]; then mkdir -p "$target" || die "cannot make '$target'"
        else echo "sync_projects: '$target' does not exist yet$mkdir_hint"; exit 0; fi ;;
esac

options=(--archive --itemize-changes --human-readable)
for name in .venv .pixi .cache .bootstrap.lock .git out runs data/cache __pycache__ .pytest_cache .ruff_cache .hypothesis .benchmarks \
    .import_linter_cache .coverage '.coverage.*' htmlcov .ipynb_checkpoints '*.egg-info' .DS_Store config/machine.yml; do
    case $name in */*) options+=(--exclude "/$name") ;; *) options+=(--exclude "$name") ;; esac
done
[ $go = yes ] || options+=(--dry-run)
from=$root/
to=${target%/}/
if [ $pull = yes ]; then from=${target%/}/; to=$root/; fi

# Count first, with deletion switched on and nothing written: what it would remove is said before anything happens.
doomed=$(rsync "${options[@]}" --dry-run --delete -- "$from" "$to" | grep -c '^\*deleting' || true)
if [ $delete = yes ]; then
    options+=(--delete)
elif [ "$doomed" -gt 0 ]; then
    echo "sync_projects: $doomed files exist only at the receiving end and stay; --delete removes them" >&2
fi
rsync "${options[@]}" -- "$from" "$to" || die "rsync failed; its message is above"
[ $go = yes ] || echo "sync_projects: nothing was written; repeat with --go to do it"
