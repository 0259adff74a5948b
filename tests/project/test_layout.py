"""The layout that docs/architecture.md promises: packages, layers, light imports, rules that hold for every file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = ("approxhw", "frontends", "passes", "backends", "rtl_templates", "sim")
HEAVY = {
    "amaranth", "cocotb", "jinja2", "matplotlib", "numba", "onnx", "onnxruntime", "pyosys", "pyverilog", "rich",
    "scipy", "sklearn", "skl2onnx", "torch",
}  # fmt: skip


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    assert found, "the checkout lies where it is thought to lie"
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def package_of(folder: Path) -> str:
    parts = folder.relative_to(CHECKOUT).parts
    return ".".join(parts if parts[0] == "approxhw" else ("approxhw", *parts))


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_package_is_listed() -> None:
    there = {package_of(init.parent) for folder in FOLDERS for init in (CHECKOUT / folder).rglob("__init__.py")}
    assert there == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_package_map_names_folders_that_exist() -> None:
    for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        assert package == package_of(CHECKOUT / folder)
        assert (CHECKOUT / folder / "__init__.py").is_file(), folder


def test_no_folder_is_left_out_of_the_packages() -> None:
    """A folder of modules without ``__init__.py`` would be missing from the wheel, and only there."""
    for path in sources(*FOLDERS):
        assert (path.parent / "__init__.py").is_file(), f"{name_of(path.parent)} has no __init__.py"


def test_the_linters_see_every_package() -> None:
    recipe = subprocess.run(
        ["make", "-n", "layout"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    copied = set(re.findall(r"\w+", " ".join(line for line in recipe.stdout.splitlines() if "cp -R" in line)))
    assert set(FOLDERS) <= copied
    for folder in PROJECT["tool"]["setuptools"]["package-dir"].values():
        assert folder.split("/")[0] in FOLDERS


def test_no_two_test_files_share_a_name() -> None:
    counts = Counter(path.name for path in sources("tests") if path.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_tests_are_no_packages() -> None:
    packages = [path for path in sources("tests") if path.name == "__init__.py"]
    assert [name_of(path.parent) for path in packages] == ["tests/helpers/toy_plugin/toy_plugin"]


def test_importing_approxhw_is_light() -> None:
    loaded = python("import sys, approxhw; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert "approxhw" in loaded
    assert HEAVY & set(loaded) == set()


def test_no_module_has_the_name_of_a_public_function() -> None:
    """Else a lazy import would turn ``approxhw.search`` from the function into the module."""
    public = set(python("import approxhw; print(*approxhw.__all__)").split())
    assert public, "approxhw.__all__ says what is public"
    modules = {path.stem for path in (CHECKOUT / "approxhw").iterdir()} | set(FOLDERS)
    assert {name for name in public if name in modules} == set()


def test_public_names_survive_the_import_of_every_submodule() -> None:
    code = """
import importlib, types, approxhw
for name in %r:
    if name.endswith("__main__"):
        continue
    importlib.import_module(name)
for name in approxhw.__all__:
    value = getattr(approxhw, name)
    assert not isinstance(value, types.ModuleType), f"{name} became a module"
    assert callable(value) or isinstance(value, str), f"{name} is a {type(value).__name__}"
