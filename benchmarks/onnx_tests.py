"""ONNX's own node and model tests through ``check`` and, where they hold a product, through the emulated engine in float32.

The cases come with the ``onnx`` package. Each goes through ``check`` for both targets: what is neither an answer nor an error
of ours counts as a traceback. What a matrix engine takes is run in float32 twice, products by onnxruntime and products lowered to
matrices as the engine lowers them, and compared with what the case expects, within its own tolerance.
"""

from __future__ import annotations

import importlib
import logging
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

import approxhw as ax
from approxhw.common.errors import ApproxhwError, InvalidModelError, Problem
from approxhw.frontends.onnx.loading import OLDEST_OPSET, STANDARD
from approxhw.frontends.products.partition import open_model
from approxhw.ir.graph import Node
from approxhw.ir.kinds.tensor.blocks import Product
from approxhw.ir.kinds.tensor.products import finish_product, lower_product
from approxhw.ir.tensor.layers import product_nodes
from approxhw.ir.tensor.run import checked_feeds, run_tensors

PAGE = Path(__file__).resolve().parents[1] / "docs" / "onnx-tests.md"
MODELS = ("simple", "pytorch-converted", "pytorch-operator")
"""Kinds of cases besides those of nodes; those of real models are downloaded, and left out."""


@dataclass(frozen=True)
class Case:
    """A test of ONNX: a model, and what its outputs are for some inputs (arrays, or None for what is no tensor)."""

    name: str
    kind: str
    model: ModelProto
    data: tuple[tuple[tuple[np.ndarray | None, ...], tuple[np.ndarray | None, ...]], ...]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Outcome:
    """What became of a case: of ``check`` for either target, and on the engine. Texts are empty where nothing is wrong.

    ``printed``, ``engine``: "ok", "refused", or "invalid" where the model itself is called broken. ``products``: on the
    engine. ``ran``: equal to what is expected, "equal"; "not run" where onnxruntime cannot carry it out either.
    """

    name: str
    kind: str
    printed: str
    engine: str
    products: tuple[str, ...] = ()
    ran: str = ""
    wrong: str = ""
    why: str = ""
    trace: str = ""


def node_cases(files: Sequence[str] = ()) -> Iterator[Case]:
    """Yield the tests of nodes; of those *files* of them alone, such as ``conv``, where some are named: all take a while."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in files:
            importlib.import_module(f"{node.__name__}.{name}")
        found = list(node._NodeTestCases) if files else node.collect_testcases(None)
    for case in found:
        data = tuple(
            (tuple(map(_array, inputs)), tuple(map(_array, outputs))) for inputs, outputs in case.data_sets or ()
        )
        yield Case(case.name, "node", case.model, data, case.rtol, case.atol)


def model_cases(kinds: Sequence[str] = MODELS) -> Iterator[Case]:
    """Yield the tests of whole models that lie in the package."""
    from onnx.backend.test.loader import load_model_tests

    for kind in kinds:
        for case in load_model_tests(kind=kind):
            if case.model_dir is None:
                continue
            folder = Path(case.model_dir)
            model = _recent(ModelProto.FromString((folder / "model.onnx").read_bytes()))
            data = tuple(
                (_held(each, "input"), _held(each, "output")) for each in sorted(folder.glob("test_data_set_*"))
            )
            yield Case(case.name, kind, model, data, case.rtol, case.atol)


def _recent(model: ModelProto) -> ModelProto:
    """Return *model* in an opset that is read here, as the error of older ones advises; itself where ONNX cannot."""
    from onnx import version_converter

    if all(entry.version >= OLDEST_OPSET for entry in model.opset_import if entry.domain in STANDARD):
        return model
    try:
        return version_converter.convert_version(model, 17)
    except Exception:  # the converter raises what its C++ part happens to throw
        return model


def _held(folder: Path, what: str) -> tuple[np.ndarray | None, ...]:
    found = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return tuple(_array(path.read_bytes()) for path in found)


def _array(value: object) -> np.ndarray | None:
    """Return a tensor as an array, however it is held; None where it is none."""
    if isinstance(value, bytes):
        try:
            value = TensorProto.FromString(value)
        except Exception:  # another message of ONNX: a sequence, say
            return None
    if isinstance(value, TensorProto):
        try:
            return numpy_helper.to_array(value)
        except Exception:  # a type that NumPy lacks, or no tensor after all
            return None
    return value if isinstance(value, np.ndarray) else np.asarray(value) if isinstance(value, np.generic) else None


def judged(case: Case) -> Outcome:
    """Return what becomes of *case*."""
    said = {"printed": "", "engine": ""}
    why = {"printed": "", "engine": ""}
    shape = _shapes(case)
    try:
        for target, word in (("printed", "printed"), ("matrix-engine", "engine")):
            found: Sequence[Problem] = ()
            try:
                found = ax.check(case.model, target, shape=shape if word == "engine" else None)
                said[word] = "refused" if found else "ok"
            except ApproxhwError as error:
                found = getattr(error, "problems", ())
                said[word] = "invalid" if isinstance(error, InvalidModelError) else "refused"
            why[word] = "; ".join(problem.why for problem in found)
        if said["engine"] != "ok":
            return Outcome(case.name, case.kind, **said, why=why["engine"])
        products, ran, wrong = _carried_out(case, shape)
    except Exception:
        return Outcome(case.name, case.kind, **said, trace=traceback.format_exc())
    return Outcome(case.name, case.kind, **said, products=products, ran=ran, wrong=wrong)


def _shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Return the sizes of the inputs of the first set of data."""
    held = {tensor.name for tensor in case.model.graph.initializer}
    names = [value.name for value in case.model.graph.input if value.name not in held]
    given = case.data[0][0] if case.data else ()
    return {name: each.shape for name, each in zip(names, given) if each is not None and 0 not in each.shape}


