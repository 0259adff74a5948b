"""A circuit that was emitted and synthesised once, to be had again under the name of a design, without Yosys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from approxhw.common.verilog_names import rename_identifiers, words_in
from approxhw.ir.graph import identifier

if TYPE_CHECKING:
    from approxhw.backends.bespoke.emit import Emitted
    from approxhw.backends.estimate import Netlist


@dataclass(frozen=True, eq=False)
class Synthesised:
    """Verilog without registers or a header, and its netlist by the reference recipe."""

    emitted: Emitted
    netlist: Netlist

    def called(self, name: str, header: Sequence[str]) -> Emitted | None:
        """Return the Verilog with its top module called *name*, below *header*; None where that name is another thing's."""
        top, text = identifier(name), self.emitted.verilog
        if top != self.emitted.top and top in words_in(text):
            return None
        head = "".join(f"// {line}\n" for line in header)
        renamed = rename_identifiers(text, {self.emitted.top: top})
        return replace(self.emitted, verilog=f"{head}\n{renamed}" if head else renamed, top=top)

    def netlist_of(self, verilog: str, top: str) -> Netlist | None:
        """Return the netlist of *verilog* where it is this circuit, its module *top* apart from comments; else None."""
        names = {self.emitted.top: top}
        if _bare(verilog) != _bare(rename_identifiers(self.emitted.verilog, names)):
            return None
        return replace(
            self.netlist,
            top=top,
            verilog=rename_identifiers(self.netlist.verilog, names),
            modules={path: names.get(module, module) for path, module in self.netlist.modules.items()},
        )


def _bare(verilog: str) -> str:
    """Return *verilog* without comments, its white space that of a single line."""
    return " ".join(re.sub(r"//[^\n]*", "", verilog).split())
