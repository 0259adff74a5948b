"""Stream whole layers of a residual network and of a sentence transformer through the Verilog of a 16 × 16 integer array.

Products are those of an approximate multiplier on the codes of the models themselves; every result is compared with what the
Graph means, bit for bit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import machine, note, table, write
from engine_layers import TITLES, row

import approxhw as ax
from approxhw.common.data.dataset import DataSpec

IMAGES, TEXTS = Path("build/fashion"), Path("build/transformer")
OPERATOR, TOKENS = "truncated-6", 64
CHOSEN = (1, 5, 8)
"""Layers of the residual network: convolutions of 16, of 32 and of 64 channels."""


def main() -> None:
    """Compile, simulate, and write ``results/integer_layers.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of resnet8.onnx and fashion.npz")
    parser.add_argument("--texts", type=Path, default=TEXTS, help="folder of model.onnx and documents.npz")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds of a build or a run")
    given = parser.parse_args()
    lines = []
    for model, data, wanted in (images(given.images), texts(given.texts)):
        if not model.is_file():
            script = "residual_cnn" if wanted else "sentence_transformer"
            note(f"skipped: there is no {model}: python benchmarks/models/{script}.py")
            continue
        engine = ax.compile_integer_engine(
            str(model), target=ax.IntegerEngine(operator=OPERATOR), data=data, output=model.parent / "integer-layers"
        )
        layers = engine.design.layers
        square = [each.name for each in layers if (each.k, each.n) == (384, 384)]
        names = [layers[number].name for number in wanted] or square[:1]
        for name in names:
            note(f"verilator: {name}")
            found = engine.simulate("verilator", layer=name, vectors=1024, timeout=given.timeout)
            lines.append(row(found, "whole layer, one image" if wanted else f"whole layer, {TOKENS} tokens"))
        note(f"icarus: {names[0]}")
        part = engine.simulate("icarus", layer=names[0], vectors=16, columns=16, pause=0.5, timeout=given.timeout)
        lines.append(row(part, "16 rows, stalls at every second clock"))
    if lines:
        write(
            "integer_layers",
            [
                "# Whole layers through the Verilog of an integer array\n",
                "    python benchmarks/models/residual_cnn.py\n    python benchmarks/models/sentence_transformer.py\n"
                "    python benchmarks/integer_layers.py\n",
                f"16 × 16 elements, products by {OPERATOR}, accumulators of proven width. {machine()}\n",
                table(TITLES, lines),
            ],
        )


def images(folder: Path) -> tuple[Path, DataSpec, tuple[int, ...]]:
    """Return the network, its rows with one image to look at, and the layers to stream."""
    file = folder / "fashion.npz"
    if not file.is_file():
        return folder / "resnet8.onnx", "", CHOSEN
    held = np.load(file)
    seen = {"X_train": held["X_validation"][:256], "y_train": held["y_validation"][:256]}
    return folder / "resnet8.onnx", {**seen, "X_test": held["X_test"][:1], "y_test": held["y_test"][:1]}, CHOSEN


def texts(folder: Path) -> tuple[Path, DataSpec, tuple[int, ...]]:
    """Return the transformer and two documents of so many tokens: ranges come of the first, operands of the second."""
    file = folder / "documents.npz"
    if not file.is_file():
        return folder / "model.onnx", "", ()
    documents = np.load(file)["tokens"]
    long = documents[(documents > 0).sum(axis=1) >= TOKENS][:2, :TOKENS].astype(np.int64)
    return folder / "model.onnx", {"tokens": long, "mask": np.ones_like(long)}, ()


if __name__ == "__main__":
    main()