print(len(approxhw.__all__))
"""
    modules = [
        package_of(path.parent) if path.name == "__init__.py" else f"{package_of(path.parent)}.{path.stem}"
        for path in sources(*FOLDERS)
    ]
    assert int(python(code % modules)) > 0


@pytest.mark.parametrize("path", sources(*FOLDERS, "tests", "benchmarks", "examples"), ids=name_of)
def test_a_file_says_what_it_does_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(('"""', 'r"""')), "the first line says the one thing that the file does"
    assert text.count("\n") <= 500, "split it"


BETWEEN_PROCESSES = {"executors.py", "cluster.py"}
"""They send live objects to workers of the same search; nothing that stands in a file is read so."""


STARTING = {"keeper.py", "running.py", "executors.py"}
"""They start other processes: whoever does so elsewhere loses that children die with their parent."""
TEMPORARY = {"temporary.py", "writing.py", "proofs.py"}
"""They make folders that are temporary, or kept for users (``proofs``): others would leave theirs behind when killed."""


@pytest.mark.parametrize("path", sources(*FOLDERS), ids=name_of)
def test_processes_and_temporary_folders_begin_in_one_place(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = getattr(node, "module", None) or ""
            names = {named, *(alias.name for alias in node.names), *(f"{named}.{alias.name}" for alias in node.names)}
            starting = {
                "subprocess",
                "multiprocessing",
                "concurrent.futures.ProcessPoolExecutor",
                "pty",
                "asyncio.subprocess",
            }
            assert path.name in STARTING or not names & starting, f"{where}: approxhw.common.tools starts programs"
        if isinstance(node, ast.Attribute):
            named = ast.unparse(node)
            starts = named.startswith(("os.fork", "os.posix_spawn", "os.spawn", "os.exec", "os.popen"))
            assert path.name in STARTING or not starts, f"{where}: approxhw.common.tools starts programs"
            makes = named.startswith("tempfile.") and named != "tempfile.gettempdir"
            assert path.name in TEMPORARY or not makes, f"{where}: approxhw.common.files makes temporary folders"


def test_onnxruntime_is_imported_in_one_place() -> None:
    """Where its telemetry is turned off before; what is imported for the type checker alone is never loaded."""
    users = set()
    for path in sources(*FOLDERS):
        tree = tree_of(path)
        typed = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        skipped = {id(inner) for outer in typed for inner in ast.walk(outer)}
        users |= {
            name_of(path)
            for n in ast.walk(tree)
            if id(n) not in skipped and isinstance(n, ast.Import | ast.ImportFrom) and "onnxruntime" in ast.unparse(n)
        }
    assert users == {"frontends/runtime/sessions.py"}


@pytest.mark.parametrize("path", sources(*FOLDERS), ids=name_of)
def test_code_keeps_the_house_rules(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}: a bare except hides errors"
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            assert getattr(raised, "id", "") not in {"Exception", "BaseException"}, f"{where}: raise a typed error"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            unsafe = names & {"pickle", "cloudpickle", "dill", "marshal"}
            assert path.name in BETWEEN_PROCESSES or not unsafe, f"{where}: data files are not trusted"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print" or path.parent.name == "cli", f"{where}: print belongs to the command line"
            assert called not in {"os.system", "os.popen", "eval", "exec"}, f"{where}: {called} runs what it is given"
            for keyword in node.keywords:
                said = f"{keyword.arg}={ast.unparse(keyword.value)}"
                assert said not in {"shell=True", "allow_pickle=True"}, f"{where}: {said}"


@pytest.mark.parametrize("path", sources("tests"), ids=name_of)
def test_every_skip_names_its_reason(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"pytest.skip", "pytest.importorskip"}:
            assert node.args or node.keywords, f"{path.name}:{node.lineno}"
        if called in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}:
            assert any(keyword.arg == "reason" for keyword in node.keywords), f"{path.name}:{node.lineno}"


def test_verilog_needs_no_lint_pragmas() -> None:
    for path in sorted(CHECKOUT.joinpath("rtl_templates").rglob("*.v")):
        text = path.read_text(encoding="utf-8").lower()
        for pragma in ("lint_off", "lint_on", "synopsys", "synthesis translate", "pragma", "spyglass"):
            assert pragma not in text, f"{path.name} silences a tool with {pragma}"


def test_no_machine_and_no_unfinished_work_is_named() -> None:
    words = re.compile(
        "|".join(("/" + "work/", "/" + "root/", r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b"))
    )
    suffixes = {".py", ".md", ".v", ".toml", ".html", ".css", ".cpp", ".cff", ".yml", ""}
    skipped = {".venv", ".git", ".hypothesis", "build", "dist"}
    found = []
    for path in sorted(CHECKOUT.rglob("*")):
        parts = path.relative_to(CHECKOUT).parts
        hidden = parts[0] in skipped or any(part.endswith(("cache", "cache__", ".egg-info")) for part in parts)
        if hidden or path.suffix not in suffixes or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if words.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:80]}")
    assert found == []
