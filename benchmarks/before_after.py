"""Time this checkout beside another one, such as a git worktree of the commit before, in turns: nothing may get slower.

    python benchmarks/before_after.py ../before

Each work runs in two processes that live on, one a checkout, each with the interpreter of its own ``.venv``. They are warmed up,
take turns on the same inputs, must answer the same digest, and tell seconds of CPU; the ratio is taken pair by pair.
What Python alone tells is asked by programs that know the names of both; see golden_runs.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import command, machine, met, table, write

CHECKOUT = Path(__file__).resolve().parents[1]
ROUNDS, LIMIT = 9, 0.05

START = """
import hashlib, json, os, resource, sys, time
import numpy as np
def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
def spent():
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
"""
SERVE = """
work()
for line in sys.stdin:
    before = spent()
    said = work()
    seconds = spent() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, said, peak]), flush=True)
"""
GEMM = """
try:
    from approxhw.numerics.mac.arithmetic import FloatMac
    from approxhw.numerics.mac.kernels.gemm import matmul
except ImportError:
    from approxhw.arithmetic import FloatMac
    from approxhw.kernels.float_gemm import matmul
rng = np.random.default_rng(1)
a, b = (rng.normal(size=(256, 256)).astype(np.float32) for _ in range(2))
def work():
    return digest(*(matmul(a, b, FloatMac("bf16", 20, name)) for name in ("exact", "an-1-2") for _ in range(25)))
"""
FITNESS = """
try:
    from approxhw.networks.kernels.masked_network import count_errors, pack_rows as prepare
    from approxhw.networks.space import make_space
except ImportError:
    from approxhw.kernels.masked_network import count_errors, prepare
    from approxhw.passes.genetic.space import make_space
space, rng = make_space((16, 5, 10)), np.random.default_rng(7)
genomes = rng.integers(space.lower, space.upper.astype(np.int64) + 1, (200, space.genes)).astype(np.int32)
rows = prepare(rng.integers(0, 16, (10_000, 16)), rng.integers(0, 10, 10_000))
def work():
    return digest(*(count_errors(space.layout, space.head, genomes, rows) for _ in range(30)))
"""
COMPILE = """
import approxhw as ax
def work():
    made = ax.compile("examples/breast_cancer.onnx", data="sklearn:breast_cancer", output=sys.argv[1] + "/design")
    return hashlib.sha256(made.verilog.encode()).hexdigest()
"""
GENERATIONS = """
import approxhw as ax
try:
    from approxhw.dse.genetic.options import Seeding
except ImportError:
    from approxhw.passes.genetic.seeding import Seeding
def work():
    # generations alone: nothing is annealed, little is synthesised, and what else the search does is a few per cent
    made = ax.search("examples/iris.onnx", data="sklearn:iris", output=sys.argv[1] + "/front", population=400, generations=150,
                     seeding=Seeding(starts=0), synthesise_every=0, folds=1, members=2, jobs=1, simulate=(), seed=1)
    return digest(made.front.genomes)
"""
TRANSFORMER = """
import onnx
from onnx import TensorProto, helper, numpy_helper
try:
    from approxhw.engine.matrix.api import open_engine
    from approxhw.numerics.mac.arithmetic import FloatMac
except ImportError:
    from approxhw.arithmetic import FloatMac
    from approxhw.engine import open_engine
rng, size, nodes, weights, last = np.random.default_rng(3), 192, [], [], "x"
def weight(name, *shape):
    weights.append(numpy_helper.from_array((rng.normal(size=shape) / shape[0] ** 0.5).astype(np.float32), name))
    return name
def add(op, inputs, output, **more):
    nodes.append(helper.make_node(op, inputs, [output], name=output, **more))
    return output
for i in range(4):
    q, k, v = (add("MatMul", [last, weight(f"w{i}{n}", size, size)], f"{n}{i}") for n in "qkv")
    score = add("MatMul", [q, add("Transpose", [k], f"t{i}", perm=[0, 2, 1])], f"score{i}")
    seen = add("MatMul", [add("Softmax", [score], f"soft{i}", axis=-1), v], f"seen{i}")
    wide = add("Relu", [add("MatMul", [seen, weight(f"up{i}", size, 4 * size)], f"wide{i}")], f"relu{i}")
    last = add("Add", [add("MatMul", [wide, weight(f"down{i}", 4 * size, size)], f"down{i}o"), last], f"out{i}")
ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64, size])] for name in ("x", last)]
model = helper.make_model(helper.make_graph(nodes, "transformer", *ends, weights), ir_version=8,
                          opset_imports=[helper.make_opsetid("", 17)])
