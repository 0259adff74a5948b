"""The layout that docs/architecture.md promises: packages, layers, light imports, rules that hold for every file."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
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


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file: several tests look at all files, and parsing is most of their work."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


@pytest.fixture(autouse=True, scope="module")
def _forgotten() -> Iterator[None]:
    """Drop the trees in the end: together they are large."""
    yield
    nodes_of.cache_clear()


def dotted(node: ast.AST) -> str:
    """Return a name with its attributes, such as ``os.path.join``; nothing for what is computed."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if isinstance(node, ast.Attribute) and inner else ""


def problems(check: Callable[[Path], Iterator[str]], folder: str) -> list[str]:
    """Return what *check* says of every file below *folder*."""
    return [f"{name_of(path)}:{told}" for path in sources(folder) for told in check(path)]


def package_of(folder: Path) -> str:
    parts = folder.relative_to(CHECKOUT).parts
    return ".".join(parts if parts[0] == "approxhw" else ("approxhw", *parts))


def python(code: str) -> str:
    # importing every module takes 44 CPU s, on a busy machine several minutes
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=False, cwd="/"
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


def unlike_a_file(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if not text.startswith(('"""', 'r"""')):
        yield "1: the first line says the one thing that the file does"
    if text.count("\n") > 500:
        yield "500: split it"


@pytest.mark.parametrize("folder", [*FOLDERS, "tests", "benchmarks", "examples"])
def test_a_file_says_what_it_does_and_stays_short(folder: str) -> None:
    assert problems(unlike_a_file, folder) == []


BETWEEN_PROCESSES = {"executors.py", "cluster.py"}
"""They send live objects to workers of the same search; nothing that stands in a file is read so."""


STARTING = {"keeper.py", "running.py", "executors.py"}
"""They start other processes: whoever does so elsewhere loses that children die with their parent."""
TEMPORARY = {"temporary.py", "writing.py", "proofs.py"}
"""They make folders that are temporary, or kept for users (``proofs``): others would leave theirs behind when killed."""


def started_or_made_elsewhere(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        line = getattr(node, "lineno", 0)
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
            if path.name not in STARTING and names & starting:
                yield f"{line}: approxhw.common.tools starts programs"
        if isinstance(node, ast.Attribute):
            named = dotted(node)
            starts = named.startswith(("os.fork", "os.posix_spawn", "os.spawn", "os.exec", "os.popen"))
            if path.name not in STARTING and starts:
                yield f"{line}: approxhw.common.tools starts programs"
            makes = named.startswith("tempfile.") and named != "tempfile.gettempdir"
            if path.name not in TEMPORARY and makes:
                yield f"{line}: approxhw.common.files makes temporary folders"


@pytest.mark.parametrize("folder", FOLDERS)
def test_processes_and_temporary_folders_begin_in_one_place(folder: str) -> None:
    assert problems(started_or_made_elsewhere, folder) == []


def test_onnxruntime_is_imported_in_one_place() -> None:
    """Where its telemetry is turned off before; what is imported for the type checker alone is never loaded."""
    users = set()
    for path in sources(*FOLDERS):
        nodes = nodes_of(path)
        typed = [n for n in nodes if isinstance(n, ast.If) and dotted(n.test) == "TYPE_CHECKING"]
        skipped = {id(inner) for outer in typed for inner in ast.walk(outer)}
        users |= {
            name_of(path)
            for n in nodes
            if id(n) not in skipped and isinstance(n, ast.Import | ast.ImportFrom) and "onnxruntime" in ast.unparse(n)
        }
    assert users == {"frontends/runtime/sessions.py"}


def against_the_rules(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{line}: a bare except hides errors"
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if getattr(raised, "id", "") in {"Exception", "BaseException"}:
                yield f"{line}: raise a typed error"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            if path.name not in BETWEEN_PROCESSES and names & {"pickle", "cloudpickle", "dill", "marshal"}:
                yield f"{line}: data files are not trusted"
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called == "print" and path.parent.name != "cli":
                yield f"{line}: print belongs to the command line"
            if called in {"os.system", "os.popen", "eval", "exec"}:
                yield f"{line}: {called} runs what it is given"
            for keyword in node.keywords:
                if keyword.arg in {"shell", "allow_pickle"} and ast.unparse(keyword.value) == "True":
                    yield f"{line}: {keyword.arg}=True"


@pytest.mark.parametrize("folder", FOLDERS)
def test_code_keeps_the_house_rules(folder: str) -> None:
    assert problems(against_the_rules, folder) == []


def silent_skips(path: Path) -> Iterator[str]:
    if not re.search("skip|xfail", path.read_text(encoding="utf-8")):
        return
    for node in nodes_of(path):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        if called in {"pytest.skip", "pytest.importorskip"} and not (node.args or node.keywords):
            yield f"{node.lineno}: a skip without a reason"
        marks = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
        if called in marks and not any(keyword.arg == "reason" for keyword in node.keywords):
            yield f"{node.lineno}: a mark without a reason"


def test_every_skip_names_its_reason() -> None:
    assert problems(silent_skips, "tests") == []


WRONG = """import subprocess, pickle
from concurrent.futures import ProcessPoolExecutor
try:
    os.fork(), tempfile.mkdtemp(), os.path.join(), tempfile.gettempdir()
except:
    raise Exception("x")
print(), eval(""), run(shell=True), run(shell=False), pytest.skip(), pytest.mark.skipif(True), pytest.skip("why")
"""


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    found = {
        check.__name__: [told.split(":")[0] for told in check(tmp_path / "wrong.py")]
        for check in (unlike_a_file, started_or_made_elsewhere, against_the_rules, silent_skips)
    }
    assert {name: sorted(lines) for name, lines in found.items()} == {
        "unlike_a_file": ["1"],
        "started_or_made_elsewhere": ["1", "2", "4", "4"],
        "against_the_rules": ["1", "5", "6", "7", "7", "7"],
        "silent_skips": ["7", "7"],
    }


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
    tops = [top for top in CHECKOUT.iterdir() if top.name not in skipped]
    for path in sorted(path for top in tops for path in (top, *top.rglob("*"))):
        parts = path.relative_to(CHECKOUT).parts
        hidden = any(part.endswith(("cache", "cache__", ".egg-info")) for part in parts)
        if hidden or path.suffix not in suffixes or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if words.search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:80]}")
    assert found == []
