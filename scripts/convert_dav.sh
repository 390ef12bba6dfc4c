#!/usr/bin/env bash
# Convert every recording of a folder into MP4.
set -euo pipefail
# The command catches Ctrl-C to keep what it has; the loop must end all the same.
trap "exit 130" INT

usage() {
  cat <<'TEXT'
Usage: scripts/convert_dav.sh [--dry-run] [--ext EXT]... [--crf N] SOURCE_FOLDER TARGET_FOLDER

Converts every .dav recording under SOURCE_FOLDER into an MP4 under TARGET_FOLDER, in the same sub-folders.
H.264 and HEVC are copied without loss; all else is encoded anew. What is there already is skipped, so an
interrupted run is resumed by starting it again. A recording that cannot be converted does not stop the others.

  --dry-run   Show what would be converted, and do nothing.
  --ext EXT   Convert files with this extension instead of .dav; may be given several times.
  --crf N     Quality when encoding, 0 (lossless) to 51; default 23.
  -h, --help  Show this.

Exit: 0 all is converted, 1 some failed, 2 wrong arguments.
POSE_ANALYZER names the command to call; default: pose-analyzer.
TEXT
}

complain() {
  echo "convert_dav.sh: $1" >&2
  [ "${2:-}" = usage ] && usage >&2
  exit 2
}

dry_run=false
crf=23
extensions=()
folders=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --dry-run) dry_run=true ;;
    --ext) [ $# -gt 1 ] || complain "--ext needs an extension" usage; extensions+=("${2#.}"); shift ;;
    --crf) [ $# -gt 1 ] || complain "--crf needs a number" usage; crf=$2; shift ;;
    -*) complain "unknown option $1" usage ;;
    *) folders+=("$1") ;;
  esac
  shift
done
[ ${#folders[@]} -eq 2 ] || complain "a source folder and a target folder are needed" usage
source_folder=${folders[0]%/}
target_folder=${folders[1]%/}
[ -d "$source_folder" ] || complain "$source_folder: no such folder"
[ ${#extensions[@]} -gt 0 ] || extensions=(dav)
read -r -a command <<<"${POSE_ANALYZER:-pose-analyzer}"
$dry_run || command -v "${command[0]}" >/dev/null || complain "${command[0]}: not found; activate the environment first"

pattern=()
for extension in "${extensions[@]}"; do
  [ ${#pattern[@]} -eq 0 ] || pattern+=(-o)
  pattern+=(-iname "*.$extension")
done

converted=0 skipped=0 failed=0
while IFS= read -r -d '' recording; do
  relative=${recording#"$source_folder"/}
  target=$target_folder/${relative%.*}.mp4
  if [ -e "$target" ]; then
    skipped=$((skipped + 1))
    continue
  fi
  if $dry_run; then
    echo "$recording -> $target"
    converted=$((converted + 1))
    continue
  fi
  # Of a damaged recording the command keeps what it can and says so by its exit code; the file counts.
  mkdir -p "$(dirname "$target")"
  "${command[@]}" convert "$recording" --out "$target" --crf "$crf" </dev/null || true
  if [ -e "$target" ]; then
    converted=$((converted + 1))
  else
    echo "convert_dav.sh: $recording could not be converted" >&2
    failed=$((failed + 1))
  fi
done < <(find "$source_folder" -type f \( "${pattern[@]}" \) -print0 | LC_ALL=C sort -z)

if $dry_run; then
  echo "$converted would be converted, $skipped already there"
else
  echo "$converted converted, $skipped already there, $failed failed"
fi
[ "$failed" -eq 0 ]
