"""Stream whole layers of the sentence transformer through the Verilog of a 16 × 16 array, and compare every bit."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import machine, note, table, write

from approxhw.engine_compiler import CompiledEngine, MatrixEngine, compile_engine, open_engine_design
from approxhw.engine_simulation import EngineVerdict

FOLDER = Path("build/transformer")
MODEL_SET_UP = "python benchmarks/models/sentence_transformer.py"


def engine_of(folder: Path, output: Path, tokens: int, normalization: str) -> CompiledEngine:
    """Return a 16 × 16 engine with the operands of one document of exactly *tokens* tokens."""
    if (output / "design.json").is_file():
        return open_engine_design(output)
    with np.load(folder / "documents.npz") as file:
        documents = file["tokens"]
    long = documents[(documents > 0).sum(axis=1) >= tokens][:1, :tokens].astype(np.int64)
    assert long.shape == (1, tokens)
    assert (long > 0).all()
    data = {"tokens": long, "mask": np.ones_like(long)}
    target = MatrixEngine(normalization=normalization)
    return compile_engine(folder / "model.onnx", target=target, data=data, output=output)


def layers_of(engine: CompiledEngine, tokens: int) -> list[str]:
    """Return the first product of 384 × 384, the query projection of layer 0, and the first of 384 × 1536."""
    found = []
    for k, n in ((384, 384), (384, 1536)):
        fitting = [layer.name for layer in engine.design.layers if (layer.k, layer.n) == (k, n) and layer.m == tokens]
        assert fitting, f"the model has no product of {k} × {n}"
        found.append(fitting[0])
    return found


def row(verdict: EngineVerdict, what: str) -> list[str]:
    """Return a row of the table."""
    return [
        verdict.simulator,
        verdict.layer,
        what,
        f"{verdict.m} × {verdict.k} × {verdict.n}",
        str(verdict.tiles),
        str(verdict.vectors),
        str(verdict.mismatches),
        f"{verdict.clocks} ({verdict.least_clocks})",
        ", ".join(f"{name.split('_')[-1]} {count}" for name, count in verdict.stalled.items()),
        f"{100 * verdict.utilisation:.1f} %",
        f"{sum(verdict.seconds.values()):.0f}",
    ]


def main() -> None:
    """Simulate, and write ``results/engine_layers.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="model.onnx and documents.npz")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of the document")
    parser.add_argument("--normalization", default="an-1-2")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds of a build or a run")
    given = parser.parse_args()
    lacking = [name for name in ("model.onnx", "documents.npz") if not (given.folder / name).is_file()]
    if lacking:
        note(f"skipped: {given.folder} lacks {', '.join(lacking)}; run {MODEL_SET_UP}")
        return
    output = given.folder / f"engine-{given.normalization}-{given.tokens}"
    engine = engine_of(given.folder, output, given.tokens, given.normalization)
    query, forward = layers_of(engine, given.tokens)
    rows = []
    for name in (query, forward):
        note(f"verilator: {name}")
        found = engine.simulate("verilator", layer=name, vectors=given.tokens, timeout=given.timeout)
        rows.append(row(found, "whole layer"))
    note("icarus: stalls, back-pressure, reset")
    disturbed = engine.simulate(
        "icarus", layer=query, vectors=4, columns=40, pause=0.5, hold=(300, 100), reset_at=900, timeout=given.timeout
    )
    rows.append(
        row(disturbed, "40 columns; pauses 0.5 on all streams, 100 clocks of back-pressure, reset in mid-stream")
    )
    titles = ["simulator", "layer", "what", "M × K × N", "tiles", "results compared", "mismatches"]
    titles += ["clocks (least)", "stalled clocks", "array used", "seconds"]
    write(
        "engine_layers",
        [
            "# Layers of a sentence transformer through the Verilog of a 16 × 16 array\n",
            f"    {MODEL_SET_UP}\n    python benchmarks/engine_layers.py --tokens {given.tokens} --normalization "
            f"{given.normalization}\n",
            f"One document of {given.tokens} tokens; operands are those of the model itself on the engine. Every result is "
            f"compared with the kernel as bits. {machine()}\n",
            table(titles, rows),
        ],
    )


if __name__ == "__main__":
    main()
