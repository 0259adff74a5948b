"""Integer engines as people see them: layers, operators, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from approxhw.common.errors import shown
from approxhw.report.figures import saving

from .engine_view import show_whole
from .terminal import Terminal, how_many

if TYPE_CHECKING:
    from approxhw.artifacts.folder import Plain
    from approxhw.engine.integers.compile import CompiledIntegerEngine


def show_integer_engine(terminal: Terminal, compiled: CompiledIntegerEngine) -> None:
    """Say what an engine is: its layers, what they take, and how right it is."""
    from rich.markup import escape
    from rich.table import Table

    design = compiled.design
    terminal.say(f"engine: {compiled.folder}  ({how_many(len(design.layers), 'products of codes')})")
    if design.accuracy:
        told = design.accuracy
        terminal.say(
            f"accuracy on {told['rows']} rows: float32 {told['onnx']:.4f}, engine {told['engine']:.4f}, always the most frequent "
            f"class {told['majority']:.4f}; {100 * told['agree']:.2f} % of the answers agree"
        )
    table = Table(box=None, pad_edge=False)
    for title in ("layer", "operator", "count", "M × K × N", "tiles", "clocks", "array used"):
        table.add_column(title, justify="left" if title in ("layer", "operator") else "right")
    for layer in design.layers[:24]:
        row = [layer.name[:40], layer.operator[:30], str(layer.count), f"{layer.m} × {layer.k} × {layer.n}"]
        row += [str(layer.tiles), str(layer.clocks), f"{100 * layer.utilisation:.0f} %"]
        table.add_row(*(escape("".join(c if c.isprintable() else "?" for c in text)) for text in row))
    terminal.out.print(table)
    if len(design.layers) > 24:
        terminal.say(f"… and {len(design.layers) - 24} more: design.json")
    for warning in design.warnings:
        terminal.warn(warning)


def show_integer_cost(terminal: Terminal, found: Mapping[str, Plain]) -> None:
    """Say what an engine and an element with each of its operators cost."""
    for each in found["elements"]:
        show_element(terminal, each, f"element of {each['operator']}")
    for each in found["exact_elements"]:
        show_element(terminal, each, f"exact element ({each['operator']})")
    ends = next(each for each in found["estimate"]["parts"] if each["part"] == "column ends")
    if (plain := found.get("plain_ends")) is not None:
        terminal.say(
            f"column ends with activation units: {ends['area_um2']:.0f} µm², {ends['power_mw']:.4g} mW, "
            f"{ends['delay_ns']:.3f} ns; without {plain['area_um2']:.0f} µm², {plain['power_mw']:.4g} mW, "
            f"{plain['delay_ns']:.3f} ns"
        )
    energy = found["energy"]
    terminal.say(
        f"products of a run ({_inputs(energy['inputs'])}): {energy['products_nj']:.4g} nJ, exact {energy['exact_nj']:.4g} nJ "
        f"({saving(energy['saved'], 'saved')}); elements and ends in {energy['clocks']} clocks: {energy['array_nj']:.4g} nJ, "
        f"exact {energy['exact_array_nj']:.4g} nJ ({saving(energy['array_saved'], 'saved')})"
    )
    if energy["left_out"]:
        terminal.say(
            f"{how_many(energy['left_out'], 'layers')} left out of it: no operands of their operator were kept"
        )
    show_whole(terminal, found["estimate"], "products")


def _inputs(inputs: Mapping[str, Sequence[int]]) -> str:
    """Return the inputs of a run as a text: names and shapes."""
    return ", ".join(f"{shown(name, 40)} {' × '.join(map(str, size))}" for name, size in inputs.items())


def show_element(terminal: Terminal, each: Mapping[str, Plain], title: str) -> None:
    """Say what an element with one operator costs, and whether it keeps its clock."""
    kept = "not known to be kept" if each["met"] is None else "kept" if each["met"] else "missed"
    terminal.say(
        f"{title} in {each['library']}: {each['area_um2']:.0f} µm², {each['power_mw']:.4g} mW, {each['energy_fj']:.4g} fJ a "
        f"product, {each['delay_ns']:.3f} ns; clock of {each['clock_ns']:g} ns {kept}; {each['checked']} sums equal to the "
        f"reference ({each['made']})"
    )
