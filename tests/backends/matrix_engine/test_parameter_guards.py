"""Parameters that a template is not made for stop elaboration, with a message that says what it needs, in every tool."""

from __future__ import annotations

import re

import pytest

from approxhw.common.errors import ToolFailedError
from approxhw.common.tools import find_icarus, find_yosys, run_tool
from approxhw.rtl_templates import template_closure, template_names, template_text

FREE = {"TABLE", "CORRECTION", "LEAST", "MOST", "FACTOR", "EPSILON"}
"""Parameters that hold bits of which any is right."""


def parameters(name: str) -> dict[str, int]:
    """Return the parameters of template *name* with their defaults."""
    head = re.search(rf"^module {name} #\(\n(.*?)\n\) \(\n", template_text(name), re.DOTALL | re.MULTILINE)
    assert head is not None
    return {key: int(value) for key, value in re.findall(r"parameter (?:\[.*\] )?(\w+) += (\d+)", head[1])}


def guards(name: str) -> list[str]:
    """Return what the guards of template *name* say."""
    return re.findall(rf"\b({name}_needs_\w+) stop \(\);", template_text(name))


BAD = {
    "DEPTH": (0, 5, 7, -1),
    "FAST": (-1, 3),
    "ADDRESS_BITS": (0, 17, -1),
    "WEIGHT_BITS": (1, 9, 0),
    "X_BITS": (1, 9, 0),
    "PRODUCT_BITS": (15, 33, 0),
    "WEIGHT_SIGNED": (-1, 2),
    "X_SIGNED": (-1, 2),
    "SELECT_BITS": (0, 9),
    "SUM_BITS": (3, 33, 0),
    "ADDER": (-1, 3),
    "LOW": (0, 24, -1),
    "VARIATE": (-1, 9),
    "VARIATE_BITS": (8, 33),
    "BANK_BITS": (0, 5),
    "ROWS": (0, 257, -4),
    "COLUMNS": (-1, 257),
    "WIDTH": (0, -1),
    "COUNT": (0, -1),
    "RESULT_BITS": (0, 24, 64),
    "W": (3, 33, 0, -5),
    "K": (-1,),
    "L": (-1,),
    "STEP": (-1, 3, 5),
    "LOWEST": (-1, 256),
    "BINS": (0, -1, 65),
    "PLACED": (0, 129),
    "BIN_BITS": (0, -1, 129),
    "LANES": (0, -1, 1025),
    "KIND": (-1, 4),
    "PARALLEL": (-1, 8),
    "FRACTION": (-1, 32),
    "MAXIMUM": (-97, 128),
    "SCALE": (-97, 159),
    "ALIGN": (0, 6),
    "BLOCK": (0, 1, 65537, -64),
    "LOG": (0, 17, -1),
    "EXPONENT_BITS": (1, 9, 0),
    "FRACTION_BITS": (1, 16, -2),
    "OPERAND_EXPONENT_BITS": (7, 9, 0),
    "QUEUE_BITS": (0, 17),
    "COLUMN_BITS": (0, 1, 17),
    "FLIGHT_BITS": (8, 0, 32),
    "WORD_BITS": (0, -1),
    "STATE_BITS": (0, -1),
    "EARLY": (-1, 2),
    "FLIGHT": (0, 1025),
    "LATE": (0, 17),
    "CLOCKS": (-1, -7),
    "WEIGHT_CODES": (-1, 5),
    "ACTIVATION_CODES": (-1, 5),
    "STEPS": (0, 9),
    "IN": (0, 17),
    "OUT": (0, -1),
    "A_BITS": (0, -1),
    "B_BITS": (0, -1),
    "D_BITS": (0, -1),
    "ROOT": (0, -1),
    "SUM": (8, 0),
    "U_BITS": (0, -1),
    "SHIFT": (-1, 63),
    "INVERTED": (-1, 2),
    "SUBTRACT": (-1, 2),
    "CLAMPED": (-1, 2),
    "A_SIGNED": (-1, 2),
    "B_SIGNED": (-1, 2),
    "SIGNED": (-1, 2),
    "BALANCED": (-1, 2),
    "BITS": (0, -1, 31),
    "DIGITS": (1, 0, -1),
    "VERTICAL": (-1,),
    "HORIZONTAL": (-1,),
    "BESIDE": (0, -1),
    "EXACT": (-1, 2),
    "INFINITY": (-1, 2),
    "SUBNORMALS": (-1, 2),
    "NORMALIZED": (-1, 2),
    "FLOAT": (-1, 2),
    "UNIT_BITS": (-1, 9),
}
"""Values that no template with a parameter of this name is made for; beside the defaults of all others."""

