"""Time ONNX → Verilog, without synthesis, step by step: a 16-5-10 classifier (target 1 s) and a 64-32-10 one (5 s).

Beside it, from the integers on and without argmax: the Verilog of two networks by us, by da4ml and by alkaid, in CPU time
and in the area that our own synthesis gives it, after their outputs were found equal on the mapped netlists.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import Seconds, arguments, clock, command, machine, met, note, table, write

import approxhw as ax
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.ir.pass_manager import PassContext

sys.path.insert(0, str(Path(__file__).parent))
from competitors import alkaid_network, da4ml_network, our_network
from competitors.constant_network import Generated, Network

ROUNDS = 7
LIBRARIES = ("egfet", "sky130")
COMPARED = 2_000
DIGITS = Path(__file__).parent.parent / "examples" / "digits.onnx"
STEPS = ("read", "data", "passes", "build", "emit")
"""What makes Verilog of an ONNX file; reading it back and the design folder are stated apart."""

Timed = dict[str, Seconds]


def random_model(topology: tuple[int, ...], folder: Path, seed: int = 1) -> tuple[Path, dict[str, np.ndarray]]:
    """Write a seeded random classifier as ONNX; return its file and as many rows as pendigits has, labelled by it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes, constants, value = [], [], "x"
    rows = rng.uniform(0, 1, (10_992, topology[0])).astype(np.float32)
    found = rows
    for k, (inputs, outputs) in enumerate(itertools.pairwise(topology)):
        weights = rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs)).astype(np.float32)
        bias = rng.normal(0, 0.1, outputs).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"w{k}"), numpy_helper.from_array(bias, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{k}", f"b{k}"], [f"sum{k}"]))
        value, found = f"sum{k}", found @ weights + bias
        if k < len(topology) - 2:
            nodes.append(helper.make_node("Relu", [value], [f"hidden{k}"]))
            value, found = f"hidden{k}", np.maximum(found, 0)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("x", topology[0]), (value, topology[-1]))
    ]
    graph = helper.make_graph(nodes, "random", ends[:1], ends[1:], constants)
    file = folder / f"random_{'_'.join(map(str, topology))}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), file)
    labels = np.argmax(found, axis=1)
    return file, {"X_train": rows[:7694], "y_train": labels[:7694], "X_test": rows[7694:], "y_test": labels[7694:]}


