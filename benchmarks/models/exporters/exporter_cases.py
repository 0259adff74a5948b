"""What a case of the exporters' table is, and what all of them share: the rows, the environments, quiet exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FEATURES, HIDDEN, CLASSES = 4, 6, 3
CLASSIFICATION, REGRESSION, MULTILABEL = "classification", "regression", "multilabel"

HERE = "approxhw"
"""The environment of approxhw itself, whose extra ``test`` has what these exporters need."""

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    HERE: (),
    "torch": (
        "torch==2.13.0",
        "brevitas==0.13.4",
        "keras==3.15.1",
        "onnxoptimizer==0.4.2",
        "onnxscript==0.7.2",
        "qonnx==1.0.0",
    ),
    "tensorflow": ("tensorflow-cpu==2.21.0", "keras==3.15.1", "tf2onnx==1.17.0"),
    "jax": ("jax2onnx==0.17.1", "jax==0.10.2", "flax==0.12.8"),
}
"""Environment → what is installed in it: what these packages pin (setuptools, NumPy, protobuf) keeps them from living in one."""


@dataclass(frozen=True)
class Case:
    """One file of one exporter.

    ``exporter``, ``model``, ``form``: what the table calls it. ``packages``: whose versions the table names. ``make`` writes
    the file. ``task``: what the model is for, where it does not say so itself. ``refused``: what the error says, where
    the form is not read. ``in_tests``: whether the tests run it, too; they have little time.
    """

    exporter: str
    model: str
    form: str
    packages: tuple[str, ...]
    make: Callable[[Path], object]
    environment: str = HERE
    task: str | None = None
    refused: str = ""
    in_tests: bool = True

    @property
    def title(self) -> str:
        """What the case is called, whole."""
        return f"{self.exporter}: {self.model}, {self.form}"


def readings(count: int = 2000) -> np.ndarray:
    """Return rows (float32, rows × features) that all cases are run on."""
    return np.random.default_rng(7).normal(scale=1.5, size=(count, FEATURES)).astype(np.float32)


def targets(count: int = 500) -> np.ndarray:
    """Return a class of each of the first readings (int64), for the models that are trained."""
    rows = readings()[:count]
    return np.argmax(rows @ np.random.default_rng(8).normal(size=(FEATURES, CLASSES)) + abs(rows[:, :1]), axis=1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what exporters say of themselves: they warn of their own age, and greet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        sys.stdout.flush()
