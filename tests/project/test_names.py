"""Public names: no two things at the top of the package's files share one, but for a few conventions."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = ("approxhw", "frontends", "passes", "backends", "rtl_templates", "sim")
MAC = ("approxhw/numerics/mac/float_mac.py", "approxhw/numerics/mac/kernels/gemm.py")
ALLOWED = {
    "ApproximateMultiplier": ("approxhw/numerics/mac/arithmetic.py", "passes/approximate/approximate_multiplier.py"),
    "chain": MAC,
    "estimate": ("approxhw/flow/stages/measure.py", "backends/estimate/estimator.py"),
    "finish": (*MAC, "approxhw/numerics/mac/kernels/wide.py"),
    "main": ("approxhw/cli/main.py", "sim/worker.py"),
    "run": ("approxhw/ir/interpreter.py", "approxhw/cli/commands/", "approxhw/cli/targets/"),
    "step": MAC,
}
"""Name → the files, or folders, that may each have it.

A pass is named after the arithmetic that it gives; ``chain``, ``step`` and ``finish`` are the reference on integers and the
kernels that it is held to; both ``estimate`` are documented, and ``ax.estimate`` calls the other; ``main`` is what a
process runs, and ``run`` what runs a command's work or a Graph.
"""


def homes() -> dict[str, list[str]]:
    """Return the files that define each public function or class at their top."""
    found = defaultdict(set)
    for folder in FOLDERS:
        for path in (CHECKOUT / folder).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found[node.name].add(path.relative_to(CHECKOUT).as_posix())
    return {name: sorted(files) for name, files in found.items() if not name.startswith("_")}


def test_no_two_public_things_share_a_name():
    known = homes()
    assert len(known) > 1000
    shared = {
        name: files
        for name, files in known.items()
        if len(files) > 1 and not all(file.startswith(ALLOWED.get(name, ())) for file in files)
    }
    assert not shared, f"name one of them more exactly, or _private where only its own file uses it: {shared}"


def test_every_exception_is_one():
    known = homes()
    for name, places in ALLOWED.items():
        for place in places:
            assert any(file.startswith(place) for file in known[name]), f"{name} is not in {place} any more"
        assert len(known[name]) > 1, f"{name} is defined once"