OTHERS = [
    ("normalize_approximate", {"W": 20, "K": 12, "L": 8}, "K_plus_L_below_W"),
    ("normalize_approximate", {"K": 0, "L": 2}, "L_of_0_or_more_and_0_with_K"),
    ("normalize_approximate", {"STEP": 4, "K": 4, "L": 2}, "K_and_L_in_multiples_of_STEP"),
    ("normalize_exact", {"W": 12, "STEP": 4}, "W_of_4_STEP_or_more"),
    ("mac_align_by", {"STEP": 4, "ALIGN": 1}, "ALIGN_to_5_that_holds_STEP"),
    ("mac_element", {"FRACTION_BITS": 10, "W": 20}, "W_from_2_FRACTION_BITS_plus_2_to_32"),
    ("matrix_engine", {"FRACTION_BITS": 10, "W": 20}, "W_from_2_FRACTION_BITS_plus_2_to_32"),
    ("float_decode", {"EXPONENT_BITS": 4, "FRACTION_BITS": 3, "INFINITY": 0, "OPERAND_EXPONENT_BITS": 4}, "hold_all"),
    (
        "float_decode",
        {"EXPONENT_BITS": 5, "FRACTION_BITS": 10, "SUBNORMALS": 1, "OPERAND_EXPONENT_BITS": 5},
        "subnormals",
    ),
    ("engine_control", {"COLUMNS": 9, "COLUMN_BITS": 3}, "COLUMN_BITS_that_hold_COLUMNS_words"),
    ("eight_bit_decoder", {"WIDTH": 12}, "WIDTH_from_2_to_32_and_16_of_bfloat16"),
    ("eight_bit_search", {"WIDTH": 13}, "12_or_13"),
    ("eight_bit_normalize", {"BLOCK": 64, "LANES": 64}, "BLOCK_a_multiple"),
    ("eight_bit_normalize", {"BLOCK": 96, "LANES": 7}, "BLOCK_a_multiple"),
    ("eight_bit_decode_fixed", {"WIDTH": 33}, "WIDTH_from_2_to_32"),
    ("logarithmic_multiplier", {"A_BITS": 20, "B_BITS": 11}, "at_most_30"),
    ("leading_digits", {"BITS": 5, "DIGITS": 5}, "BITS_above_DIGITS"),
    ("leading_multiplier", {"A_BITS": 4, "DIGITS": 4}, "A_BITS_above_DIGITS"),
    ("leading_multiplier", {"A_BITS": 20, "B_BITS": 11}, "at_most_30"),
    ("rounding_multiplier", {"A_BITS": 20, "B_BITS": 11}, "at_most_30"),
    ("rounding_multiplier", {"B_BITS": 1}, "B_BITS_of_2_or_more"),
    ("fold_code", {"IN": 1}, "IN_from_2_to_16"),
    ("row_normalize", {"OUT": 1}, "OUT_of_2_or_more"),
    ("mac_adder", {"WIDTH": 1}, "WIDTH_of_2_or_more"),
    ("integer_adder", {"WIDTH": 8, "LOW": 8}, "LOW_from_1_to_below_WIDTH"),
    ("integer_element", {"SUM_BITS": 16, "LOW": 16}, "LOW_from_1_to_below_SUM_BITS"),
    ("integer_array", {"X_BITS": 4, "VARIATE": 5}, "VARIATE_from_0_to_X_BITS"),
    ("integer_end", {"RESULT_BITS": 32, "UNIT_BITS": 1}, "UNIT_BITS_from_0_to_8_and_0_for_sums"),
    ("integer_engine", {"RESULT_BITS": 32, "UNIT_BITS": 1}, "UNIT_BITS_from_0_to_8_and_0_for_sums"),
    ("integer_engine", {"DEPTH": 3}, "DEPTH_1_or_2"),
    ("engine_weights", {"COLUMNS": 9, "COLUMN_BITS": 3}, "COLUMN_BITS_that_hold_COLUMNS_words"),
]
"""Values that do not go together: (template, parameters, part of the message)."""


