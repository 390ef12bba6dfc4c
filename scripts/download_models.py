"""Fetch model weights into the cache folder, each checked against its SHA-256.

    python scripts/download_models.py --list             what there is: size, licence, whether it is here
    python scripts/download_models.py NAME ...           fetch these
    python scripts/download_models.py --all-permissive   fetch everything under a permissive licence

An interrupted download goes on from where it stopped; a file with a wrong hash is deleted and never
used. Nothing here is needed for the default pose detector: its weights come with an installed package.
Exit code: 0 all are there, 1 at least one could not be fetched (the others were), 2 wrong words, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from shared_utils.errors import ModelError
from shared_utils.models import ModelEntry, fetch, find_model, list_models, models_dir

PERMISSIVE = frozenset({"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC"})


def rows(entries: Sequence[ModelEntry], folder: Path | None) -> list[dict[str, Any]]:
    """What the list shows of each model."""
    found = []
    for entry in entries:
        problem, path = None, None
        try:
            path = str(find_model(entry, folder=folder))
        except ModelError as error:
            problem = str(error)
        found.append(
            {
                "name": entry.name,
                "task": str(entry.task),
                "size_bytes": entry.size_bytes,
                "licence": entry.licence,
                "permissive": entry.licence in PERMISSIVE,
                "sha256": entry.sha256,
                "url": entry.url,
                "path": path,
                "problem": problem,
            }
        )
    return found


def state(row: dict[str, Any]) -> str:
    if row["path"]:
        return "yes"
    return "no" if row["url"] else "no address"


def show(listed: list[dict[str, Any]], console: Console) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "MB", "licence", "here", "task"):
        table.add_column(title, justify="right" if title == "MB" else "left", no_wrap=True)
    for row in listed:
        size = f"{row['size_bytes'] / 1e6:.1f}" if row["size_bytes"] else "?"
        table.add_row(row["name"], size, row["licence"], state(row), row["task"])
    console.print(table)
    console.print(f"{sum(bool(row['path']) for row in listed)} of {len(listed)} are here; new ones go to {models_dir()}", soft_wrap=True)


def fetch_all(
    entries: Sequence[ModelEntry],
    console: Console,
    *,
    folder: Path | None,
    force: bool,
    get: Callable[..., Path] = fetch,
) -> int:
    """Fetch one after the other; a failure is told and the next one is tried. Returns how many failed."""
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        for entry in entries:
            bar = bars.add_task(entry.name, total=entry.size_bytes)

            def advance(done: int, total: int | None, bar: Any = bar) -> None:
                bars.update(bar, completed=done, total=total)

            try:
                path = get(entry, progress=advance, folder=folder, force=force)
            except ModelError as error:
                failed += 1
                bars.remove_task(bar)
                bars.print(f"failed: {error}", style="red", markup=False, soft_wrap=True)
                continue
            size = path.stat().st_size
            bars.update(bar, completed=size, total=size)
            licence = entry.licence if entry.licence in PERMISSIVE else f"{entry.licence}: read it before you use this in a product"
            bars.print(f"{entry.name}: {path} ({licence})", markup=False, soft_wrap=True)
    return failed


def chosen(names: Sequence[str], all_permissive: bool, entries: Sequence[ModelEntry], parser: argparse.ArgumentParser) -> list[ModelEntry]:
    known = {entry.name: entry for entry in entries}
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}; there are: {', '.join(known)}")
    wanted = [known[name] for name in dict.fromkeys(names)]
    if all_permissive:
        wanted += [e for e in entries if e.is_downloadable and e.licence in PERMISSIVE and e not in wanted]
    return wanted


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to fetch, as --list names them")
    parser.add_argument("--list", action="store_true", help="show every known model and stop")
    parser.add_argument("--all-permissive", action="store_true", help=f"fetch all under {', '.join(sorted(PERMISSIVE))}")
    parser.add_argument("--folder", type=Path, help="keep files here (default: $POSE_MODELS_DIR or the user's cache)")
    parser.add_argument("--force", action="store_true", help="download even what is here and right")
    parser.add_argument("--json", action="store_true", help="with --list: print JSON")
    arguments = parser.parse_args(words)
    entries = list_models()
    if arguments.list:
        listed = rows(entries, arguments.folder)
        if arguments.json:
            print(json.dumps(listed, indent=2))
        else:
            show(listed, Console())
        return 0
    wanted = chosen(arguments.names, arguments.all_permissive, entries, parser)
    if not wanted:
        parser.error("name a model, or use --all-permissive or --list")
    failed = fetch_all(wanted, Console(stderr=True), folder=arguments.folder, force=arguments.force)
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; run the same command to go on", file=sys.stderr)
        sys.exit(130)
