"""A ``ModelProto`` in onnxruntime, on the CPU: its options, and its errors as ours."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import InvalidDataError, InvalidModelError, Problem, UnsupportedModelError, shown

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession


def open_session(proto: ModelProto, title: str) -> InferenceSession:
    """Return *proto* in onnxruntime, one thread; *title* names the model in errors.

    Raises :class:`UnsupportedModelError` where onnxruntime lacks an operator, :class:`InvalidModelError` where it refuses.
    """
    onnxruntime = _onnxruntime()
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, NotImplemented

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # a model in many pieces would keep as many arenas
    # fused integer kernels of onnxruntime 1.32 leave the model's meaning (int16 QDQ: by hundreds of codes)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = proto.SerializeToString()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except NotImplemented as error:
        raise UnsupportedModelError(shown(title), [_problem(error, "onnxruntime lacks an operator")]) from error
    except (Fail, InvalidArgument, InvalidGraph) as error:
        raise InvalidModelError(shown(title), [_problem(error, "onnxruntime refuses the model")]) from error


def run_session(
    session: InferenceSession, outputs: Sequence[str] | None, feeds: Mapping[str, np.ndarray], title: str
) -> list[np.ndarray]:
    """Return the *outputs* (all where None) that *session* makes of *feeds*; raise :class:`InvalidDataError` where it cannot."""
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

    try:
        made: list[np.ndarray] = session.run(outputs, dict(feeds))
    except (Fail, InvalidArgument, RuntimeException) as error:
        remedy = "check the inputs: their sizes, and that indices lie inside their tables"
        raise InvalidDataError(
            shown(title), [Problem("onnxruntime", f"cannot compute this: {shown(error, 200)}", remedy)]
        ) from error
    return made


def _onnxruntime() -> ModuleType:
    """Return onnxruntime, which from 1.32 on would queue telemetry below the user's cache; a setting of the user's own wins."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
    return importlib.import_module("onnxruntime")


def _problem(error: Exception, why: str) -> Problem:
    return Problem("onnxruntime", f"{why}: {shown(str(error), 200)}")