def misfits(name: str) -> list[tuple[dict[str, int], str]]:
    """Return (parameters, part of the message) of everything that template *name* must refuse."""
    # more columns than there are may be cut: nothing is left then
    bad = BAD | ({"COLUMNS": (-1,)} if name == "truncated_multiplier" else {})
    single = [({key: value}, key) for key in parameters(name) if key not in FREE for value in bad[key]]
    return single + [(given, words) for other, given, words in OTHERS if other == name]


def said_of(name: str, cases: list[dict[str, int]], folder) -> list[str]:
    """Return the guards of template *name* that Icarus stops at, in a design with an instance of it for each of *cases*."""
    given = [", ".join(f".{key}({value})" for key, value in case.items()) for case in cases]
    instances = "".join(f"  {name} #({text}) u{number} ();\n" for number, text in enumerate(given))
    source = folder / "all.v"
    source.write_text(f"module all;\n{instances}endmodule\n{template_text(name)}")
    try:
        run_tool(find_icarus(), ["-g2005", "-t", "null", "-s", "all", source], timeout=60, log=folder / "log")
    except ToolFailedError:
        return re.findall(rf"Unknown module type: ({name}_needs_\w+)", (folder / "log").read_text())
    return []


@pytest.mark.parametrize("name", template_names())
def test_icarus_stops_at_every_misfit(icarus, tmp_path, name):
    assert said_of(name, [parameters(name)], tmp_path) == []
    wanted = misfits(name)
    said = said_of(name, [given for given, _ in wanted], tmp_path)
    for given, words in wanted:
        here = [each for each in said if words in each]
        assert here, (given, said)
        said.remove(here[0])


def test_every_parameter_has_a_guard():
    for name in template_names():
        told = " ".join(guards(name))
        for key in parameters(name):
            assert key in FREE or re.search(rf"_{key}_|_{key}\b", told), (name, key)


@pytest.mark.parametrize(("name", "given"), [
    ("matrix_engine", {"DEPTH": 7}), ("matrix_engine_codes", {"ADDRESS_BITS": 0}), ("mac_array", {"ROWS": 0}),
    ("eight_bit_normalize", {"BLOCK": 1}), ("ripple_adder", {"WIDTH": 0}), ("table_lookup", {"IN": 0}),
])  # fmt: skip
def test_verilator_and_yosys_stop_as_well(verilator, tmp_path, name, given):
    source, ((key, value),) = tmp_path / f"{name}.v", given.items()
    source.write_text(template_closure(name))
    script = tmp_path / "script.ys"
    script.write_text(f"read_verilog {source.name}\nhierarchy -check -top {name} -chparam {key} {value}\n")
    lint = ["--lint-only", "-Wno-fatal", f"-G{key}={value}", "--top-module", name, source]
    for tool, words in ((verilator, lint), (find_yosys(), [script])):
        log = tmp_path / tool.name
        with pytest.raises(ToolFailedError):
            run_tool(tool, words, timeout=60, folder=tmp_path, log=log)
        assert re.search(rf"{name}_needs_{key}_\w+", log.read_text())