def _carried_out(case: Case, shape: dict[str, tuple[int, ...]]) -> tuple[tuple[str, ...], str, str]:
    opened = open_model(case.model, shape)
    products = tuple(node.kind for node in product_nodes(opened.graph))
    names = [value.name for value in opened.model.inputs]

    def lowered(node: Node, product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
        if operands[0].dtype.kind != "f":  # whole numbers stay on the host
            return opened.host.plain(node, operands)
        made = lower_product(product, operands, frozenset())
        for block in made.gemms:
            m, n = block.into.shape
            left, right = block.left.rows(slice(0, m)), block.right.columns(slice(0, n))
            block.into[...] = left.astype(np.float32) @ right.astype(np.float32)
        return finish_product(made)

    def by_host(node: Node, product: Product, operands: Sequence[np.ndarray]) -> np.ndarray:
        return opened.host.plain(node, operands)

    for inputs, outputs in case.data:
        if any(each is None for each in (*inputs, *outputs)):
            return products, "not run", ""
        for how, multiply in (("host", by_host), ("lowered", lowered)):
            try:
                feeds = checked_feeds(opened.graph, dict(zip(names, inputs)))
                with np.errstate(all="ignore"):
                    found = run_tensors(opened.graph, feeds, opened.host, multiply)
            except ApproxhwError as error:
                return products, "not run", f"{how}: {error}"
            for wanted, (name, seen) in zip(outputs, found.items()):
                if why := _differ(seen, np.asarray(wanted), case):
                    return products, "differs", f"{how}: {name}: {why}"
    return products, "equal", ""


def _differ(seen: np.ndarray, wanted: np.ndarray, case: Case) -> str:
    if seen.shape != wanted.shape or seen.dtype != wanted.dtype:
        return f"{seen.dtype} {seen.shape}, not {wanted.dtype} {wanted.shape}"
    if wanted.dtype.kind not in "fc":
        return "" if np.array_equal(seen, wanted) else "other values"
    # the lowered form adds float16 up in float32, and the expected values were made in float16
    rtol = max(case.rtol, 2e-3) if wanted.dtype == np.float16 else case.rtol
    atol = max(case.atol, 1e-6)
    same = np.allclose(seen.astype(np.float64), wanted.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True)
    return "" if same else f"off by {np.nanmax(np.abs(seen.astype(np.float64) - wanted)):.3g}"


def page(outcomes: Iterable[Outcome], version: str) -> str:
    """Return the page of the counts."""
    everything = list(outcomes)
    lines = [
        "# ONNX's own tests",
        "",
        f"The node and model tests in the `onnx` package ({version}) through `approxhw check` for both targets and,",
        "where they hold a product, through the emulated engine in float32: once with products in onnxruntime, once with",
        "products lowered to matrices as the engine lowers them; outputs within each test's own tolerance. Models of opsets",
        "that are too old are converted first, as the error advises. `python benchmarks/onnx_tests.py` writes this page.",
        "",
        "| tests | cases | tracebacks | for a circuit | for an engine | refused there | run there | equal | wrong values |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("node", *MODELS, ""):
        part = [each for each in everything if kind in ("", each.kind)]
        ran = [each for each in part if each.ran in ("equal", "differs")]
        counts = (
            len(part),
            sum(bool(each.trace) for each in part),
            sum(each.printed == "ok" for each in part),
            sum(each.engine == "ok" for each in part),
            sum(each.engine in ("refused", "invalid") for each in part),
            len(ran),
            sum(each.ran == "equal" for each in ran),
            sum(each.ran == "differs" for each in ran),
        )
        lines.append(f"| {kind or 'all'} | {' | '.join(map(str, counts))} |")
    held = Counter(product for each in everything if each.ran == "equal" for product in set(each.products))
    lines += ["", "| product | in so many of the tests that are equal |", "|---|---|"]
    lines += [f"| {name} | {count} |" for name, count in sorted(held.items())]
    left = [each for each in everything if each.engine == "ok" and each.ran not in ("equal", "differs")]
    lines += ["", f"Not run, since onnxruntime cannot or since the data are no tensors: {len(left)}."]
    lines += [f"- `{each.name}`" for each in left]
    found = [each for each in everything if each.trace or each.ran == "differs"]
    if found:
        lines += ["", "Found:", ""]
        lines += [f"- `{each.name}`: {each.wrong or each.trace.strip().splitlines()[-1]}" for each in found]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run every case and write the page."""
    import onnx

    logging.disable(logging.WARNING)
    started, outcomes = time.perf_counter(), []
    for number, case in enumerate((*node_cases(), *model_cases())):
        outcomes.append(judged(case))
        if outcomes[-1].trace or outcomes[-1].ran == "differs":
            print(outcomes[-1].name, outcomes[-1].wrong, outcomes[-1].trace)
        if number % 200 == 0:
            print(f"{number} cases, {time.perf_counter() - started:.0f} s", flush=True)
    PAGE.write_text(page(outcomes, onnx.__version__), encoding="utf-8")
    print(f"{len(outcomes)} cases in {time.perf_counter() - started:.0f} s: {PAGE}")


if __name__ == "__main__":
    main()
