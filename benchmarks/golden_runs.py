"""Drive a checkout from outside for the golden record: its programs, their time limit, and the models and rows they get."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# The adapter: programs for the interpreter of the checkout. A version whose Python has other names needs another line here.

COMMANDS = """
import contextlib, io, json, runpy, sys
for words in json.load(sys.stdin):
    sys.argv, said = ["approxhw", *words], io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_module("approxhw", run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"{' '.join(sys.argv)} ended with {end.code}: {said.getvalue()}")
"""
"""Command lines, one after the other in one process: most of a short command is Python that starts."""

CLASSES = """
import json, sys
import numpy as np, approxhw as ax
for folder, rows, output in json.load(sys.stdin):
    data = np.load(rows)
    np.savez(output, **{name: ax.open_design(folder).predict(data[name]) for name in data.files})
"""
"""The classes of rows by the meaning of the hardware."""

OUTPUTS = """
import json, sys
import numpy as np
try:
    from approxhw.engine.matrix.api import open_engine
    from approxhw.numerics.mac.arithmetic import FloatMac
except ImportError:  # a checkout of before the rooms
    from approxhw.arithmetic import FloatMac
    from approxhw.engine import open_engine
for model, rows, mac, result, codes, output in json.load(sys.stdin):
    inputs = dict(np.load(rows))
    shape = {name: value.shape for name, value in inputs.items()}
    engine = open_engine(model, FloatMac(*mac), shape=shape, result=result, compress=codes)
    np.savez(output, **engine.run(inputs))
"""
"""Every bit that a model gives whose products run on an engine."""

WHERE = "import approxhw; print(approxhw.__file__)"


@dataclass(frozen=True)
class Run:
    """A checkout, its interpreter, a folder to work in, and the seconds that a program may take.

    ``kept_kernels``: use those that Numba compiled before. It takes minutes less, and does not see that a function which
    a kernel calls was edited in another file.
    """

    checkout: Path
    python: Path
    work: Path
    limit: float
    kept_kernels: bool = False

    def python_of(self, words: Sequence[str], given: object = None) -> str:
        """Run the interpreter on *words*, with *given* as JSON on its input; return what it prints, or end with its log."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if not self.kept_kernels:
            environment["NUMBA_CACHE_DIR"] = str(self.work / "kernels")
        try:
            done = subprocess.run(
                [str(self.python), *words],
                cwd=self.work,
                env=environment,
                input=json.dumps(given),
                capture_output=True,
                text=True,
                timeout=self.limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SystemExit(f"{self.checkout}: a program took more than {self.limit:g} s") from None
        if done.returncode:
            raise SystemExit(f"{self.checkout}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def check(self) -> None:
        """End unless the interpreter imports this checkout: else two records of the same code would be called equal."""
        found = Path(self.python_of(["-c", WHERE]).strip()).resolve()
        if not found.is_relative_to(self.checkout):
            raise SystemExit(f"{self.python} imports approxhw from {found.parent}, not from {self.checkout}")


def few_rows(source: Path, target: Path, count: int) -> None:
    """Write the task *source* with *count* training rows, evenly spaced, and all test rows."""
    with np.load(source, allow_pickle=False) as data:
        rows = {name: data[name] for name in data.files}
    chosen = np.linspace(0, len(rows["y_train"]) - 1, min(count, len(rows["y_train"]))).astype(np.int64)
    np.savez(target, **rows | {name: rows[name][chosen] for name in ("X_train", "y_train")})


def write_network(path: Path, rows: Path, seed: int = 1) -> None:
    """Write a small network with a convolution, a product of two activations and a Gemm, each an output; and rows.

    All else is sums of two numbers, maxima and moves, so that no bit of any output depends on the processor.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)

    def drawn(shape: tuple[int, ...], size: float) -> np.ndarray:
        """Whole numbers, as a bell curve takes a logarithm; many end in zeros, so that roundings meet ties."""
        ends = rng.integers(0, 21, shape)
        return ((rng.integers(-(2**23), 2**23, shape) >> ends << ends) * (size / 2**23)).astype(np.float32)

    shapes = {"filters": (4, 1, 3, 3), "offsets": (4,), "weights": (10, 256), "bias": (10,)}
    constants = [numpy_helper.from_array(drawn(shape, 0.5), name) for name, shape in shapes.items()]
    constants.append(numpy_helper.from_array(np.array([0, 4, 64], dtype=np.int64), "folded"))
    nodes = [
        helper.make_node("Conv", ["x", "filters", "offsets"], ["features"], "features", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["kept"]),
        helper.make_node("Flatten", ["kept"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], "classifier", transB=1),
        helper.make_node("Reshape", ["features", "folded"], ["queries"]),
        helper.make_node("Transpose", ["queries"], ["keys"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["queries", "keys"], ["scores"], "scores"),
    ]
    sizes = {"x": (1, 8, 8), "logits": (10,), "features": (4, 8, 8), "scores": (4, 4)}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", *size]) for name, size in sizes.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    np.savez(rows, x=drawn((32, 1, 8, 8), 2))


def engine_of(options: str) -> tuple[tuple[Any, ...], str, str | None]:
    """Return what ``OUTPUTS`` is told of the engine with *options*: arithmetic, result, codes."""
    words = options.split()
    told = dict(zip(words[::2], words[1::2], strict=True))
    alignment = told.get("--alignment")
    bits = int(told.get("--accumulator-bits", 20))
    mac = (told.get("--format", "bf16"), bits, told["--normalization"], alignment and int(alignment))
    return mac, told.get("--result", "float32"), told.get("--compress")
