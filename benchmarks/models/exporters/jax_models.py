"""Networks of JAX and of Flax NNX by jax2onnx."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from exporter_cases import CLASSES, FEATURES, HIDDEN, Case

PACKAGES = ("jax2onnx", "jax", "flax")


def _weights() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = ((FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _plain(activation: str, end: str = "") -> Callable[[], Any]:
    """Return what makes a function of arrays: a hidden layer, its activation of ``jax.nn``, an output layer, an end."""

    def make() -> Any:
        import jax
        import jax.numpy as jnp

        w, b, v, c = _weights()
        ends = {"softmax": jax.nn.softmax, "argmax": lambda y: jnp.argmax(y, axis=1), "one": lambda y: y[:, :1]}

        def network(x: Any) -> Any:
            y = getattr(jax.nn, activation)(x @ w + b) @ v + c
            return ends[end](y) if end else y

        return network

    return make


def _flax(residual: bool) -> Callable[[], Any]:
    def make() -> Any:
        import jax
        from flax import nnx

        class Network(nnx.Module):
            def __init__(self, rngs: Any) -> None:
                self.first, self.second = nnx.Linear(FEATURES, HIDDEN, rngs=rngs), nnx.Linear(HIDDEN, HIDDEN, rngs=rngs)
                self.last = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

            def __call__(self, x: Any) -> Any:
                hidden = jax.nn.relu(self.first(x))
                return self.last(hidden + jax.nn.relu(self.second(hidden)) if residual else hidden)

        return Network(nnx.Rngs(0))

    return make


NETWORKS: tuple[tuple[str, str, Callable[[], Any], str | None], ...] = (
    ("function", "relu, logits", _plain("relu"), None),
    ("function", "relu, softmax", _plain("relu", "softmax"), None),
    ("function", "relu, argmax", _plain("relu", "argmax"), None),
    ("function", "relu6", _plain("relu6"), None),
    ("function", "leaky_relu", _plain("leaky_relu"), None),
    ("function", "hard_sigmoid", _plain("hard_sigmoid"), None),
    ("function", "hard_swish", _plain("hard_swish"), None),
    ("function", "tanh", _plain("tanh"), None),
    ("function", "sigmoid", _plain("sigmoid"), None),
    ("function", "silu", _plain("silu"), None),
    ("function", "gelu", _plain("gelu"), None),
    ("Flax NNX", "relu, logits", _flax(residual=False), None),
    ("Flax NNX", "branches added up", _flax(residual=True), None),
)


def _exported(make: Callable[[], Any]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        import onnx
        from jax2onnx import to_onnx

        onnx.save(to_onnx(make(), inputs=[("B", FEATURES)]), str(file))

    return write


CASES = tuple(
    Case("jax2onnx", model, form, PACKAGES, _exported(make), "jax", task) for model, form, make, task in NETWORKS
)
