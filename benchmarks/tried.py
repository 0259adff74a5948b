"""Which models and exporters are tried, at which versions: the page ``docs/tried.md``, made of what tests and benchmarks hold."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common import table

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "tried.md"
sys.path.append(str(Path(__file__).parent / "models" / "exporters"))

from all_cases import CASES  # noqa: E402
from exporter_cases import ENVIRONMENTS, HERE, Case  # noqa: E402

TEST_OF_CASES = "tests/frontends/test_real_exporters.py"
NO_TESTS = re.compile(r"conftest|/helpers/|/project/")


@dataclass(frozen=True)
class Source:
    """Models in tests besides the cases: whose tests hold all of *marks*, regular expressions. ``packages`` made them."""

    what: str
    marks: tuple[str, ...]
    packages: tuple[str, ...] = ()


SOURCES = (
    Source("models that tests fit and convert", (r"\bskl2onnx\b", r"^ *from sklearn"), ("scikit-learn", "skl2onnx")),
    Source("networks that tests quantise, and each of their codes", (r"\bquantize_static\b",), ("onnxruntime",)),
    Source("the five outside classifiers of `../shared/tasks` (PyTorch)", (r"\bshared_tasks\b",)),
    Source("`examples/*.onnx`", (r"/ \"examples\"|examples/\w+\.onnx|approxhw\w* .*\.onnx",)),
    Source("Graphs written node by node as PyTorch, Keras and tf2onnx write them", (r"def test_dynamo_export",)),
    Source("quantised forms node by node, against exact fractions", (r"\bequal_to_the_oracle\b",)),
)


def pins() -> dict[str, str]:
    """Return package → version, of the dependencies and the extra ``test`` in ``pyproject.toml``: what CI installs."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *(line for each in project["optional-dependencies"].values() for line in each)]
    return dict(line.split("==") for line in listed if "==" in line and ";" not in line)


def made_by(environment: str) -> dict[str, str]:
    """Return package → version in *environment*."""
    return pins() if environment == HERE else dict(line.split("==") for line in ENVIRONMENTS[environment])


def _rows(cases: Iterable[Case]) -> list[tuple[str, str, str]]:
    """Return exporter, versions, and models with their forms, a line an exporter."""
    kept = list(cases)
    rows = []
    for exporter in dict.fromkeys(case.exporter for case in kept):
        part = [case for case in kept if case.exporter == exporter]
        names = dict.fromkeys(name for case in part for name in case.packages)
        versions = made_by(part[0].environment)
        models = dict.fromkeys(case.model for case in part)
        forms = {
            model: ", ".join(case.form + (" (refused)" if case.refused else "") for case in part if case.model == model)
            for model in models
        }
        told = "; ".join(f"{model}: {words}" for model, words in forms.items())
        rows.append((exporter, ", ".join(f"{name} {versions[name]}" for name in names), told))
    return rows


def holding(marks: tuple[str, ...]) -> list[str]:
    """Return the tests, as paths in the checkout, that hold all of *marks*."""
    found = []
    for path in sorted((CHECKOUT / "tests").rglob("test_*.py")):
        name = path.relative_to(CHECKOUT).as_posix()
        text = path.read_text(encoding="utf-8")
        if not NO_TESTS.search(name) and all(re.search(mark, text, re.MULTILINE) for mark in marks):
            found.append(name)
    return found


def _counted(name: str, pattern: str) -> str:
    """Return what *pattern* finds in the page *name*."""
    found = re.search(pattern, (CHECKOUT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"docs/{name} says no counts"
    return found[0]


def page() -> str:
    """Return the whole page."""
    versions = pins()
    others = [
        (one.what, ", ".join(f"{name} {versions[name]}" for name in one.packages), _links(holding(one.marks)))
        for one in SOURCES
    ]
    cases = _counted("onnx-tests.md", r"^\| all \| \d+ ").split("|")[2].strip()
    here = f"the sample in {_links(holding((r'import onnx_tests',)))}; all {cases} by `benchmarks/onnx_tests.py`"
    others.append(("[ONNX's own node and model tests](onnx-tests.md)", f"onnx {versions['onnx']}", here))
    tested = [case for case in CASES if case.environment == HERE and case.in_tests]
    rest = [case for case in CASES if case not in tested]
    return "\n".join(
        [
            "# What is tried",
            "",
            "Made by `python benchmarks/tried.py` (`make pages`) from the cases that tests and benchmarks run, and from the",
            "versions that are pinned; a test says where it is not what these say. *Tried* is: read, held against onnxruntime",
            "on 2000 rows and, by the benchmark, built and simulated on both simulators. Forms that are refused with their",
            "reason are marked.",
            "",
            "## In every run of the tests",
            "",
            f"Files that the exporters write while the tests run ({_links([TEST_OF_CASES])}):",
            "",
            table(("exporter", "versions", "models and forms"), _rows(tested)),
            "Other real inputs:",
            "",
            table(("models", "versions", "tests"), others),
            "## By the benchmark",
            "",
            "[Exporters](exporters.md), in environments of their own (`python benchmarks/exporters.py`):",
            "",
            f"> {_counted('exporters.md', r'^[0-9]+ files, of which .*$')}",
            "",
            table(("exporter", "versions", "models and forms"), _rows(rest)),
        ]
    )


def _links(paths: Iterable[str]) -> str:
    return ", ".join(f"[{Path(path).name}](../{path})" for path in paths)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
