"""Write config/requirements/<set>-<subdir>.txt: one pinned, hashed line per package and nothing else.

    python scripts/lock.py                     keep the current pins, add what is missing
    python scripts/lock.py --upgrade           newest releases that fit together
    python scripts/lock.py --upgrade NAME ...  newest release of these, keep the rest

uv resolves; this script keeps the hashes of the wheels that fit CPython 3.11 on that platform.
The Linux CPU set is the CUDA set without the CUDA libraries: torch's +cpu wheels ask for
exactly that (their METADATA was compared), and they go in by URL.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging import tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
REQ = ROOT / "config" / "requirements"
PYTHON = (3, 11)
SETS = {  # file stem: (uv platform, environment for uv)
    "cuda-linux-64": ("x86_64-manylinux_2_28", {}),
    "cpu-linux-64": ("x86_64-manylinux_2_28", {}),
    "mps-osx-arm64": ("aarch64-apple-darwin", {"MACOSX_DEPLOYMENT_TARGET": "14.0"}),
    "cpu-osx-arm64": ("aarch64-apple-darwin", {"MACOSX_DEPLOYMENT_TARGET": "14.0"}),
}
CUDA_ONLY = re.compile(r"(nvidia-(?!ml-py$)|cuda-|triton$)")
CPU_WHEELS = {
    "torch": (
        "https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    ),
    "torchvision": (
        "https://download.pytorch.org/whl/cpu/torchvision-0.28.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "1dad604dfc0177ecebe0891bd9701fe2c62ec3f7819a247be541b3fb6effee99",
    ),
}


def platform_tags(stem: str) -> frozenset[tags.Tag]:
    if "linux" in stem:
        plats = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)]
        plats += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    else:
        plats = list(tags.mac_platforms((14, 0), "arm64"))
    return frozenset([*tags.cpython_tags(PYTHON, platforms=plats), *tags.compatible_tags(PYTHON, "cp311", plats)])


def conda_pins() -> list[str]:
    """Python packages that conda-forge puts in the pixi prefix: same release here, so uv leaves them alone."""
    rows = re.findall(r"/noarch/(pip|setuptools|wheel|packaging)-([0-9][^-]*)-", (ROOT / "pixi.lock").read_text())
    return sorted({f"{name}=={version}" for name, version in rows})


def current_pins() -> dict[str, str]:
    pins: dict[str, str] = {}
    for path in REQ.glob("*.txt"):
        pins.update(re.findall(r"^([a-z0-9-]+)==(\S+) --hash", path.read_text(), re.MULTILINE))
    return pins


def resolve(stem: str, constraints: list[str], excludes: list[str], tmp: Path) -> list[dict]:
    platform, extra_env = SETS[stem]
    out = tmp / f"pylock.{stem}.toml"
    (tmp / "constraints.txt").write_text("\n".join(constraints) + "\n")
    (tmp / "excludes.txt").write_text((REQ / "excludes.txt").read_text() + "\n".join(excludes) + "\n")
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv) if uv.exists() else "uv", "pip", "compile", "--quiet", "--config-file", str(REQ / "uv.toml")]
    command += [str(REQ / "app.in"), str(REQ / "dev.in")]
    command += ["--excludes", str(tmp / "excludes.txt"), "--constraints", str(tmp / "constraints.txt")]
    command += ["--only-binary", ":all:", "--python-platform", platform]
    command += ["--python-version", ".".join(map(str, PYTHON)), "--format", "pylock.toml", "-o", str(out)]
    subprocess.run(command, check=True, env=os.environ | extra_env, stdout=subprocess.DEVNULL)
    return tomllib.loads(out.read_text())["packages"]


def lines(stem: str, packages: list[dict]) -> list[str]:
    fits, result = platform_tags(stem), []
    for package in packages:
        name = package["name"]
        if stem == "cpu-linux-64" and name in CPU_WHEELS:
            url, digest = CPU_WHEELS[name]
            if f"/{name}-{package['version']}%2B" not in url:
                sys.exit(f"CPU_WHEELS in scripts/lock.py has no URL and hash for {name} {package['version']}; add them")
            result.append(f"{name} @ {url} --hash=sha256:{digest}")
            continue
        digests = []
        for wheel in package["wheels"]:
            file_name = wheel.get("name") or wheel["url"].rsplit("/", 1)[1]
            if parse_wheel_filename(file_name)[3] & fits:
                digests.append(wheel["hashes"]["sha256"])
        if not digests:
            sys.exit(f"{stem}: no wheel of {name} {package['version']} fits CPython 3.11 there; hold it back in config/requirements/app.in")
        result.append(f"{name}=={package['version']} " + " ".join(f"--hash=sha256:{d}" for d in sorted(digests)))
    return sorted(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", nargs="*", metavar="NAME")
    upgrade = parser.parse_args().upgrade
    pins = {} if upgrade == [] else {n: v for n, v in current_pins().items() if n not in (upgrade or [])}
    constraints = sorted({f"{n}=={v}" for n, v in pins.items()} | set(conda_pins()))
    texts, cuda_names = {}, []
    with tempfile.TemporaryDirectory() as tmp:
        for stem in SETS:  # the first set decides; the others must take the same releases
            packages = resolve(stem, constraints, cuda_names if stem == "cpu-linux-64" else [], Path(tmp))
            if stem == "cuda-linux-64":
                cuda_names = [p["name"] for p in packages if CUDA_ONLY.match(p["name"])]
            constraints = sorted(set(constraints) | {f"{p['name']}=={p['version']}" for p in packages})
            texts[stem] = "\n".join(lines(stem, packages)) + "\n"
            print(f"{stem}: {len(packages)} packages")
    for stem, text in texts.items():
        (REQ / f"{stem}.txt").write_text(text)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"uv found no set that fits (exit {error.returncode}); try --upgrade NAME for the package named above")
