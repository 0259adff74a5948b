"""Stream whole layers of the sentence transformer through the Verilog of a 16 × 16 array, and compare every bit.

With ``--compress`` one layer, through an array whose ports carry 8-bit codes.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from common import machine, note, table, write

from approxhw.engine.kept_verdicts import EngineVerdict
from approxhw.engine.matrix.compile import CompiledEngine, compile_engine, open_engine_design
from approxhw.engine.matrix.cost import engine_of as engine_of_design
from approxhw.engine.matrix.target import MatrixEngine
from approxhw.numerics.mac.arithmetic import FloatMac

FOLDER = Path("build/transformer")
MODEL_SET_UP = "python benchmarks/models/sentence_transformer.py"
TITLES = ("simulator", "layer", "what", "M × K × N", "tiles", "results compared", "mismatches")
TITLES += ("clocks (least)", "stalled clocks", "array used", "seconds")


def engine_of(folder: Path, output: Path, tokens: int, normalization: str, compress: str | None) -> CompiledEngine:
    """Return a 16 × 16 engine with the operands of one document of exactly *tokens* tokens."""
    if (output / "design.json").is_file():
        return open_engine_design(output)
    with np.load(folder / "documents.npz") as file:
        documents = file["tokens"]
    long = documents[(documents > 0).sum(axis=1) >= tokens][:1, :tokens].astype(np.int64)
    assert long.shape == (1, tokens)
    assert (long > 0).all()
    data = {"tokens": long, "mask": np.ones_like(long)}
    target = MatrixEngine(FloatMac(normalization=normalization), compress=compress)
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


def stream_codes(engine: CompiledEngine, layer: str, given: argparse.Namespace) -> None:
    """Simulate one *layer* of an engine with 8-bit codes, and write ``results/engine_layers_codes.md``."""
    note(f"verilator: {layer}, {given.compress}")
    found = engine.simulate("verilator", layer=layer, vectors=given.tokens, timeout=given.timeout)
    beats = engine_of_design(engine.design).beats()
    (told,) = [each.compression for each in engine.design.layers if each.name == layer]
    lines = [
        (
            port,
            f"{beats[port]['bits']} ({beats[port]['without_codes']})",
            f"{summary['bits_after']} ({summary['bits_before']})",
            f"{summary['mse']:.3g}",
            f"{summary['mae']:.3g}",
            f"{100 * summary['relative']:.2f} %",
        )
        for port, summary in told.items()
    ]
    write(
        "engine_layers_codes",
        [
            "# A layer of a sentence transformer as 8-bit codes through the Verilog of a 16 × 16 array\n",
            f"    {MODEL_SET_UP}\n    python benchmarks/engine_layers.py --tokens {given.tokens} --normalization "
            f"{given.normalization} --compress {given.compress}\n",
            f"One document of {given.tokens} tokens; operands are those of the model itself on the engine with these codes. "
            "The ports carry codes and exponents, decoders in front of the array make bf16 of them; every result is compared "
            f"with the kernel as bits. {machine()}\n",
            table(TITLES, [row(found, "whole layer")]),
            "What goes over the ports for this layer, beside bf16 in brackets, and what the codes lose:\n",
            table(("operand", "bits a beat", "bits of the layer", "MSE", "MAE", "mean relative error"), lines),
        ],
    )


def main() -> None:
    """Simulate, and write ``results/engine_layers.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="model.onnx and documents.npz")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of the document")
    parser.add_argument("--normalization", default="an-1-2")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds of a build or a run")
    parser.add_argument("--compress", help="8-bit codes, such as dynamic8,block=256,activations=true")
    given = parser.parse_args()
    lacking = [name for name in ("model.onnx", "documents.npz") if not (given.folder / name).is_file()]
    if lacking:
        note(f"skipped: {given.folder} lacks {', '.join(lacking)}; run {MODEL_SET_UP}")
        return
    coded = "" if given.compress is None else "-" + re.sub(r"\W+", "-", given.compress)
    output = given.folder / f"engine-{given.normalization}-{given.tokens}{coded}"
    engine = engine_of(given.folder, output, given.tokens, given.normalization, given.compress)
    query, forward = layers_of(engine, given.tokens)
    if given.compress is not None:
        stream_codes(engine, query, given)
        return
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
    write(
        "engine_layers",
        [
            "# Layers of a sentence transformer through the Verilog of a 16 × 16 array\n",
            f"    {MODEL_SET_UP}\n    python benchmarks/engine_layers.py --tokens {given.tokens} --normalization "
            f"{given.normalization}\n",
            f"One document of {given.tokens} tokens; operands are those of the model itself on the engine. Every result is "
            f"compared with the kernel as bits. {machine()}\n",
            table(TITLES, rows),
        ],
    )


if __name__ == "__main__":
    main()
