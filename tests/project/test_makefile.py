"""The Makefile: it explains itself, installs Icarus where it may, and says the one command where it may not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""Without what an outer ``make test`` hands down."""
COMMAND = "sudo apt-get install iverilog g++ make"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder to be the only one on PATH: a shell and little else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def program(machine: Path, name: str, script: str) -> None:
    path = machine / name
    path.write_text(f"#!{machine}/bash\n{script}\n")
    path.chmod(0o755)


def make(target: str, machine: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(shutil.which("make")), "--no-print-directory", *target.split()],
        cwd=CHECKOUT,
        env={"PATH": str(machine), "HOME": str(machine)} if machine else ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def user(machine: Path, number: int) -> None:
    program(machine, "id", f"echo {number}")


def apt_get(machine: Path, then: str = "") -> Path:
    log = machine / "apt-get.log"
    program(machine, "apt-get", f'echo "$@" >>{log}\n{then}')
    return log


INSTALLS = 'for name in iverilog vvp g++; do [ "$1" = install ] && : >"{0}/$name" && {1} +x "{0}/$name"; done; true'


def test_help_explains_every_target_for_people() -> None:
    done = make("help")
    for target in ("setup", "demo", "test", "lint", "format", "bench", "fuzz", "fuzz-readers", "clean"):
        assert re.search(rf"^  {target} +\S", done.stdout, re.MULTILINE), target
    assert make("").stdout == done.stdout, "help is what a bare make shows"


def test_tools_that_are_there_are_left_alone(machine: Path) -> None:
    for name in ("iverilog", "vvp", "g++"):
        program(machine, name, "true")
    user(machine, 0)
    log = apt_get(machine)
    done = make("tools", machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not log.exists()


def test_without_apt_get_the_one_command_is_said(machine: Path) -> None:
    done = make("tools", machine)
    assert done.returncode != 0
    assert COMMAND in done.stderr
    assert "Run this, then make again" in done.stderr


def test_root_installs(machine: Path) -> None:
    user(machine, 0)
    log = apt_get(machine, INSTALLS.format(machine, shutil.which("chmod")))
    done = make("tools", machine)
    assert done.returncode == 0, done.stderr
    update, install = log.read_text().splitlines()
    assert update.startswith("update")
    assert install.startswith("install -y")
    assert {"iverilog", "g++", "make", "ccache"} <= set(install.split())


def test_a_user_with_passwordless_sudo_installs(machine: Path) -> None:
    user(machine, 1000)
    program(machine, "sudo", '[ "$1" = -n ] || exit 1\nshift\n"$@"')
    log = apt_get(machine, INSTALLS.format(machine, shutil.which("chmod")))
    assert make("tools", machine).returncode == 0
    assert len(log.read_text().splitlines()) == 2


def test_a_user_without_sudo_is_told_and_nothing_is_tried(machine: Path) -> None:
    user(machine, 1000)
    program(machine, "sudo", "exit 1")
    log = apt_get(machine)
    done = make("tools", machine)
    assert done.returncode != 0
    assert COMMAND in done.stderr
    assert not log.exists()


def test_an_install_that_fails_is_told(machine: Path) -> None:
    user(machine, 0)
    apt_get(machine, "exit 100")
    done = make("tools", machine)
    assert done.returncode != 0
    assert COMMAND in done.stderr


def test_demo_takes_the_whole_way() -> None:
    lines = [line for line in make("-n demo").stdout.splitlines() if line.startswith(".venv/bin/approxhw")]
    assert [line.split()[1] for line in lines] == ["compile"]  # which simulates, measures and reports
    assert "--require-tools" in lines[0]
    assert "--no-" not in lines[0]
    assert lines[0].split()[2] == "examples/breast_cancer.onnx"


def test_the_suite_and_all_linters_run_in_ci() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert "export CI=true" in script
    assert re.search(r"^make -k lint", script, re.MULTILINE)
    assert re.search(r"^make test", script, re.MULTILINE)
    assert make("-n style layers types").stdout.count(".venv/bin/") >= 4
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=CHECKOUT, check=False).returncode == 0
