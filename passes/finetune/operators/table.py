"""Every operator of ONNX that PyTorch can stand in for here, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from .elements import ELEMENTS
from .layers import LAYERS
from .library import Made
from .places import PLACES

TRANSLATED: Mapping[str, Made] = {**ELEMENTS, **PLACES, **LAYERS}
"""Operators with the sums, products and turns among them that stay on the host."""
