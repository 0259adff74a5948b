"""What Yosys' ``write_json`` writes, as far as it is read here."""

from __future__ import annotations

from typing import NotRequired, TypedDict

NetBit = int | str
"""Number of a net, or the constant "0", "1", "x" or "z"."""


class YosysPort(TypedDict):
    """``direction``: input, output or inout; ``bits``: lowest first."""

    direction: str
    bits: list[NetBit]


class YosysCell(TypedDict):
    """A cell or an instance of a module: its ``type``, and the bits at every pin, whose directions known cells tell."""

    type: str
    connections: dict[str, list[NetBit]]
    port_directions: NotRequired[dict[str, str]]
    attributes: NotRequired[dict[str, str]]


class YosysNet(TypedDict):
    """A name of bits. ``hide_name``: 1 where Yosys made it; ``attributes``: ``init`` holds first values, highest bit first."""

    bits: list[NetBit]
    attributes: NotRequired[dict[str, str]]
    hide_name: NotRequired[int]


class YosysModule(TypedDict):
    """A module, its parts by name."""

    ports: dict[str, YosysPort]
    cells: dict[str, YosysCell]
    netnames: dict[str, YosysNet]
    attributes: NotRequired[dict[str, str]]


class YosysDesign(TypedDict):
    """A whole design: modules by name."""

    modules: dict[str, YosysModule]


def is_black_box(module: YosysModule) -> bool:
    """Whether *module* is a frame without contents."""
    return "blackbox" in module.get("attributes", {})
