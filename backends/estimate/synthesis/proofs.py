"""Prove by SAT that a synthesised netlist equals its source, block by block; a counterexample is written to a file."""

from __future__ import annotations

import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.library.cells import Cell, CellLibrary
from approxhw.backends.estimate.netlist.netlist import BUFFER, Netlist
from approxhw.backends.estimate.netlist.yosys_json import YosysCell, YosysDesign, YosysModule
from approxhw.common.errors import MismatchError, OptionError, Problem, ToolFailedError, ToolTimeoutError, shown
from approxhw.common.files import working_folder

from .run import read_netlist_json, run_yosys
from .source import VerilogSource
from .source_files import source_of
from .synthesise import synthesise

_COUNTEREXAMPLE = re.compile(r"model found[^\n]*FAIL!")
# a row of the counterexample: time (registers only), name, decimal and hexadecimal (short values only), bits
_ROW = re.compile(
    r"^ +(?:\d+ +)?\\((?:in|gold|gate)_\S+) +(?:-?[0-9]+ +[0-9a-f]+ +|--+ +[0-9a-f]* *)?([01x]+) *$", re.MULTILINE
)


@dataclass(frozen=True)
class BlockProof:
    """One module: ``proven`` equal, or left open because of ``reason``. ``seconds``: wall time of the proof."""

    module: str
    input_bits: int
    proven: bool
    seconds: float
    reason: str = ""


def prove_blocks(
    verilog: str | VerilogSource,
    top: str | None = None,
    library: str | Path | CellLibrary = "egfet",
    *,
    netlist: Netlist | None = None,
    max_input_bits: int = 10,
    timeout: float = 600.0,
    folder: Path | None = None,
) -> tuple[BlockProof, ...]:
    """Prove for every module of at most *max_input_bits* input bits that its netlist equals *verilog*, for all inputs.

    ``netlist``: what :func:`synthesise` made of *verilog* with ``flatten=False``; made here by default. Wider modules
    come back as not proven with the reason, as do those that *timeout* (seconds for all) or registers leave undecided.
    Raises :class:`MismatchError` for a module that differs: the file (in *folder*, by default a new temporary one)
    holds the input with both outputs.
    """
    if netlist is None:
        netlist = synthesise(verilog, top, library, flatten=False, timeout=timeout)
    deadline = time.monotonic() + timeout
    proofs = []
    with working_folder("proof") as work:
        gold, gate = _prepare(work, source_of(verilog), netlist, timeout)
        for module in dict.fromkeys(netlist.modules.values()):
            bits = sum(len(p["bits"]) for p in gold["modules"][module]["ports"].values() if p["direction"] == "input")
            if bits > max_input_bits:
                proofs.append(BlockProof(module, bits, False, 0.0, f"more than {max_input_bits} input bits"))
                continue
            started = time.perf_counter()
            reason = _prove(work, gold, gate, module, deadline - time.monotonic(), folder)
            proofs.append(BlockProof(module, bits, not reason, time.perf_counter() - started, reason))
    return tuple(proofs)


def verilog_models(library: CellLibrary) -> str:
    """Return a Verilog module for every cell of *library*: the behaviour that the netlist simulator gives it."""
    return "\n".join(_model(cell) for cell in library.cells.values()) + (
        f"\nmodule {BUFFER}(input A, output Y); assign Y = A; endmodule\n"
    )


def spell_verilog(expression: logic.Expression) -> str:
    """Return *expression* as a Verilog expression of one bit."""
    if expression.kind == "pin":
        return expression.name
    if expression.kind in ("zero", "one"):
        return "1'b1" if expression.kind == "one" else "1'b0"
    operands = [spell_verilog(operand) for operand in expression.operands]
    if expression.kind == "not":
        return f"~{operands[0]}"
    return f"({operands[0]} {dict(zip(('and', 'or', 'xor'), '&|^'))[expression.kind]} {operands[1]})"


def _model(cell: Cell) -> str:
    ports = ", ".join([f"input {pin}" for pin in cell.inputs] + [f"output {pin}" for pin in cell.functions])
    lines = [f"module {cell.name}({ports});"]
    flop = cell.flip_flop
    if flop is not None:
        edges = [f"{'posedge' if flop.rising else 'negedge'} {flop.clock}"]
        body = f"{flop.state} <= {spell_verilog(flop.data)};"
        for name, condition, value in (("set_now", flop.preset, 1), ("clear_now", flop.clear, 0)):
            if condition is not None:
                lines.append(f"  wire {name} = {spell_verilog(condition)};")
                edges.append(f"posedge {name}")
                body = f"if ({name}) {flop.state} <= 1'b{value}; else {body}"
        lines.append(f"  reg {flop.state} = 1'b0; wire {flop.inverse} = ~{flop.state};")
        lines.append(f"  always @({' or '.join(edges)}) {body}")
    lines += [f"  assign {pin} = {spell_verilog(function)};" for pin, function in cell.functions.items()]
    return "\n".join([*lines, "endmodule"])