x = rng.normal(size=(2, 64, size)).astype(np.float32)
engine = open_engine(model, FloatMac("bf16", 20, "an-1-2"), shape={"x": x.shape})
def work():
    return digest(*(made for _ in range(6) for made in engine.run({"x": x}).values()))
"""
IMPORT = """
import subprocess
def work():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(30):
        subprocess.run([sys.executable, "-c", "import approxhw"], check=True)
    return ""
"""
WORKS = {
    "float_gemm: 256³, exact and an-1-2": GEMM,
    "fitness_speed: 16-5-10, 10 000 rows, 200 genomes": FITNESS,
    "generation_speed: a search of 150 generations of 400": GENERATIONS,
    "compile_time: breast_cancer to a design folder": COMPILE,
    "transformer: four blocks of attention on the emulated engine": TRANSFORMER,
    "import_time: `import approxhw`, thirty processes": IMPORT,
}


@dataclass
class Side:
    """One work in one checkout: a process that does it once a line."""

    process: subprocess.Popen[str]

    def turn(self) -> tuple[float, str, int]:
        """Return CPU seconds of one turn, the digest of what was made, and the peak of memory so far in KiB."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a program ended with {self.process.wait()}")
        seconds, said, peak = json.loads(line)
        return seconds, said, peak


def begin(checkout: Path, program: str, folder: Path) -> Side:
    """Start *program* in *checkout*."""
    text = START + program + SERVE
    words = [checkout / ".venv/bin/python", "-c", text, folder]
    pipe = subprocess.PIPE
    return Side(subprocess.Popen(list(map(str, words)), stdin=pipe, stdout=pipe, text=True, cwd=checkout))


def measure(program: str, before: Path) -> tuple[list[float], list[float], list[int]]:
    """Return seconds of both, turn by turn, and their peaks of memory; ends where they make different things."""
    with tempfile.TemporaryDirectory() as scratch:
        sides = []
        for name, checkout in (("before", before), ("after", CHECKOUT)):
            (Path(scratch) / name).mkdir()
            sides.append(begin(checkout, program, Path(scratch) / name))
        seconds: tuple[list[float], list[float]] = ([], [])
        peaks = [0, 0]
        try:
            for _ in range(ROUNDS):
                said = []
                for number, side in enumerate(sides):
                    took, made, peaks[number] = side.turn()
                    seconds[number].append(took)
                    said.append(made)
                if said[0] != said[1]:
                    raise SystemExit("the two checkouts make different things")
        finally:
            for side in sides:
                side.process.kill()
    return *seconds, peaks


def main() -> None:
    """Measure every work, and write results/before_after.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path, nargs="?", help="the checkout before")
    given = parser.parse_args()
    if given.checkout is None:  # as in ``make bench``, which knows of no other checkout
        parser.print_help()
        return
    rows = []
    for name, program in WORKS.items():
        before, after, peaks = measure(program, given.checkout.resolve())
        ratios = [b / a for a, b in zip(before, after)]
        ratio, memory = statistics.median(ratios), peaks[1] / peaks[0]
        spread = f"{min(ratios):.2f} … {max(ratios):.2f}"
        rows.append(
            (name, statistics.median(before), statistics.median(after), ratio, spread, memory, met(ratio <= 1 + LIMIT))
        )
        print(*rows[-1], flush=True)
    told = [
        (name, f"{a:.3f}", f"{b:.3f}", f"{ratio:.3f}", spread, f"{memory:.2f}", word)
        for name, a, b, ratio, spread, memory, word in rows
    ]
    heads = (
        "work",
        "CPU s before",
        "CPU s after",
        "after / before",
        "all pairs",
        "peak memory",
        "within 5 %",
    )
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=given.checkout, capture_output=True, text=True, check=False
    ).stdout.strip()
    write(
        "before_after",
        [
            "# Before and after\n",
            command(),
            f"Before: commit {revision}. {ROUNDS} turns each, interleaved; both make the same, by digest. {machine()}\n",
            table(heads, told),
        ],
    )


if __name__ == "__main__":
    main()
