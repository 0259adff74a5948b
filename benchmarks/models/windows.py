"""Set-up of the comparers of windows: which half of a row of 8-bit readings is greater in sum, as ONNX and rows.

Everything is exact in bfloat16, every sum has thousands of terms, and what decides is a small difference of two large sums:
what an engine loses here, normalization and the width of the sum lose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

READINGS = (2048, 8192)
ROWS, SEED = 2000, 0


def write_windows(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write a model and its rows for each number of readings into *folder*; return them by name."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for count in READINGS:
        rng = np.random.default_rng([SEED, count])
        rows = rng.integers(0, 256, (ROWS, count)).astype(np.float32)
        weights = np.repeat([1.0, -1.0], count // 2).astype(np.float32)[:, None]
        labels = (rows.astype(np.int64) @ weights.astype(np.int64) > 0).astype(np.int64)[:, 0]
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"], name="windows")],
            f"windows{count}",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", count])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])],
            [numpy_helper.from_array(weights, "w")],
        )
        model, data = folder / f"{count}.onnx", folder / f"{count}.npz"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
        np.savez_compressed(data, X_test=rows, y_test=labels)
        found[f"windows, {count}"] = model, data
    return found
