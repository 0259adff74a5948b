"""Accuracy of small networks on the emulated matrix engine, in every format and as 8-bit codes: digits and the five tasks.

The networks for digits come from ``benchmarks/models/digits.py``, the five tasks from their folder (``--tasks``), and what tells
normalizations apart from ``benchmarks/models/windows.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import DEFAULT_TASKS, TASKS, arguments, clock, command, machine, met, note, table, write
from models.windows import write_windows

from approxhw.engine.matrix.api import open_engine
from approxhw.ir.kinds.tensor.ops import Feed
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.numerics.mac.arithmetic import FloatMac

DIGITS, WINDOWS = Path("build/digits"), Path("build/windows")
WITHIN, WITHIN_OF_CODES = 0.01, 0.005
MACS = (
    *(FloatMac("bf16", width, name) for width in (16, 20, 24) for name in ("exact", "an-1-1", "an-1-2", "an-2-2")),
    FloatMac("fp16", 22, "an-1-2"),
    FloatMac("e4m3", 16, "exact"),
    FloatMac("e4m3", 16, "an-1-2"),
    FloatMac("e5m2", 16, "exact"),
    FloatMac("e5m2", 16, "an-1-2"),
)
CODED = FloatMac("bf16", 20, "an-1-2")
CODES = tuple(
    f"{kind}{block}{activations}"
    for kind in ("dynamic8", "linear8")
    for activations in ("", ",activations=true")
    for block in (",block=64", ",block=256", "")
)
"""Weights, and activations too, as 8-bit codes on the ports of an engine of ``CODED``."""


def engines(folder: Path) -> dict[str, tuple[EmulatedEngine, np.ndarray, np.ndarray]]:
    """Return the networks that are there, each with the rows and labels that its accuracy is measured on."""
    found = {}
    files = [(name, *files) for name, files in write_windows(WINDOWS).items()]
    files += [(name, DIGITS / f"{name}.onnx", DIGITS / "digits.npz") for name in ("cnn", "mlp")]
    files += [(name, folder / f"{name}.onnx", folder / f"{name}.npz") for name in TASKS]
    for name, model, data in files:
        if not (model.is_file() and data.is_file()):
            how = "python benchmarks/models/digits.py" if model.parent == DIGITS else "name the folder: --tasks FOLDER"
            note(f"left out: {name}, {model} or {data} is not there; {how}")
            continue
        with np.load(data) as file:
            rows, labels = file["X_test"].astype(np.float32), file["y_test"]
        probe = open_engine(model, None, shape={_input(model): (1, rows.shape[1])})
        found[f"digits, {name}" if model.parent == DIGITS else name] = probe, rows, labels
    return found


def _input(model: Path) -> str:
    import onnx

    return str(onnx.load(str(model)).graph.input[0].name)


def accuracy(engine: EmulatedEngine, rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of *rows* that the engine puts into their class."""
    (name,) = (node.op.title for node in engine.graph.nodes if isinstance(node.op, Feed))
    (scores,) = engine.run({name: rows}).values()
    seen = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)
    return float((seen == labels).mean())


