"""The search for operators layer by layer: its front, its seed, its chosen engine, what guides it, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import approxhw as ax
from approxhw.backends.estimate import load_library
from approxhw.common.errors import InvalidDataError, OptionError, PassError
from approxhw.engine.integers.operator_search import pose
from approxhw.engine.integers.operator_search.operator_costs import priced_operators
from approxhw.engine.integers.operator_search.pose import operator_problem
from approxhw.engine.integers.plans import LayerPlan, read_plan, spell_plan

ARRAY = ax.IntegerEngine(rows=4, columns=4, vectors=16, library="egfet")
FEW = {
    "operators": "truncated-6,truncated-8,leading-3",
    "edits": ("none", "tune", "fit", "4bits", "4bits+fit"),
    "population": 8,
    "generations": 1,
    "max_accuracy_loss": 0.3,
}


@pytest.fixture(scope="module", autouse=True)
def _operators_priced_once():
    """Every search here prices the same few operators: what one of this process has mapped serves the others."""
    known = {}

    def priced(named, cells, **options):
        asked = (named, cells.name, options["signed"], options["weight"])
        if asked not in known:
            known[asked] = real(named, cells, **options)
        return known[asked]

    real = pose.priced_operators
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose, "priced_operators", priced)
        yield


@pytest.fixture(scope="module")
def front(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("integer_front") / "front"
    return ax.search(files / "net.onnx", data=files / "rows.npz", output=folder, target=ARRAY, **FEW)


@pytest.fixture(scope="module")
def posed(files, tmp_path_factory):
    """The problem of the same search, opened but not searched."""
    folder = tmp_path_factory.mktemp("integer_problem") / "front"
    return operator_problem(files / "net.onnx", data=files / "rows.npz", output=folder, target=ARRAY, **FEW)


def test_no_member_beats_another_and_all_save_energy(front):
    costs = [member.cost for member in front.members]
    accuracies = [member.search_accuracy for member in front.members]
    assert costs == sorted(costs)
    assert accuracies == sorted(accuracies)
    for member in front.members:
        assert list(member.layers) == ["conv1", "conv2", "fc1", "fc2"]
        assert member.saved == pytest.approx(1 - member.energy_nj / front.exact_energy_nj)
        assert {read_plan(f"0={each}")[0].operator for each in member.layers.values()} == set(member.arithmetics)
        assert member.apart_um2 >= member.area_um2
        assert [str(each) for each in read_plan(member.plan).values()] == list(member.layers.values())
    assert front.members[0].saved > 0.2
    assert front.rows == {"search": 22, "validation": 10, "test": 32}
    assert front.evaluations <= 8 * 2


def test_the_chosen_member_is_compiled_as_it_was_judged(front, files):
    chosen = front.chosen
    made = ax.open_integer_design(front.folder / "chosen")
    assert made.accuracy["engine"] == pytest.approx(chosen.test_accuracy)
    assert {layer.operator for layer in made.design.layers} == set(chosen.arithmetics)
    told = json.loads((front.folder / "front.json").read_text())
    assert told["target"] == "integer-engine"
    assert told["chosen"]["design"] == str(front.folder / "chosen")
    assert (front.folder / "front.csv").read_text().splitlines()[0].endswith(",apart_um2,saved")
    page = (front.folder / "report.html").read_text()
    assert "operators chosen layer by layer" in page
    assert "Chosen: saved" in page
    assert made.simulate("icarus", layer="fc1", vectors=4).mismatches == 0


def test_a_front_of_engines_says_what_can_be_done_with_it(front, cli):
    said = cli("compile", front.folder, "--pick", "knee", "-o", front.folder.parent / "x")
    assert said.exit_code == 9
    assert "an engine's front holds its chosen member alone" in said.output
    assert f"open {front.folder / 'chosen'}; compile MODEL anew for another member" in " ".join(said.output.split())


def test_every_genome_is_judged_by_the_graph_that_its_target_compiles_to(posed, files, tmp_path):
    """Bit for bit: the Graph of a genome, and what compiling its target makes of the same model and rows."""
    genome = np.minimum(posed.upper, [3, 5, 4, 2]).astype(np.int32)
    found = posed.lowered(genome)
    made = ax.compile(files / "net.onnx", target=posed.planned(genome), data=files / "rows.npz", output=tmp_path / "e")
    told = posed.describe(genome)
    assert made.accuracy["engine"] == pytest.approx(told["test_accuracy"])
    assert [str(node.op.arithmetic) for node in found.nodes if hasattr(node.op, "variate")] == [
        layer.arithmetic for layer in made.design.layers
    ]
    assert spell_plan(posed.plan(genome)) == posed.planned(genome).layers


def test_estimates_of_harm_follow_the_errors_of_sums(posed):
    """Of one layer: the estimated variance beside that of its sums, operator by operator, by rank."""
    for layer in posed.choices:
        assert layer[0].plan == LayerPlan("exact")
        assert layer[0].harm == 0
        energies = [each.energy_fj for each in layer]
        assert energies == sorted(energies, reverse=True)
    cheap, dear = posed.upper, posed.lower
    assert posed.costs(dear)["saved"] == pytest.approx(0)
    assert posed.costs(cheap)["saved"] > 0.3
    starts = posed.initialise(12, np.random.default_rng(1))
    assert starts.shape == (12, 4)
    harms = [sum(layer[g].harm for layer, g in zip(posed.choices, genome)) for genome in starts[:6]]
    assert harms == sorted(harms)


def test_the_same_seed_finds_the_same_front_whoever_works(front, files, tmp_path):
    again = ax.search(
        files / "net.onnx", data=files / "rows.npz", output=tmp_path / "front", target=ARRAY, jobs=2, **FEW
    )
    assert again.members == front.members
    assert again.evaluations == front.evaluations
    islands = {**FEW, "islands": 2}
    one, two = (
        ax.search(
            files / "net.onnx",
            data=files / "rows.npz",
            output=tmp_path / f"i{jobs}",
            target=ARRAY,
            jobs=jobs,
            **islands,
        )
        for jobs in (1, 2)
    )
    assert one.members == two.members


def test_a_search_that_was_ended_goes_on(front, files, tmp_path):
    seen = []
    ended = ax.search(
        files / "net.onnx", data=files / "rows.npz", output=tmp_path / "front", target=ARRAY,
        on_generation=seen.append, stop=lambda: len(seen) == 1, **FEW,
    )  # fmt: skip
    assert "the search was interrupted" in ended.rule
    again = ax.search(
        files / "net.onnx", data=files / "rows.npz", output=tmp_path / "front", target=ARRAY, resume=True, **FEW
    )
    assert again.members == front.members


def test_test_rows_choose_nothing(front, files, tmp_path):
    """Other test rows, all of one class: the same members, the same one chosen."""
    rows = dict(np.load(files / "rows.npz"))
    half = len(rows["x"]) // 2
    rows["x"][half:], rows["labels"][half:] = 1e6, 0
    np.savez(tmp_path / "rows.npz", **rows)
    other = ax.search(files / "net.onnx", data=tmp_path / "rows.npz", output=tmp_path / "front", target=ARRAY, **FEW)
    assert [member.layers for member in other.members] == [member.layers for member in front.members]
    assert other.chosen.index == front.chosen.index


def own_module(name, body, ports="input signed [7:0] A, input [7:0] B, output signed [15:0] O"):
    return f"module {name}({ports});\n{body}\nendmodule\n"


def test_a_library_with_broken_files_goes_on_with_the_good_ones(files, tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    exact = "assign O = A * $signed({1'b0, B});"
    (folder / "good.v").write_text(own_module("good", exact.replace("= A", "= (A & 8'shf0)")))
    (folder / "also.v").write_text(own_module("also", exact.replace("= A", "= (A & 8'she0)")))
    (folder / "unsigned.v").write_text(
        own_module("unsigned_one", "assign O = A * B;", "input [7:0] A, input [7:0] B, output [15:0] O")
    )
    (folder / "broken.v").write_text("module broken(input a;")
    (folder / "talking.v").write_text(own_module("talking", exact + ' initial $display("hello");'))
    (folder / "state.v").write_text(
        own_module("state", "reg signed [15:0] r; always @(posedge c) r <= A * B; assign O = r;",
                   "input c, input signed [7:0] A, input [7:0] B, output signed [15:0] O")
    )  # fmt: skip
    (folder / "deeper").mkdir()
    (folder / "deeper" / "good.v").write_text(own_module("good", exact.replace("= A", "= (A & 8'sh80)")))
    (folder / "semi;colon.v").write_text(own_module("semi", exact.replace("= A", "= (A & 8'shfe)")))
    (folder / "narrow.v").write_text(
        own_module("narrow", "assign O = A * B;", "input signed [3:0] A, input [3:0] B, output signed [7:0] O")
    )
    np.savez(folder / "table.npz", products=np.zeros((256, 256), np.int32))
    found = operator_problem(
        files / "net.onnx",
        data=files / "rows.npz",
        output=tmp_path / "front",
        target=ARRAY,
        operators=f"{folder},truncated-7",
        edits=("none",),
    )
    assert {each.plan.operator for layer in found.choices for each in layer} <= {
        "exact", "truncated-7", f"{folder}/deeper/good.v", f"{folder}/also.v",
    }  # fmt: skip
    told = "\n".join(found.notes)
    for part in (
        "broken.v",
        "talking.v: $display: an operator has gates and registers alone",
        "state.v",
        "narrow.v: its operands are no weights of 8 bits and x of 8, as the model's widest codes are; search them by",
        "table.npz: gates: it is a table, and a table has no gates to price",
        "an array knows it as 'good.v', and '",
        "semi;colon.v: a plan of layers cannot hold its name",
        "unsigned.v: its operands are signed=none, those of most are signed=weight; search them by themselves: one array has",
    ):
        assert part in told
    genome = found.upper
    assert 0 <= found.errors(genome) <= 22
    front = found.front([found.describe(genome)], 0, "rule", Nothing())
    assert any("broken.v" in warning for warning in front.warnings)
    found.write(front, genome, tmp_path / "front")
    assert (tmp_path / "front" / "chosen" / "design.json").is_file()


def test_operators_of_two_kinds_and_as_many_of_each_are_told_so(files, tmp_path):
    (tmp_path / "one.v").write_text(own_module("one", "assign O = A * $signed({1'b0, B & 8'hf0});"))
    (tmp_path / "two.v").write_text(
        own_module("two", "assign O = A * B;", "input [7:0] A, input [7:0] B, output [15:0] O")
    )
    named = (str(tmp_path / "one.v"), str(tmp_path / "two.v"))
    found = priced_operators(named, load_library("egfet"), signed="weight", weight="first")
    assert [each.name for each in found.operators] == ["one.v"]
    (problem,) = found.broken
    assert problem.why == "its operands are signed=none, those of as many, named first, are signed=weight"


class Nothing:
    """What a search of no generations tells."""

    evaluations = generations = 0
    interrupted = False
    logbook = ()


def test_what_cannot_be_searched_is_told(files, tmp_path):
    with pytest.raises(OptionError) as caught:
        ax.search(
            files / "net.onnx",
            data=files / "rows.npz",
            target=ARRAY,
            operators=" , ",
            edits=("4", "1bits"),
            population=2,
        )
    for part in (
        "operators: none is named",
        "edits: '4' is none\n    do: choose none, tune, fit, 2bits to 7bits, 2bits+fit to 7bits+fit",
        "edits: '1bits' is none",
        "population",
    ):
        assert part in str(caught.value)
    with pytest.raises(OptionError, match="it is no operator, and no file"):
        ax.search(files / "net.onnx", data=files / "rows.npz", target=ARRAY, operators="booth")
    with pytest.raises(OptionError, match="only the exact product is left"):
        ax.search(files / "net.onnx", data=files / "rows.npz", target=ARRAY, operators="exact")
    with pytest.raises(OptionError, match="operator: there is no such option; did you mean 'operators'"):
        ax.search(files / "net.onnx", data=files / "rows.npz", target=ARRAY, operator="exact")
    retrained = replace(ARRAY, recover="retrain")
    with pytest.raises(OptionError, match="recover: every configuration would be trained anew"):
        ax.search(files / "net.onnx", data=files / "rows.npz", target=retrained)
    with pytest.raises(OptionError, match="activation: operators are searched for with activations on the host"):
        ax.search(files / "net.onnx", data=files / "rows.npz", target=replace(ARRAY, activation="pwl"))
    rows = dict(np.load(files / "rows.npz"))
    with pytest.raises(InvalidDataError, match="it has no labels, and a search counts wrong answers"):
        ax.search(files / "net.onnx", data={"x": rows["x"]}, target=ARRAY, output=tmp_path / "f")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "'0' is none of NUMBER:NUMBER=OPERATOR"),
        ("a=exact", "'a=exact' is none of NUMBER:NUMBER=OPERATOR"),
        ("0=", "'0=' is none of"),
        ("0:1=exact;1=truncated-4", "layer 1 is named twice"),
        ("0=exact+4bits+tune+5bits", "layer 0: exact is given the same kind of edit twice"),
        (
            "0=some+folder/mul.v+9bits",
            "layer 0: '9bits' is no edit\n    do: leave that edit out, or write +tune or +fit, and +2bits to +7bits",
        ),
        ("0=truncated-6+fit+later", "layer 0: 'later' is no edit"),
    ],
)
def test_plans_that_are_none(text, said):
    with pytest.raises(OptionError, match="layers") as caught:
        ax.IntegerEngine(layers=text).check()
    assert said in str(caught.value)


def test_plans_are_read_as_they_are_spelled():
    text = "0=exact;2:3=truncated-8+5bits+tune;4=some folder/a+b=c.v+tune"
    plan = read_plan(text)
    assert plan == {
        0: LayerPlan("exact"),
        2: LayerPlan("truncated-8", 5, "tune"),
        3: LayerPlan("truncated-8", 5, "tune"),
        4: LayerPlan("some folder/a+b=c.v", None, "tune"),
    }
    assert spell_plan(plan) == text
    assert read_plan("") == {}


def test_two_operators_of_one_name_are_refused(files, tmp_path):
    """An array knows operators by the names of their files: the second one's products would come from the first one's gates."""
    exact = "assign O = A * $signed({1'b0, B});"
    for number, mask in enumerate(("8'shf0", "8'she0")):
        (tmp_path / f"{number}").mkdir()
        text = own_module("mul", exact.replace("= A", f"= (A & {mask})"))
        (tmp_path / f"{number}" / "mul.v").write_text(text)
    plan = f"0={tmp_path}/0/mul.v;1={tmp_path}/1/mul.v"
    with pytest.raises(
        PassError, match=r"two operators are called 'mul\.v', and make different products\n    do: rename one"
    ):
        ax.compile(
            files / "net.onnx", target=replace(ARRAY, layers=plan), data=files / "rows.npz", output=tmp_path / "e"
        )
    same = f"0={tmp_path}/0/mul.v;1={tmp_path}/0/mul.v"
    ax.compile(files / "net.onnx", target=replace(ARRAY, layers=same), data=files / "rows.npz", output=tmp_path / "e")


def test_layers_are_planned_and_searched_on_the_command_line(files, cli, tmp_path):
    target = ["--target", "integer-engine", "--array", "4x4", "--vectors", "16", "--library", "egfet"]
    rows = ["--data", files / "rows.npz"]
    plan = ["--operator", "truncated-6", "--layers", "0=exact;2=truncated-8+tune"]
    made = cli(
        "compile", files / "net.onnx", *rows, *target, *plan, "--no-simulate", "--no-estimate", "-o", tmp_path / "e"
    )
    assert made.exit_code == 0, made.output
    layers = ax.open_integer_design(tmp_path / "e").design.layers
    assert [layer.operator for layer in layers] == ["exact", "truncated-6", "truncated-8", "truncated-6"]
    few = ["--operators", "truncated-6,truncated-8", "--edits", "none,4bits", "--population", "4", "--generations", "1"]
    said = cli("search", files / "net.onnx", *rows, *target, *few, "--json", "-o", tmp_path / "f")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert told["chosen"]["design"] == str(tmp_path / "f" / "chosen")
    shown = cli("search", files / "net.onnx", *rows, *target, *few, "-o", tmp_path / "f")
    assert shown.exit_code == 0, shown.output
    for part in (
        "saved",
        "those of the operators alone; the array's: approxhw estimate",
        "energy of exact products",
        "the model as it is given: validation",
    ):
        assert part in shown.stdout