def digits_model(folder: Path, hidden: int = 32) -> tuple[Path, ax.Dataset]:
    """Train 64-32-10 on scikit-learn's digits, and write it as ONNX."""
    from skl2onnx import to_onnx
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    data = ax.load_dataset("sklearn:digits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = MLPClassifier((hidden,), alpha=1e-3, max_iter=500, random_state=1).fit(data.X_train, data.y_train)
    file = folder / "digits.onnx"
    file.write_bytes(to_onnx(network, data.X_train[:1].astype(np.float32), target_opset=18).SerializeToString())
    return file, data


def steps(file: Path, data: Any) -> tuple[Timed, Timed, int]:
    """Return the time of each step of making Verilog from *file*, the time of each pass (wall only), and lines made."""
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.bespoke.readback import check_emitted

    with clock() as read:
        graph = ax.read(file)
    with clock() as loading:
        rows = ax.load_dataset(data, graph.input.type.elements, graph.classes, graph.labels)
    with clock() as passing:
        integer, records = ax.run_passes(graph, ax.Printed().passes(), PassContext(rows))
    with clock() as building:
        circuit = build_circuit(integer)
    with clock() as emitting:
        emitted = emit(circuit, header=["benchmark"])
    with clock() as reading_back:
        check_emitted(emitted)
    timed = {"read": read, "data": loading, "passes": passing, "build": building, "emit": emitting}
    passes = {record.name: Seconds(record.seconds) for record in records}
    passes["verifier, accuracies, checks"] = Seconds(passing.wall - sum(p.wall for p in passes.values()))
    return {**timed, "read back": reading_back}, passes, emitted.verilog.count("\n")


def whole(file: Path, data: Any, folder: Path) -> Seconds:
    """Return the time of ``ax.compile``: all steps, reading back, accuracies by onnxruntime too, and the design folder."""
    with clock() as taken:
        ax.compile(file, data=data, output=folder)
    return taken


def median(times: list[Seconds]) -> Seconds:
    """Return the median wall and the median CPU time."""
    return Seconds(float(np.median([t.wall for t in times])), float(np.median([t.cpu for t in times])))


def medians(rounds: list[Timed]) -> Timed:
    """Return the median of each step."""
    return {name: median([timed[name] for timed in rounds]) for name in rounds[0]}


def measure(title: str, file: Path, data: Any, target: float, scratch: Path) -> tuple[list[object], list[str]]:
    """Return the row of the first table, and the part of the result with every step."""
    note(title)
    measured = [steps(file, data) for _ in range(ROUNDS)]
    total = median([whole(file, data, scratch / "design") for _ in range(ROUNDS)])
    timed, passes = medians([m[0] for m in measured]), medians([m[1] for m in measured])
    sums = [Seconds(sum(m[0][s].wall for s in STEPS), sum(m[0][s].cpu for s in STEPS)) for m in measured]
    made, best = median(sums), min(s.wall for s in sums)
    row = [
        title,
        f"{target:g}",
        f"{made.wall:.2f}",
        f"{made.cpu:.2f}",
        f"{best:.2f}",
        met(made.wall <= target),
        f"{total.wall:.2f}",
        f"{total.cpu:.2f}",
        met(total.wall <= target),
        measured[0][2],
    ]
    part = [
        f"## Steps: {title}\n",
        table(
            ("step", "wall, s", "CPU, s"),
            [(name, f"{t.wall:.3f}", f"{t.cpu:.3f}") for name, t in timed.items()],
        ),
        "Within passes, wall seconds: " + ", ".join(f"{name} {t.wall:.3f}" for name, t in passes.items()) + ".\n",
    ]
    return row, part


def areas_of(made: Generated, codes: np.ndarray, network: Network) -> list[float]:
    """Return the area of *made* in each library; end where a mapped netlist makes other sums of *codes* than integers do."""
    areas = []
    for library in LIBRARIES:
        netlist = synthesise(made.verilog, made.top, library)
        found = made.read(simulate_netlist(netlist, made.vectors(codes))[made.output])
        if not np.array_equal(found, network.sums(codes)):
            raise SystemExit(f"{made.top}: the netlist in {library} makes other sums than the network")
        areas.append(netlist.area())
    return areas


def generators(title: str, file: Path, data: Any) -> list[tuple[object, ...]]:
    """Return a line per generator of the same integers: CPU seconds, areas, and what ours are of theirs."""
    note(f"{title}: the same integers by every generator")
    graph = ax.read(file)
    rows = ax.load_dataset(data, graph.input.type.elements, graph.classes, graph.labels)
    integer, _ = ax.run_passes(graph, ax.Printed().passes(), PassContext(rows))
    sums = our_network.without_argmax(integer)
    network = our_network.network_of(sums)
    works: dict[str, Callable[[], Generated]] = {our_network.NAME: lambda: our_network.generate(sums)}
    for module in (da4ml_network, alkaid_network):
        if module.available():
            works[module.NAME] = lambda generate=module.generate: generate(network)
        else:
            note(f"{module.MISSING}: it is left out")
    codes = np.random.default_rng(3).integers(0, 1 << network.bits, (COMPARED, network.features))
    areas = {name: areas_of(work(), codes, network) for name, work in works.items()}
    cpu: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            with clock() as taken:
                work()
            cpu[name].append(taken.cpu)
    ours, lines = np.array(cpu[our_network.NAME]), []
    for name, seconds in cpu.items():
        ratios = [f"{mine / area:.2f}" for mine, area in zip(areas[our_network.NAME], areas[name], strict=True)]
        times = f"{np.median(ours / np.array(seconds)):.1f}"
        lines.append((title, name, f"{np.median(seconds):.3f}", times, *(f"{a:,.6g}" for a in areas[name]), *ratios))
    return lines


def side_by_side(cases: list[tuple[str, Path, Any]]) -> None:
    """Measure, print, and write what the other generators make of the same integers."""
    lines = [line for case in cases for line in generators(*case)]
    left_out = [f"{module.MISSING}." for module in (da4ml_network, alkaid_network) if not module.available()]
    titles = ("network", "generator", "CPU, s", "ours takes times as long", *(f"{name}, mm²" for name in LIBRARIES))
    text = [
        "# The same integers by other generators\n",
        command(),
        "From integer weights on, without argmax (neither other one is asked for one), all sums leave the circuit; each with",
        f"its defaults, no pipeline, no limit of depth, one thread. CPU time, {ROUNDS} rounds in which they take turns, ratios",
        "of the same round; the machine is shared. Areas are by our own synthesis and mapping, for all alike; the mapped",
        f"netlists make the sums that the integers make, on all of {COMPARED:,} random rows. Ours writes commented hierarchical",
        "Verilog through Yosys.\n",
        table((*titles, *(f"ours over it, {name}" for name in LIBRARIES)), lines),
        *left_out,
        machine(),
    ]
    write("compile_time_generators", text)


def step_by_step(cases: list[tuple[str, Path, Any]], scratch: Path) -> None:
    """Measure, print, and write how long every step takes."""
    rows, parts = [], []
    warm, warm_data = random_model((7, 4, 3), scratch, seed=2)
    steps(warm, warm_data)
    whole(warm, warm_data, scratch / "warm")
    for case, target in zip(cases, (1.0, 5.0), strict=True):
        row, part = measure(*case, target, scratch)
        rows.append(row)
        parts += part
    titles = (
        "network",
        "target, s",
        "Verilog: wall",
        "CPU",
        "best wall",
        "Verilog: target",
        "`ax.compile`: wall",
        "CPU",
        "`ax.compile`: target",
        "lines of Verilog",
    )
    head = [
        "# Compile time\n",
        command(),
        f"Seconds after imports and the compilation of another model, median of {ROUNDS}. {machine()}",
        "CPU time is that of the process and its children: other work on the machine makes wall times longer, CPU times less.\n",
        f"Verilog: {', '.join(STEPS)}; the target is for this. `ax.compile`: also reads the Verilog back with pyverilog, runs",
        "onnxruntime over all rows, and writes the design folder. No synthesis and no simulator in either.\n",
        table(titles, rows),
    ]
    write("compile_time", [*head, *parts])


def main() -> None:
    """Measure both parts, or the one that is asked for."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", choices=("steps", "generators"), help="run one part, by default both")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        scratch = Path(name)
        if (given.tasks / "pendigits.onnx").is_file():
            first = ("pendigits, 16-5-10", given.tasks / "pendigits.onnx", given.tasks / "pendigits.npz")
        else:
            first = ("seeded random weights, 16-5-10", *random_model((16, 5, 10), scratch))
        if given.only != "generators":
            step_by_step([first, ("scikit-learn's digits, 64-32-10", *digits_model(scratch))], scratch)
        if given.only != "steps":
            side_by_side([first, ("`examples/digits.onnx`, 64-16-10", DIGITS, "sklearn:digits")])


if __name__ == "__main__":
    main()
