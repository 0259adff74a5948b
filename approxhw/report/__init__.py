"""The HTML reports: one self-contained page a design, and one a front."""

from .data import (
    Accuracy,
    Confusion,
    Cost,
    DrawnLayer,
    LayerCost,
    LedgerRow,
    PortRow,
    ReportData,
    Simulation,
    SystemCost,
    drawn_ledger_row,
)
from .front_page import render_front, write_front_page
from .layers import drawn_layers
from .page import render, write_report

__all__ = [
    "Accuracy",
    "Confusion",
    "Cost",
    "DrawnLayer",
    "LayerCost",
    "LedgerRow",
    "PortRow",
    "ReportData",
    "Simulation",
    "SystemCost",
    "drawn_layers",
    "drawn_ledger_row",
    "render",
    "render_front",
    "write_front_page",
    "write_report",
]
