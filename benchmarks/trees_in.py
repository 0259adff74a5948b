"""Trees of scikit-learn, XGBoost and LightGBM on ten data sets: rows that differ from onnxruntime, both simulators.

And how long a forest of 100 trees of depth 6 takes to compile (target 60 s). The packages are optional: what is not
installed is left out, and named.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, clock, command, machine, met, note, table, write

import approxhw as ax
from approxhw.flow.stages.measure import job_of
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.kinds import Forest
from approxhw.sim import bundle, bundle_ports, simulate

SIMULATORS = ("icarus", "verilator")
TARGET = 60.0
"""Seconds for the large forest."""

RANDOM, MOST = 200, 2000
"""Random vectors a simulation, besides the rows and the corners, which come first; most vectors of one."""

Rows = tuple[np.ndarray, np.ndarray]


def data_sets() -> dict[str, Rows]:
    """Return ten data sets that scikit-learn ships or makes: readings (float32) and classes."""
    from sklearn import datasets

    made: dict[str, Rows] = {}
    for name in ("iris", "wine", "breast_cancer", "digits"):
        made[name] = getattr(datasets, f"load_{name}")(return_X_y=True)
    made["two classes of 20"] = datasets.make_classification(800, 20, n_informative=8, random_state=1)
    made["five classes of 12"] = datasets.make_classification(
        800, 12, n_informative=9, n_classes=5, n_clusters_per_class=1, random_state=2
    )
    made["rare class"] = datasets.make_classification(800, 10, weights=[0.93], flip_y=0.02, random_state=3)
    made["moons"] = datasets.make_moons(600, noise=0.25, random_state=4)
    made["circles"] = datasets.make_circles(600, noise=0.15, factor=0.5, random_state=5)
    made["blobs"] = datasets.make_blobs(600, centers=6, n_features=4, cluster_std=2.5, random_state=6)[:2]
    return {name: (x.astype(np.float32), y.astype(np.int64)) for name, (x, y) in made.items()}


def _scikit_learn(x: np.ndarray, y: np.ndarray) -> Any:
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    return to_onnx(RandomForestClassifier(6, max_depth=4, random_state=0).fit(x, y), x[:1])


def _xgboost(x: np.ndarray, y: np.ndarray) -> Any:
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from xgboost import XGBClassifier

    fitted = XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1, random_state=0).fit(x, y)
    return convert_xgboost(fitted, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])


def _lightgbm(x: np.ndarray, y: np.ndarray) -> Any:
    from lightgbm import LGBMClassifier
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    fitted = LGBMClassifier(n_estimators=4, max_depth=3, n_jobs=1, verbose=-1, random_state=0).fit(x, y)
    return convert_lightgbm(fitted, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])


PACKAGES: dict[str, tuple[tuple[str, ...], Callable[[np.ndarray, np.ndarray], Any]]] = {
    "scikit-learn": (("skl2onnx",), _scikit_learn),
    "XGBoost": (("xgboost", "onnxmltools"), _xgboost),
    "LightGBM": (("lightgbm", "onnxmltools"), _lightgbm),
}
"""What makes a model: modules that it needs, and the training rows → ONNX."""


def measured(package: str, folder: Path) -> list[tuple[object, ...]]:
    """Return a line a data set: trees, tests, rows, rows decided otherwise, vectors and mismatches of both simulators."""
    lines: list[list[Any]] = []
    jobs = []
    for number, (name, (x, y)) in enumerate(data_sets().items()):
        order = np.random.default_rng(0).permutation(len(x))
        train, test = order[: 2 * len(x) // 3], order[2 * len(x) // 3 :]
        proto = PACKAGES[package][1](x[train], y[train])
        design = ax.compile(proto, data=(x[train], y[train], x[test], y[test]), output=folder / f"design{number}")
        said = open_reference(open_classifier(proto)).predict(x)
        wrong = int((said != design.predict(x)).sum())
        job, _ = job_of(design.design, random=RANDOM, seed=1)
        job = replace(
            job,
            name=f"data{number}",
            vectors={port: column[:MOST] for port, column in job.vectors.items()},
            expected={port: column[:MOST] for port, column in job.expected.items()},
        )
        jobs.append(job)
        # none where every row gets the same class: the circuit is a constant then
        ops = [node.op for node in design.design.graph.nodes if isinstance(node.op, Forest)]
        trees, tests = sum(len(op.roots) for op in ops), sum(len(op.feature) for op in ops)
        lines.append([name, package, trees, tests, len(x), wrong, len(SIMULATORS) * job.count, 0])
        note(f"{name}, {package}: {wrong} of {len(x)} rows differ")
    for simulator in SIMULATORS:  # all circuits under one top: one build a simulator
        together = bundle(jobs)
        result = simulate(together, simulator, folder / simulator, timeout=1200.0)
        for port, count in result.failing.items():
            lines[bundle_ports(together)[port][0]][-1] += count
        note(f"{package}, {simulator}: {sum(result.failing.values())} mismatches")
    return [tuple(line) for line in lines]


def large_forest(folder: Path) -> tuple[object, ...]:
    """Return the line of a forest of 100 trees of depth 6: tests, seconds of each step."""
    from skl2onnx import to_onnx
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_classification(2000, 20, n_informative=10, n_classes=4, random_state=0)
    x = x.astype(np.float32)
    fitted = RandomForestClassifier(100, max_depth=6, random_state=0).fit(x[:1400], y[:1400])
    proto = to_onnx(fitted, x[:1])
    with clock() as taken:
        design = ax.compile(proto, data=(x[:1400], y[:1400], x[1400:], y[1400:]), output=folder)
    (op,) = [node.op for node in design.design.graph.nodes if isinstance(node.op, Forest)]
    wrong = int((open_reference(open_classifier(proto)).predict(x) != design.predict(x)).sum())
    wall, cpu = f"{taken.wall:.1f}", f"{taken.cpu:.1f}"
    return len(op.roots), len(op.feature), wrong, wall, cpu, met(taken.cpu <= TARGET)


def main() -> None:
    """Measure everything and write the table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", choices=("equal", "time"), help="run one part, by default both")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    text = ["# Trees of other packages\n", command()]
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as scratch:
        if given.only != "time":
            lines, left_out = [], []
            for package, (modules, _) in PACKAGES.items():
                lacking = [module for module in modules if importlib.util.find_spec(module) is None]
                if lacking:
                    left_out.append(f"{package} (no {', '.join(lacking)})")
                    continue
                lines += measured(package, Path(scratch) / package.split(",")[0].lower().replace("-", "_"))
            titles = ("data", "package", "trees", "tests", "rows", "rows that differ", "vectors", "mismatches")
            sums = [sum(int(str(line[place])) for line in lines) for place in (4, 5, 6, 7)]
            text += [
                f"{sums[1]} of {sums[0]:,} rows are decided otherwise than by onnxruntime, {sums[3]} of {sums[2]:,} vectors of",
                "Icarus and Verilator together are no match. Two thirds of the rows train a model, all of them are compared.",
                *([f"Left out: {'; '.join(left_out)}."] if left_out else []),
                "",
                table(titles, lines),
            ]
        if given.only != "equal":
            titles = (
                "trees",
                "tests",
                "rows of 2000 that differ",
                "seconds, wall",
                "seconds, CPU",
                f"target {TARGET:.0f} s of CPU",
            )
            text += [
                "A random forest on 2000 made rows of 20 features and 4 classes, compiled with its data; no simulation, no",
                "synthesis.\n",
                table(titles, [large_forest(Path(scratch) / "large")]),
            ]
    write("trees_in", [*text, machine()])


if __name__ == "__main__":
    main()
