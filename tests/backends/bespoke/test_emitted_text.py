"""The text that comes out: the same every time, clean for linters, legal and readable whatever things are called."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.bespoke.readback import check_emitted, read_modules
from approxhw.common.errors import OutputError, PassError
from approxhw.common.tools import find_verilator, run_tool
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import ArgMax, Relu, Requantize
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.sim import bundle, lint, simulate

WEIGHTS = [[1, -2, 3, 5, 7, -3], [3, 5, -7, 1, 1, 2], [2, 2, 2, 9, 11, -13]]
BIAS = [1, -2, 3]
AWKWARD = {
    "templates": ("choose", "ripple_adder", "full_adders", "greater_than", "mask_bits", "any_bit"),
    "signals": ("clock", "relu", "total", "unused_0", "level01_full_sum", "total_inverted"),
    "blocks": ("layer0_neuron0", "layer0_shared", "layer0_neuron0_y", "argmax", "layer0_neuron1_instance", "threshold"),
    "registers": ("clock", "clock_held", "clock_2", "class_index_next", "f_held", "f"),
    "template_ports": ("a", "b", "c", "sum", "carry", "carry_in"),
    "output": ("class_index", "class_index_2", "top", "tiny", "x", "value"),
    "long": tuple(f"{'reading_of_a_sensor_' * 3}{i}" for i in range(6)),
}


def text_of(seed, registers=False):
    return emit(build_circuit(random_graph(seed)), registers=registers).verilog


@pytest.mark.parametrize("registers", [False, True])
def test_the_same_graph_gives_the_same_text(registers):
    for seed in (3, 8):
        assert text_of(seed, registers) == text_of(seed, registers)


def test_the_text_does_not_depend_on_the_hash_seed():
    program = (
        "from approxhw.ir.random_graphs import random_graph\n"
        "from approxhw.backends.bespoke.circuit import build_circuit\n"
        "from approxhw.backends.bespoke.emit import emit\n"
        "import hashlib\n"
        "texts = [emit(build_circuit(random_graph(seed)), registers=bool(seed % 2)).verilog for seed in (2, 3, 8, 13)]\n"
        "print(hashlib.sha256('\\n'.join(texts).encode()).hexdigest())\n"
    )
    digests = set()
    for seed in ("0", "1", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == 64


OUTPUTS = ("choose", "argmax", "layer0_neuron0", "layer0_neuron0_y", "top", "clock", "tiny")


@pytest.fixture(scope="module")
def awkward(making, jobs):
    """Simulations of circuits by awkward names of features, and of the output, without registers and with them."""

    def of_features(names, registers):
        hidden = making(AWKWARD[names], 2).dense(WEIGHTS, BIAS).then(Relu(), name="relu")
        return jobs(hidden.argmax().graph(), registers=registers, limit=8, random=60)

    made = {(names, registers): of_features(names, registers) for names in AWKWARD for registers in (False, True)}
    outputs = {output: making(2, 2).dense([[1, 3], [2, -1]]).argmax(output).graph() for output in OUTPUTS}
    return made | {(output, True): jobs(graph, registers=True) for output, graph in outputs.items()}


@pytest.mark.parametrize("names", AWKWARD)
@pytest.mark.parametrize("registers", [False, True])
def test_awkward_names_of_features(names, registers, awkward, icarus, verilator):
    job = awkward[names, registers]
    assert {name for name, _ in job.inputs} <= set(AWKWARD[names])
    lint(job.verilog, job.top)


@pytest.mark.parametrize("output", OUTPUTS)
def test_awkward_names_of_the_output(output, awkward, icarus, verilator):
    job = awkward[output, True]
    assert job.outputs == ((output, 1),)
    lint(job.verilog, job.top)


@pytest.mark.parametrize("registers", [False, True])
def test_circuits_of_awkward_names_are_right(registers, awkward, icarus, tmp_path):
    """All of one latency under one top: their modules, and ports named like one, get a prefix there, and nothing else does."""
    made = [job for (_, has), job in awkward.items() if has == registers]
    assert len(made) == len(AWKWARD) + registers * len(OUTPUTS)
    assert simulate(bundle(made), "icarus", tmp_path / "icarus").mismatches == 0


def test_a_graph_named_like_a_template_or_a_feature(making, jobs, icarus, verilator):
    for name in ("greater_than", "f0", "argmax", "class_index", "layer0_shared"):
        job = jobs(making(2, 2, name=name).dense([[1, 3], [2, -1]]).argmax().graph())
        lint(job.verilog, job.top)
        assert len(read_modules(job.verilog)) == len(re.findall(r"^module ", job.verilog, re.M))


def test_the_name_of_the_top_can_be_chosen(making):
    graph = making(2, 2).argmax().graph()
    assert emit(build_circuit(graph, "chosen_top")).top == "chosen_top"
    assert emit(build_circuit(graph, 'odd "name" */ ü')).top == "odd_name"


def module_texts(verilog):
    return {m[1]: m[0] + "\n" for m in re.finditer(r"^module (\w+)\b.*?^endmodule$", verilog, re.S | re.M)}


@pytest.mark.parametrize("seed", [1, 4, 6, 9, 12, 17])
def test_one_module_a_file_is_clean_under_wall(seed, verilator, tmp_path):
    emitted = emit(build_circuit(random_graph(seed)), registers=bool(seed % 2), header=["model:  x"])
    assert emitted.verilog.isascii()
    assert "verilator" not in emitted.verilog
    assert "lint_off" not in emitted.verilog
    texts = module_texts(emitted.verilog)
    for name, text in texts.items():
        (tmp_path / f"{name}.v").write_text(text)
    files = [emitted.top, *(name for name in texts if name != emitted.top)]
    arguments = ["--lint-only", "-Wall", "--quiet", "--default-language", "1364-2005", "--top-module", emitted.top]
    said = run_tool(
        find_verilator(), [*arguments, *(f"{name}.v" for name in files)], timeout=120, folder=tmp_path
    ).output
    assert said.strip() == ""


def test_the_linter_is_listening(verilator, tmp_path):
    (tmp_path / "other.v").write_text("module top(input [1:0] a, output b); assign b = a[0]; endmodule\n")
    arguments = ["--lint-only", "-Wall", "--quiet", "-Wno-fatal", "other.v"]
    said = run_tool(find_verilator(), arguments, timeout=120, folder=tmp_path).output
    assert "DECLFILENAME" in said
    assert "UNUSED" in said


def test_ports_stand_in_the_order_of_features_and_instances_in_that_of_the_data(making):
    graph = making(("zeta", "alpha", "mid"), 3).dense([[3, 5, -7], [2, 9, 1]], [4, -4]).then(Relu()).argmax().graph()
    for registers in (False, True):
        emitted = emit(build_circuit(graph), registers=registers)
        modules = check_emitted(emitted)
        ports = [port.name for port in modules[emitted.top].ports]
        assert ports == [*(["clock"] if registers else []), "zeta", "alpha", "mid", "class_index"]
        kinds = [kind for kind, _ in modules[emitted.top].instances]
        assert kinds == ["layer0_shared", "layer0_neuron0", "layer0_neuron1", "argmax"]
        inner = [instance for _, instance in modules["layer0_neuron0"].instances]
        assert inner[-2:] == ["total_cells", "relu_cells"]
        assert inner[:-2] == sorted(inner[:-2], key=lambda name: int(name[5:7]))


def test_comments_say_formula_range_and_bits(making):
    graph = making(("first", "second"), 3).dense([[8, -16], [3, 1]], [8, 0]).argmax().graph()
    text = emit(build_circuit(graph), header=["model:  x"]).verilog
    assert text.startswith("// model:  x\n\n")
    assert "// layer0_neuron0_y = 8*first - 16*second + 8\n//   -104 to 64, in two's complement\n" in text
    assert "//   layer0_neuron0_y carries bits 7:3 of it: the others are constant, or nothing reads them\n" in text
    assert "// layer0_neuron1_y = 3*first + second\n//   0 to 28\n" in text
    assert "// class_index = index of the greatest value, the lowest of equal ones\n" in text


def test_bits_that_nothing_reads_have_no_port(making):
    top_bits = making(("first", "second"), 4).then(Requantize((1,), 2, (0,), 0, 3)).argmax().graph()
    emitted = emit(build_circuit(top_bits))
    assert emitted.input_bits == (("first", (2, 3)), ("second", (2, 3)))
    assert "// first carries bits 3:2 of its code\n" in emitted.verilog
    unread = making(("first", "second", "third"), 2).dense([[1, 0, 2], [2, 0, 1]]).argmax().graph()
    assert [name for name, _ in emit(build_circuit(unread)).input_bits] == ["first", "third"]


def test_a_constant_circuit_has_no_inputs(making, verilator, icarus):
    emitted = emit(build_circuit(making(2, 2).dense([[0, 0], [0, 0]], [1, 2]).argmax().graph()))
    assert emitted.input_bits == ()
    assert "assign class_index = 1'h1;" in emitted.verilog
    lint(emitted.verilog, emitted.top)


def test_registers_have_no_initial_value_and_no_reset(making):
    emitted = emit(build_circuit(making(2, 2).dense([[1, 2], [2, 1]]).argmax().graph()), registers=True)
    assert (emitted.clock, emitted.latency) == ("clock", 2)
    assert "initial" not in emitted.verilog
    assert emitted.verilog.count("always @(posedge clock)") == 3
    assert "rst" not in module_texts(emitted.verilog)[emitted.top]


def test_what_cannot_be_built_is_named_all_at_once(making):
    real = random_float_graph(1)
    with pytest.raises(PassError, match="quantise the Graph first"):
        build_circuit(real)
    headless = making(2, 2).dense([[1, 2], [2, 1]]).then(Relu(), name="last").graph()
    assert [name for name, _ in build_circuit(headless).outputs] == ["value0", "value1"], "numbers may leave, too"


def test_nothing_is_left_in_the_working_folder(making):
    before = set(Path.cwd().iterdir())
    graph = making(40, 1).dense([[1] * 40, [-1] * 40], [0, 1]).argmax().graph()
    assert isinstance(graph, Graph)
    assert isinstance(graph[graph.output].op, ArgMax)
    emit(build_circuit(graph))
    assert set(Path.cwd().iterdir()) == before


def test_several_designs_share_a_simulation(jobs, icarus, tmp_path):
    made = [jobs(random_graph(seed), random=40, limit=6) for seed in (20, 21, 22)]
    assert simulate(bundle(made), "icarus", tmp_path / "icarus").mismatches == 0


@pytest.mark.parametrize(
    ("keep", "why"), [(True, "Yosys could not write them whole"), (False, "they cannot be written")]
)
def test_a_full_disk_is_told_as_one(monkeypatch, keep, why):
    # what a full disk does: Yosys writes a part of the file, or none, and leaves with 0
    def cut(tool, arguments, **about):
        result = run_tool(tool, arguments, **about)
        written = arguments[0].with_name("design.v")
        if keep:
            written.write_text(written.read_text()[:200])
        else:
            written.unlink()
        return result

    monkeypatch.setattr("approxhw.backends.bespoke.emit.run_tool", cut)
    with pytest.raises(OutputError) as caught:
        emit(build_circuit(random_graph(3)))
    (problem,) = caught.value.problems
    assert problem.where.startswith("temporary files in ")
    assert why in problem.why
    assert problem.remedy == "free some space, or set TMPDIR to another folder that is there"
