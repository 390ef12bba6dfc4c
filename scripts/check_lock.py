"""Offline check that manifest, lock, requirements and pyproject files agree; exit 1 if they drift.

    python scripts/check_lock.py [--root FOLDER]

1. every line of config/requirements/*.in is met by every config/requirements/*.txt;
2. every third-party dependency of a projects/*/pyproject.toml is in every set, at a version it allows;
3. the sets hold the same releases, torch's CPU and CUDA builds and platform-only packages aside;
4. pixi.toml and pixi.lock name the same environments and platforms, each lock row has its record,
   each conda dependency is there, and Python packages that conda also supplies have the same version;
5. no tracked file names a host of a package registry (compared by hash, so this file names none).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
MARKERS = {
    "linux-64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    "osx-arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
}
STEMS = {"cpu-linux-64", "cuda-linux-64", "cpu-osx-arm64", "mps-osx-arm64"}
PYTHON = {
    "python_version": "3.11",
    "python_full_version": "3.11.15",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "extra": "",
}
PIN = re.compile(r"([a-z0-9-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)")
TORCH_URL = re.compile(
    r"(torch|torchvision) @ https://download\.pytorch\.org/whl/cpu/\1-([0-9.]+)%2Bcpu-cp311-\S+\.whl --hash=sha256:[0-9a-f]{64}"
)
# First 16 hex digits of sha256(host); a longer name ending in ".host" counts as well.
REGISTRY_HOSTS = {
    "1ba4e37997a2e986",
    "2e97613f5a81eaa4",
    "3ca29e55be4befa4",
    "6f43afdf2d19b5e3",
    "8743857e3ea00fd1",
    "87d14f070cb96869",
    "8b5bb5eb9d758455",
    "a4aa2ac280bb8d1a",
    "c2b35955576ffa71",
    "d6d7019ca9fcbf07",
    "e680c440a2e92079",
}
CHANNEL = "https://conda.anaconda.org/conda-forge/"
SHARED_WITH_CONDA = {"pip", "setuptools", "wheel", "packaging"}
HOST = re.compile(rb"(?<![\w.-])(?:[a-z0-9-]+\.)+[a-z]{2,6}(?![\w-])", re.IGNORECASE)


Sets = dict[str, dict[str, str]]
"""Stem of a requirements file -> package -> version."""


def load_sets(root: Path, errors: list[str]) -> Sets:
    sets: Sets = {}
    for path in sorted((root / "config" / "requirements").glob("*.txt")):
        if path.stem == "excludes":
            continue
        pins: dict[str, str] = {}
        lines = path.read_text().splitlines()
        if lines != sorted(lines):
            errors.append(f"{path.name}: lines are not sorted; run the lock task")
        for line in lines:
            match = PIN.fullmatch(line) or TORCH_URL.fullmatch(line)
            if not match:
                errors.append(f"{path.name}: not a pinned, hashed line: {line[:80]}")
            elif match[1] in pins:
                errors.append(f"{path.name}: {match[1]} twice")
            else:
                pins[match[1]] = match[2]
        sets[path.stem] = pins
    return sets


def read_list(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def wanted_requirements(root: Path, errors: list[str]) -> list[tuple[str, Requirement]]:
    """Every third-party requirement with the file that asks for it."""
    projects = {path: tomllib.loads(path.read_text())["project"] for path in sorted(root.glob("projects/*/pyproject.toml"))}
    own = {canonicalize_name(project["name"]) for project in projects.values()}
    wanted = [
        (f"config/requirements/{path.name}", text)
        for path in sorted((root / "config" / "requirements").glob("*.in"))
        for text in read_list(path)
    ]
    for path, project in projects.items():
        where = str(path.relative_to(root))
        texts = list(project.get("dependencies", []))
        texts += [text for group in project.get("optional-dependencies", {}).values() for text in group]
        wanted += [(where, text) for text in texts]
        admitted = project.get("requires-python")
        if admitted is None or not Requirement(f"python{admitted}").specifier.contains(PYTHON["python_full_version"]):
            errors.append(f"{where}: requires-python {admitted!r} does not admit 3.11")
    requirements = [(where, Requirement(text)) for where, text in wanted]
    return [(where, need) for where, need in requirements if canonicalize_name(need.name) not in own]


def check_requirements(root: Path, sets: Sets, errors: list[str]) -> None:
    waived = {canonicalize_name(name) for name in read_list(root / "config/requirements/excludes.txt")}
    for where, need in wanted_requirements(root, errors):
        name = canonicalize_name(need.name)
        if name in waived:
            errors.append(f"{where}: {name} is listed in config/requirements/excludes.txt")
        for stem, pins in sets.items():
            subdir = stem.split("-", 1)[1]
            if subdir in MARKERS and need.marker and not need.marker.evaluate(PYTHON | MARKERS[subdir]):
                continue
            if name not in pins:
                errors.append(f"{where}: {name} is not in config/requirements/{stem}.txt")
            elif not need.specifier.contains(pins[name], prereleases=True):
                errors.append(f"{where}: {need} is not met by {name} {pins[name]} in config/requirements/{stem}.txt")


def check_sets(sets: Sets, errors: list[str]) -> None:
    if set(sets) != STEMS:
        errors.append(f"config/requirements/: the sets are {sorted(sets)}, expected {sorted(STEMS)}")
    first: dict[str, tuple[str, str]] = {}
    for stem, pins in sets.items():
        for name, version in pins.items():
            other, there = first.setdefault(name, (version, stem))
            if other != version:
                errors.append(f"{name} is {version} in {stem} and {other} in {there}")
    for name in first:
        missing = [stem for stem, pins in sets.items() if name not in pins]
        cuda_only = re.match(r"nvidia-|cuda-|triton$", name) and missing == [s for s in sets if s != "cuda-linux-64"]
        one_subdir = len({stem.split("-", 1)[1] for stem in sets if stem not in missing}) == 1 and len(missing) == 2
        if missing and not cuda_only and not one_subdir:
            errors.append(f"{name} is missing from {', '.join(missing)}")


def named_platforms(manifest: dict[str, Any]) -> list[dict[str, str]]:
    """Platforms of pixi.toml with the alias the lock gives them: p1, p2, ... where name and subdir differ."""
    platforms, ordinal = [], 0
    for entry in manifest["workspace"]["platforms"]:
        platform = {"name": entry, "platform": entry} if isinstance(entry, str) else dict(entry)
        own_name = platform["name"] != platform["platform"]
        ordinal += own_name
        platform["alias"] = f"p{ordinal}" if own_name else platform["name"]
        platforms.append(platform)
    return platforms


def check_platforms(lock: dict[str, Any], platforms: list[dict[str, str]], errors: list[str]) -> None:
    locked = {row["name"]: row for row in lock["platforms"]}
    if {(name, row.get("subdir", name)) for name, row in locked.items()} != {(p["alias"], p["platform"]) for p in platforms}:
        errors.append("pixi.lock: platforms differ from pixi.toml")
    for platform in platforms:
        listed = locked.get(platform["alias"], {}).get("virtual-packages", [])
        for key, virtual in (("cuda", "__cuda"), ("macos", "__osx"), ("glibc", "__glibc")):
            if key in platform and f"{virtual}={platform[key]}" not in listed:
                errors.append(f"pixi.lock: {platform['name']}: {virtual}={platform[key]} is not what is locked")


def check_rows(where: str, urls: list[str], records: dict[str, Any], asked: dict[str, str], errors: list[str]) -> dict[str, str]:
    """Rows of one environment on one platform have records, and what they and the manifest need is there."""
    there: dict[str, str] = {}
    needs = set(asked)
    for url in urls:
        package, version, _ = url.rsplit("/", 1)[1].rsplit("-", 2)
        there[package] = version
        record = records.get(url, {})
        needs |= {spec.split()[0] for spec in record.get("depends", [])}
        if not url.startswith(CHANNEL) or not re.fullmatch(r"[0-9a-f]{64}", str(record.get("sha256"))):
            errors.append(f"pixi.lock: {where}: no record for {url}")
    errors.extend(f"pixi.lock: {where}: {need} is not locked" for need in sorted(needs - set(there)) if not need.startswith("__"))
    if not there.get("python", "").startswith(asked["python"].removesuffix("*")):
        errors.append(f"pixi.lock: {where}: python {there.get('python')} is not {asked['python']}")
    return there


def check_environments(manifest: dict[str, Any], lock: dict[str, Any], sets: Sets, errors: list[str]) -> None:
    platforms = named_platforms(manifest)
    check_platforms(lock, platforms, errors)
    records = {record["conda"]: record for record in lock["packages"] if "conda" in record}
    used: set[str] = set()
    if set(lock["environments"]) != {"default", *manifest["environments"]}:
        errors.append("pixi.lock: environments differ from pixi.toml")
    for name, locked in lock["environments"].items():
        entry = manifest["environments"].get(name, {"features": []})
        features = entry["features"] if isinstance(entry, dict) else entry
        allowed = [p for p in platforms if all(p["name"] in manifest["feature"].get(f, {}).get("platforms", [p["name"]]) for f in features)]
        if set(locked["packages"]) != {p["alias"] for p in allowed}:
            errors.append(f"pixi.lock: {name}: platforms differ from pixi.toml")
        for platform in allowed:
            urls = [row["conda"] for row in locked["packages"].get(platform["alias"], []) if "conda" in row]
            used.update(urls)
            asked = manifest["dependencies"] | manifest.get("target", {}).get(platform["platform"], {}).get("dependencies", {})
            there = check_rows(f"{name}/{platform['name']}", urls, records, asked, errors)
            for stem, pins in sets.items():
                errors.extend(
                    f"{package}: conda has {there[package]}, config/requirements/{stem}.txt {pins[package]}; run the lock task"
                    for package in sorted(set(there) & set(pins) & SHARED_WITH_CONDA)
                    if Version(there[package]) != Version(pins[package])
                )
    if used != set(records):
        errors.append(f"pixi.lock: records that no environment uses, or the reverse: {sorted(used ^ set(records))[:3]}")


def check_pixi(root: Path, sets: Sets, errors: list[str]) -> None:
    manifest = tomllib.loads((root / "pixi.toml").read_text())
    text = (root / "pixi.lock").read_text()
    lock = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if lock.get("version") != 7 or "- pypi:" in text or re.search(r"^\s*(indexes|purls):", text, re.MULTILINE):
        errors.append("pixi.lock: expected version 7 with conda rows only, no indexes and no purls")
    check_environments(manifest, lock, sets, errors)
    for table in [manifest, *manifest["feature"].values()]:
        if "pypi-dependencies" in table:
            errors.append("pixi.toml: Python libraries belong in config/requirements/*.in, not in pypi-dependencies")
        for part in [table, *table.get("target", {}).values()]:
            path = part.get("activation", {}).get("env", {}).get("POSE_REQUIREMENTS")
            if path and not (root / path).is_file():
                errors.append(f"pixi.toml: {path} does not exist")


def tracked_files(root: Path) -> list[Path]:
    listing = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    git = subprocess.run(listing, capture_output=True, check=False)
    if git.returncode == 0:
        return [root / name for name in git.stdout.decode().split("\0") if name]
    skip = {".venv", ".pixi", ".git", ".cache", "node_modules"}
    return [path for path in root.rglob("*") if path.is_file() and not skip & set(path.relative_to(root).parts)]


def is_registry(host: bytes) -> bool:
    parts = host.split(b".")
    tails = (b".".join(parts[i:]) for i in range(len(parts) - 1))
    return any(hashlib.sha256(tail).hexdigest()[:16] in REGISTRY_HOSTS for tail in tails)


def check_hosts(root: Path, errors: list[str]) -> None:
    seen: dict[bytes, bool] = {}
    for path in tracked_files(root):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.splitlines(), 1):
            for host in HOST.findall(line) if b"." in line else ():
                host = host.lower()
                if host not in seen:
                    seen[host] = is_registry(host)
                if seen[host]:
                    errors.append(f"{path.relative_to(root)}:{number}: names a host of a package registry")


def check(root: Path) -> tuple[list[str], Sets]:
    """Everything that drifted in the workspace at `root`, one sentence each, and the sets that were read."""
    errors: list[str] = []
    sets = load_sets(root, errors)
    check_requirements(root, sets, errors)
    check_sets(sets, errors)
    check_pixi(root, sets, errors)
    check_hosts(root, errors)
    return errors, sets


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="workspace to check (default: this one)")
    errors, sets = check(parser.parse_args().root)
    print("\n".join(errors) if errors else f"ok: {len(sets)} sets, {len(set().union(*sets.values()))} packages")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
