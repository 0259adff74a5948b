"""Every Verilog template: it lints clean alone, pyverilog reads it, and it equals its Python meaning for every input."""

import itertools

import numpy as np
import pytest

from approxhw.backends.bespoke.readback import read_modules
from approxhw.common.tools import find_verilator, run_tool
from approxhw.rtl_templates import template_closure, template_names, template_text
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate

LANES = tuple(name for name in template_names() if "parameter WIDTH = 1\n" in template_text(name))
"""Templates of one width; tables, trees, tests/backends/{activation,integer_engine} have those with parameters of their own."""
ENGINE = tuple(
    name
    for name in template_names()
    if name.startswith(
        (
            "mac_",
            "normalize_",
            "float_",
            "column_",
            "bins_",
            "engine_",
            "matrix_",
            "eight_bit_",
            "integer_",
            "operator_",
        )
    )
)
"""Of the engines and of 8-bit codes: tests/backends/{matrix_engine,integer_engine,eight_bit_rtl} say what they mean."""


def ports_of(name, width):
    info = read_modules(template_text(name))[name]
    ports = [(port.name, width if port.bits is None else port.bits, port.direction) for port in info.ports]
    return (
        tuple((port, bits) for port, bits, direction in ports if direction == "input"),
        tuple((port, bits) for port, bits, direction in ports if direction == "output"),
    )


def exhaustive(name, width, meaning):
    inputs, outputs = ports_of(name, width)
    vectors = list(itertools.product(*(range(1 << bits) for _, bits in inputs)))
    made = [meaning(width, **dict(zip([port for port, _ in inputs], vector, strict=True))) for vector in vectors]
    text = template_text(name)
    return SimulationJob(
        f"{name}_{width}",
        text.replace("parameter WIDTH = 1\n", f"parameter WIDTH = {width}\n"),
        name,
        inputs,
        outputs,
        vectors={port: np.array([vector[i] for vector in vectors]) for i, (port, _) in enumerate(inputs)},
        expected={port: np.array([result[port] for result in made]) for port, _ in outputs},
    )


def test_every_template_has_a_meaning_here(cells):
    others = set(template_names()) - set(LANES) - set(ENGINE)
    assert sorted(cells.templates) == list(LANES)
    multipliers = {f"{name}_multiplier" for name in ("truncated", "broken_array", "logarithmic", "leading", "rounding")}
    units = {"fold_code", "unfold_code", "piece_constants", "multiply_step", "difference_sum", "floor_divide"}
    units |= {"row_distances", "row_shares", "row_normalize", "floor_root"}
    assert others == {"at_least", "table_lookup", "leading_digits", "nearest_power"} | multipliers | units


def test_templates_equal_their_meaning_for_every_input(cells, simulator, tmp_path):
    jobs = [exhaustive(name, width, cells.templates[name]) for name in LANES for width in (1, 2, 3)]
    assert len(jobs) == 3 * len(LANES)
    together = bundle(jobs)
    result = simulate(together, simulator, tmp_path / simulator)
    wrong = {(jobs[bundle_ports(together)[port][0]].name, port) for port in result.failing}
    assert wrong == set()
    assert result.vectors == max(job.count for job in jobs) == 512


def test_a_template_that_is_wrong_is_found(cells, icarus, tmp_path):
    jobs = [exhaustive(name, 2, cells.templates[name]) for name in ("greater_than", "ripple_adder")]
    broken = [
        SimulationJob(**{**vars(job), "verilog": job.verilog.replace("a[i] & ~b[i]", "a[i] & b[i]")}) for job in jobs
    ]
    together = bundle(broken)
    result = simulate(together, "icarus", tmp_path / "icarus")
    assert {bundle_ports(together)[port] for port in result.failing} == {(0, "greater")}


@pytest.mark.parametrize("name", template_names())
def test_a_template_alone_is_clean_and_plain(name, icarus, verilator, tmp_path):
    text = template_text(name)
    lint(template_closure(name), name)
    assert text.isascii()
    assert text.startswith("// ")
    assert not any(word in text for word in ("verilator lint", "synopsys", "`", "automatic", "\t"))
    assert list(read_modules(text)) == [name]
    for width in (1, 2, 7) if name in LANES else ():
        file = tmp_path / f"{name}.v"  # the file bears the module's name: no -Wno-DECLFILENAME
        file.write_text(text)
        arguments = ["--lint-only", "-Wall", "--quiet", "--default-language", "1364-2005", f"-GWIDTH={width}", file]
        assert run_tool(find_verilator(), arguments, timeout=120).output.strip() == ""
