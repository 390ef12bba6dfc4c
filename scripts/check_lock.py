"""Offline check that manifest, lock, requirements and pyproject files agree; exit 1 if they drift.

1. every line of config/requirements/*.in is met by every config/requirements/*.txt;
2. every third-party dependency of a projects/*/pyproject.toml is in every set, at a version it allows;
3. the sets hold the same releases, torch's CPU and CUDA builds and platform-only packages aside;
4. pixi.toml and pixi.lock name the same environments and platforms, each lock row has its record,
   each conda dependency is there, and Python packages that conda also supplies have the same version;
5. no tracked file names a host of a package registry (compared by hash, so this file names none).
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
MARKERS = {
    "linux-64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    "osx-arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
}
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
HOST = re.compile(rb"(?<![\w.-])(?:[a-z0-9-]+\.)+[a-z]{2,6}(?![\w-])", re.IGNORECASE)


def load_sets(errors: list[str]) -> dict[str, dict[str, str]]:
    sets: dict[str, dict[str, str]] = {}
    for path in sorted((ROOT / "config" / "requirements").glob("*.txt")):
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


def check_requirements(sets: dict[str, dict[str, str]], errors: list[str]) -> None:
    waived = {canonicalize_name(name) for name in read_list(ROOT / "config/requirements/excludes.txt")}
    projects = {p: tomllib.loads(p.read_text())["project"] for p in sorted(ROOT.glob("projects/*/pyproject.toml"))}
    own = {canonicalize_name(project["name"]) for project in projects.values()}
    wanted: list[tuple[str, str]] = []
    for path in sorted((ROOT / "config" / "requirements").glob("*.in")):
        wanted += [(f"config/requirements/{path.name}", line) for line in read_list(path)]
    for path, project in projects.items():
        where = str(path.relative_to(ROOT))
        texts = list(project.get("dependencies", []))
        texts += [text for group in project.get("optional-dependencies", {}).values() for text in group]
        wanted += [(where, text) for text in texts]
        if project.get("requires-python") is None or not Requirement(f"python{project['requires-python']}").specifier.contains("3.11.15"):
            errors.append(f"{where}: requires-python {project.get('requires-python')!r} does not admit 3.11")
    for where, text in wanted:
        need = Requirement(text)
        name = canonicalize_name(need.name)
        if name in own:
            continue
        if name in waived:
            errors.append(f"{where}: {name} is listed in config/requirements/excludes.txt")
        for stem, pins in sets.items():
            if need.marker and not need.marker.evaluate(PYTHON | MARKERS[stem.split("-", 1)[1]]):
                continue
            if name not in pins:
                errors.append(f"{where}: {name} is not in config/requirements/{stem}.txt")
            elif not need.specifier.contains(pins[name], prereleases=True):
                errors.append(f"{where}: {text} is not met by {name} {pins[name]} in config/requirements/{stem}.txt")


def check_sets(sets: dict[str, dict[str, str]], errors: list[str]) -> None:
    if set(sets) != {"cpu-linux-64", "cuda-linux-64", "cpu-osx-arm64", "mps-osx-arm64"}:
        errors.append(f"config/requirements/: unexpected sets {sorted(sets)}")
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


def check_pixi(sets: dict[str, dict[str, str]], errors: list[str]) -> None:
    manifest = tomllib.loads((ROOT / "pixi.toml").read_text())
    text = (ROOT / "pixi.lock").read_text()
    head, _, body = text.partition("\npackages:\n")
    if not head.startswith("version: 7\n") or "- pypi:" in text or re.search(r"^\s*(indexes|purls):", text, re.MULTILINE):
        errors.append("pixi.lock: expected version 7 with conda rows only, no indexes and no purls")
    platforms = [{"name": p, "platform": p} if isinstance(p, str) else p for p in manifest["workspace"]["platforms"]]
    alias, ordinal = {}, 0
    for platform in platforms:
        ordinal += platform["name"] != platform["platform"]
        alias[platform["name"]] = platform["name"] if platform["name"] == platform["platform"] else f"p{ordinal}"
    locked_platforms = re.findall(r"^- name: (\S+)(?:\n  subdir: (\S+))?\n  virtual-packages:\n((?:  - .*\n)+)", head + "\n", re.MULTILINE)
    if {(n, s or n) for n, s, _ in locked_platforms} != {(alias[p["name"]], p["platform"]) for p in platforms}:
        errors.append("pixi.lock: platforms differ from pixi.toml")
    for platform in platforms:
        listed = next((v for n, _, v in locked_platforms if n == alias[platform["name"]]), "")
        for key, virtual in (("cuda", "__cuda"), ("macos", "__osx"), ("glibc", "__glibc")):
            if key in platform and f"- {virtual}={platform[key]}\n" not in listed:
                errors.append(f"pixi.lock: {platform['name']}: {virtual}={platform[key]} is not what is locked")
    records = {url: block for url, block in re.findall(r"^- conda: (\S+)\n((?:  .*\n?)+)", body, re.MULTILINE)}
    used: set[str] = set()
    environments = dict(re.findall(r"^  ([a-z0-9-]+):\n((?:    .*\n)+)", head.partition("\nenvironments:\n")[2] + "\n", re.MULTILINE))
    if set(environments) != {"default", *manifest["environments"]}:
        errors.append("pixi.lock: environments differ from pixi.toml")
    for name, block in environments.items():
        entry = manifest["environments"].get(name, {"features": []})
        features = entry["features"] if isinstance(entry, dict) else entry
        allowed = [p for p in platforms if all(p["name"] in manifest["feature"][f].get("platforms", alias) for f in features)]
        rows = dict(re.findall(r"^      (\S+):\n((?:      - conda: .*\n)+)", block, re.MULTILINE))
        if set(rows) != {alias[p["name"]] for p in allowed}:
            errors.append(f"pixi.lock: {name}: platforms differ from pixi.toml")
        for platform in allowed:
            urls = re.findall(r"- conda: (\S+)", rows.get(alias[platform["name"]], ""))
            used.update(urls)
            there = {}
            for url in urls:
                package, version, _ = url.rsplit("/", 1)[1].rsplit("-", 2)
                there[package] = version
                if not url.startswith("https://conda.anaconda.org/conda-forge/") or not re.search(
                    r"^  sha256: [0-9a-f]{64}$", records.get(url, ""), re.MULTILINE
                ):
                    errors.append(f"pixi.lock: {name}: no record for {url}")
            needs = [
                spec
                for url in urls
                for spec in re.findall(
                    r"^  - (\S.*)$",
                    (records.get(url, "").partition("  depends:\n")[2].split("\n  c")[0]).split("\n  license")[0],
                    re.MULTILINE,
                )
            ]
            asked = manifest["dependencies"] | manifest.get("target", {}).get(platform["platform"], {}).get("dependencies", {})
            for need in {n.split()[0] for n in needs} | set(asked):
                if not need.startswith("__") and need not in there:
                    errors.append(f"pixi.lock: {name}/{platform['name']}: {need} is not locked")
            if not there.get("python", "").startswith(manifest["dependencies"]["python"].removesuffix("*")):
                errors.append(f"pixi.lock: {name}: python {there.get('python')} is not {manifest['dependencies']['python']}")
            for stem, pins in sets.items():
                for package in set(there) & set(pins) & {"pip", "setuptools", "wheel", "packaging"}:
                    if Version(there[package]) != Version(pins[package]):
                        errors.append(f"{package}: conda has {there[package]}, config/requirements/{stem}.txt {pins[package]}; run the lock task")
    if used != set(records):
        errors.append(f"pixi.lock: records that no environment uses, or the reverse: {sorted(used ^ set(records))[:3]}")
    for table in [manifest, *manifest["feature"].values()]:
        if "pypi-dependencies" in table:
            errors.append("pixi.toml: Python libraries belong in config/requirements/*.in, not in pypi-dependencies")
        for part in [table, *table.get("target", {}).values()]:
            path = part.get("activation", {}).get("env", {}).get("POSE_REQUIREMENTS")
            if path and not (ROOT / path).is_file():
                errors.append(f"pixi.toml: {path} does not exist")


def tracked_files() -> list[Path]:
    git = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=False
    )
    if git.returncode == 0:
        return [ROOT / name for name in git.stdout.decode().split("\0") if name]
    skip = {".venv", ".pixi", ".git", ".cache", "node_modules"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skip & set(p.relative_to(ROOT).parts)]


def check_hosts(errors: list[str]) -> None:
    seen: dict[bytes, bool] = {}
    for path in tracked_files():
        if not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.splitlines(), 1):
            if b"." not in line:
                continue
            for host in HOST.findall(line):
                host = host.lower()
                if host not in seen:
                    parts = host.split(b".")
                    tails = (b".".join(parts[i:]) for i in range(len(parts) - 1))
                    seen[host] = any(hashlib.sha256(t).hexdigest()[:16] in REGISTRY_HOSTS for t in tails)
                if seen[host]:
                    errors.append(f"{path.relative_to(ROOT)}:{number}: names a host of a package registry")


def main() -> int:
    errors: list[str] = []
    sets = load_sets(errors)
    check_requirements(sets, errors)
    check_sets(sets, errors)
    check_pixi(sets, errors)
    check_hosts(errors)
    print("\n".join(errors) if errors else f"ok: {len(sets)} sets, {len(set().union(*sets.values()))} packages")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