def main() -> None:
    """Measure, print, and write the result."""
    given = arguments("Measure the accuracy of small networks on the matrix engine.").parse_args()
    models = engines(given.tasks)
    if not models:
        raise SystemExit(0 if given.tasks is DEFAULT_TASKS else 1)
    lines, verdicts = [], []
    with clock() as seconds:
        base = {name: accuracy(engine, rows, labels) for name, (engine, rows, labels) in models.items()}
        lines.append(("float32 (onnxruntime)", *(f"{100 * share:.2f} %" for share in base.values())))
        shares: dict[FloatMac, dict[str, float]] = {}
        for mac in MACS:
            shares[mac] = {
                name: accuracy(e.configured(mac), rows, labels) for name, (e, rows, labels) in models.items()
            }
            lines.append((str(mac), *(f"{100 * (shares[mac][name] - base[name]):+.2f}" for name in models)))
        networks = {name: found for name, found in models.items() if not name.startswith("windows")}
        coded: dict[str, dict[str, float]] = {}
        for code in CODES:
            coded[code] = {
                name: accuracy(e.configured(CODED).coded(code), rows, labels)
                for name, (e, rows, labels) in networks.items()
            }
        codes = [
            (code, *(f"{100 * (coded[code][name] - shares[CODED][name]):+.2f}" for name in networks)) for code in CODES
        ]
    for code in (code for code in CODES if code.startswith("dynamic8")):
        losses = {name: shares[CODED][name] - coded[code][name] for name in networks}
        missed = [name for name, loss in losses.items() if loss > WITHIN_OF_CODES]
        worst, where = max((loss, name) for name, loss in losses.items())
        verdicts.append(
            (
                f"{code}: loses at most {100 * WITHIN_OF_CODES:g} % beside {CODED} without codes",
                f"{-100 * worst:+.2f} points at worst ({where}); kept by {len(networks) - len(missed)} of {len(networks)}",
                met(not missed),
            )
        )
    for width in (16, 20, 24):
        mac, exact = (FloatMac("bf16", width, name) for name in ("an-1-2", "exact"))
        for words, other in (("float32", base), ("exact normalization", shares[exact])):
            worst, where = min((shares[mac][name] - other[name], name) for name in models)
            verdicts.append(
                (
                    f"{mac}: within {100 * WITHIN:g} % of {words}",
                    f"{100 * worst:+.2f} points at worst ({where})",
                    met(worst >= -WITHIN),
                )
            )
    write(
        "engine_accuracy",
        [
            "# Small networks on the emulated matrix engine\n",
            "    python benchmarks/models/digits.py\n" + command(),
            "Every product of every network runs on the engine; rows that no network was trained on. Figures below the first",
            "line are points beside float32. Rows: "
            + ", ".join(f"{name} {len(m[1])}" for name, m in models.items())
            + ".",
            "What bf16 with exact normalization and W = 24 loses is lost by rounding inputs and weights, which no normalization",
            "brings back: the five tasks come as they were read, in units of their own, and nothing is scaled for eight bits.",
            "The windows tell normalizations apart: which half of so many 8-bit readings has the greater sum. All operands",
            "are exact in bfloat16, the sums are long, and a small difference of large numbers decides.",
            f"Layers of the digits' networks: {_layers(models)}.",
            f"{machine()} CPU time of everything: {seconds.cpu:.0f} s.\n",
            table(("arithmetic", *models), lines),
            "\nWith operands as 8-bit codes on the ports, maxima rounded up to powers of two, blocks along K: points beside the",
            f"same engine, {CODED}, without codes. {_weights(networks)}",
            "Networks of a hundred weights, fed with readings in units of their own, have nothing that evens errors out.",
            "One row more or less is "
            + ", ".join(f"{100 / len(m[1]):.2f} ({name})" for name, m in networks.items())
            + " points.\n",
            table(("codes", *networks), codes),
            table(("to reach", "measured", ""), verdicts),
        ],
    )


def _weights(models: dict[str, tuple[EmulatedEngine, np.ndarray, np.ndarray]]) -> str:
    """Say how many weights each network has."""
    counts = {name: sum(e.count * e.k * e.n for e in engine.layers) for name, (engine, _, _) in models.items()}
    return "Weights: " + ", ".join(f"{name} {count}" for name, count in counts.items()) + "."


def _layers(models: dict[str, tuple[EmulatedEngine, np.ndarray, np.ndarray]]) -> str:
    said = []
    for name, (engine, _, _) in models.items():
        if name.startswith("digits"):
            said.append(f"{name}: " + ", ".join(f"{e.op} {e.count} × ({e.m}×{e.k}×{e.n})" for e in engine.layers))
    return "; ".join(said) or "none here"


if __name__ == "__main__":
    main()
