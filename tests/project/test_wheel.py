"""The wheel: one import package, and in it every file that the code reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = ("approxhw", "frontends", "passes", "backends", "rtl_templates", "sim")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build it from a copy: building writes into its own folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in FOLDERS:
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source / name)
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--wheel-dir", str(folder), str(source),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_nothing_lands_beside_approxhw(wheel: zipfile.ZipFile) -> None:
    roots = {name.split("/")[0] for name in wheel.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"approxhw"}


def test_every_file_of_every_package_is_in_it(wheel: zipfile.ZipFile) -> None:
    wanted = set()
    for folder in FOLDERS:
        for path in (CHECKOUT / folder).rglob("*"):
            relative = path.relative_to(CHECKOUT)
            if path.is_file() and "__pycache__" not in relative.parts:
                wanted.add(str(relative if folder == "approxhw" else Path("approxhw") / relative))
    assert {
        "approxhw/report/templates/design/page.html",
        "approxhw/report/templates/shared/style.css",
        "approxhw/sim/__init__.py",
    } <= wanted
    missing = sorted(wanted - set(wheel.namelist()))
    assert missing == [], "list their suffix under [tool.setuptools.package-data] in pyproject.toml"


def test_it_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("LICENSE")]
    text = wheel.read(name).decode()
    for part in (
        "Apache License",
        "Version 2.0, January 2004",
        "END OF TERMS AND CONDITIONS",
        "limitations under the License.",
    ):
        assert part in text