def _prepare(work: Path, source: VerilogSource, netlist: Netlist, timeout: float) -> tuple[YosysDesign, YosysDesign]:
    """Return source and netlist as Yosys' JSON, processes and memories of the source lowered."""
    source.write(work)
    (work / "netlist.v").write_text(netlist.verilog, encoding="utf-8")
    (work / "models.v").write_text(verilog_models(netlist.library))
    lower = ["proc -norom", "memory", "opt_clean"]
    script = [*source.commands(work, netlist.top), *lower, "write_json gold.json", "design -reset"]
    script += ["read_verilog netlist.v models.v", *lower, "write_json gate.json"]
    run_yosys(work, script, timeout)
    gold = read_netlist_json(work / "gold.json")
    gate = read_netlist_json(work / "gate.json")
    # a name that Yosys made ($paramod…) comes back from Verilog as an escaped name
    gate["modules"] = {name.removeprefix("\\"): module for name, module in gate["modules"].items()}
    for module in gate["modules"].values():
        for cell in module["cells"].values():
            cell["type"] = cell["type"].removeprefix("\\")
    missing = [module for module in dict.fromkeys(netlist.modules.values()) if module not in gold["modules"]]
    if missing:
        why = "is in the netlist, but not in the source"
        raise OptionError("netlist", [Problem(f"module {shown(module)}", why) for module in missing])
    return gold, gate


def _prove(work: Path, gold: YosysDesign, gate: YosysDesign, module: str, timeout: float, folder: Path | None) -> str:
    """Return "" where the two are equal, else why that stays open; raise :class:`MismatchError` where they differ."""
    if timeout <= 0:
        return "no time left"
    for name, content in (("gold", gold), ("gate", gate)):
        (work / f"{name}.json").write_text(json.dumps(_renamed(content, module, name)))
    registers = _has_registers(gold, module)
    undefined = '"x"' in (work / "gold.json").read_text()
    script = [
        *(
            f"read_json {side}.json; hierarchy -top {side}; flatten; opt_clean; design -stash {side}"
            for side in ("gold", "gate")
        ),
        "design -copy-from gold gold",
        "design -copy-from gate gate",
        f"miter -equiv -flatten -make_outputs {'-ignore_gold_x' if undefined else ''} gold gate miter",
        "hierarchy -top miter",
        " ".join(
            [
                "sat -verify -prove trigger 0 -show-inputs -show-outputs",
                "-enable_undef -set-def-inputs" if undefined else "",
                "-tempinduct -set-init-zero -maxsteps 12" if registers else "",
                "miter",
            ]
        ),
    ]
    try:
        run_yosys(work, script, timeout)
    except ToolTimeoutError:
        return f"not decided in {timeout:.0f} s"
    except ToolFailedError as error:
        log = (work / "yosys.log").read_text(errors="replace")
        if _COUNTEREXAMPLE.search(log):
            raise _mismatch(module, log, folder) from None
        if "proof did fail" in log:
            return "its registers need a longer induction"
        raise error
    return ""


def _has_registers(content: YosysDesign, module: str) -> bool:
    found = content["modules"].get(module)
    cells = found["cells"].values() if found else ()
    return any("dff" in cell["type"] or _has_registers(content, cell["type"]) for cell in cells)


def _renamed(content: YosysDesign, module: str, name: str) -> YosysDesign:
    """Return *content* with *module* called *name* and every other module numbered: names never reach a script."""
    modules = content["modules"]
    names = {old: name if old == module else f"{name}_{number}" for number, old in enumerate(modules)}
    renamed: dict[str, YosysModule] = {}
    for old, body in modules.items():
        cells: dict[str, YosysCell] = {
            f"u{number}": {**cell, "type": names.get(cell["type"], cell["type"])}
            for number, cell in enumerate(body["cells"].values())
        }
        attributes = {key: value for key, value in body.get("attributes", {}).items() if key != "top"}
        renamed[names[old]] = {**body, "cells": cells, "attributes": attributes}
    return {**content, "modules": renamed}


def _mismatch(module: str, log: str, folder: Path | None) -> MismatchError:
    start = _COUNTEREXAMPLE.search(log)
    found: dict[str, list[str]] = {}
    for name, bits in _ROW.findall(log[start.start() if start else 0 :]):
        found.setdefault(name, []).append(bits)
    record: dict[str, object] = {
        "module": module,
        "meaning": "bits of each port, most significant first, one entry a clock",
    }
    for key, prefix in (("inputs", "in_"), ("expected", "gold_"), ("seen", "gate_")):
        record[key] = {name.removeprefix(prefix): v for name, v in found.items() if name.startswith(prefix)}
    folder = Path(tempfile.mkdtemp(prefix="approxhw-mismatch-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "netlist_mismatch.json"
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(record, indent=2) + "\n")
    beside.replace(file)
    return MismatchError(f"netlist of module {shown(module)} and its source", 1, 1, file)
