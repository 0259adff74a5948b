"""PyTorch where it is there, what it is called here, and how an operator of ONNX says that it is not translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

from approxhw.common.errors import ToolNotFoundError

Tensor: TypeAlias = Any
"""A ``torch.Tensor``: PyTorch is imported where it is needed alone, and mypy does not follow it."""

EXTRA = "pip install 'approxhw[retrain]'"

Attributes = Mapping[str, Any]
"""Attributes of a node by name, as ONNX gives them."""

Made = Callable[[list[Any], Attributes], Any]
"""What an operator makes of its operands, None where one is left out: a tensor, or a list of several."""

RESULTS = "number of results"
"""Among attributes: how many values the node makes."""


class UntranslatedError(Exception):
    """A way of using an operator that has no translation; its text says which."""


def torch() -> ModuleType:
    """Return PyTorch; raise :class:`ToolNotFoundError` with the extra that brings it where it is not there."""
    try:
        import torch as found
    except ImportError as error:
        raise ToolNotFoundError("PyTorch", EXTRA) from error
    module: ModuleType = found
    return module
