"""The rooms of docs/architecture.md, counted from the imports of every file: floors, circles, entries, where Numba lives."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
WINGS = ("frontends", "passes", "backends", "rtl_templates", "sim")
FLOORS = (
    ("common",),
    ("numerics",),
    ("ir", "rtl_templates"),
    ("networks", "artifacts"),
    ("frontends", "passes", "backends", "sim", "report"),
    ("flow", "distributed"),
    ("dse", "engine"),
    ("cli",),
)
MOST_ENTRIES = 12
Arrows = dict[str, set[str]]


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its name as installed."""
    found = {}
    for folder in ("approxhw", *WINGS):
        for path in (CHECKOUT / folder).rglob("*.py"):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            parts = parts if parts[0] == "approxhw" else ("approxhw", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert len(found) > 100
    return found


@cache
def arrows() -> Arrows:
    """Return which modules each one imports: at the top, late, and for the type checker alone."""
    known, found = modules(), {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                source = ".".join([*base, node.module] if node.module else base)
                inner = {f"{source}.{alias.name}" for alias in node.names}
                targets |= inner & known.keys() or {source}
        unknown = {target for target in targets if target.split(".")[0] == "approxhw"} - known.keys()
        assert not unknown, f"{name} imports {unknown}, which is no module"
        found[name] = targets & known.keys()
    assert sum(map(len, found.values())) > 300
    return found


def circles(graph: Arrows) -> list[list[str]]:
    """Return the groups of nodes that reach one another (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def folder_of(module: str) -> str:
    return module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_no_circle_of_modules() -> None:
    assert circles(arrows()) == []


def test_no_circle_of_folders() -> None:
    graph: Arrows = defaultdict(set)
    for module, targets in arrows().items():
        graph[folder_of(module)] |= {folder_of(target) for target in targets} - {folder_of(module)}
    assert circles(graph) == []


def test_arrows_point_down_and_rooms_of_a_floor_are_apart() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    assert len(FLOORS) <= 8
    upward = [
        f"{module} -> {target}"
        for module, targets in arrows().items()
        if room_of(module) not in ("", "__main__")
        for target in targets
        if room_of(target) != room_of(module) and floor.get(room_of(target), 99) >= floor[room_of(module)]
    ]
    assert upward == []


def test_no_folder_holds_more_than_a_dozen_things() -> None:
    crowded = {}
    tops = [CHECKOUT / top for top in ("approxhw", *WINGS, "tests")]
    folders = [folder for top in tops for folder in (top, *top.rglob("*")) if folder.is_dir()]
    assert len(folders) > 40
    for folder in folders:
        names = {entry.name for entry in folder.iterdir()} - {"__pycache__", "__init__.py", "__main__.py"}
        if folder.name != "__pycache__" and len(names) > MOST_ENTRIES:
            crowded[str(folder.relative_to(CHECKOUT))] = len(names)
    assert crowded == {}


def test_numba_lives_among_kernels() -> None:
    users = []
    for path in modules().values():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if any(name.split(".")[0] in ("numba", "llvmlite") for name in names):
            users.append(path.relative_to(CHECKOUT))
    assert len(users) > 10
    at_home = [path.name.startswith("_kernel") or {"kernels", "simd"} & set(path.parts) for path in users]
    assert [str(path) for path, fits in zip(users, at_home, strict=True) if not fits] == []
