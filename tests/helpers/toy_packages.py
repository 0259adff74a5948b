"""Packages that add things to approxhw: the toy one, installed aside, and made-up ones that are broken or in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TOY = Path(__file__).parent / "toy_plugin"


def install_toy(folder: Path) -> Path:
    """Install the toy package below *folder*, without a network, and return what goes on the path."""
    source, target = folder / "source", folder / "site"
    shutil.copytree(TOY, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def make_package(site: Path, name: str, groups: Mapping[str, Mapping[str, str]], code: str = "") -> Path:
    """Put a package *name* 2.0 with entry points by group, and a module of *code*, into the folder *site*."""
    about = site / f"{name}-2.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[approxhw.{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / f"{name}_module.py").write_text(code)
    return site


def run_with(site: Path, *words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with *words* in *folder*, *site* on its path."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
