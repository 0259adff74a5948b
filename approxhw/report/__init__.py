"""The HTML reports: one self-contained page a design, and one a front."""

from .data import Accuracy, Confusion, Cost, Layer, LayerCost, LedgerRow, Port, ReportData, Simulation, ledger_row
from .front_page import render_front, write_front_page
from .layers import layers_of
from .page import render, write_report

__all__ = [
    "Accuracy",
    "Confusion",
    "Cost",
    "Layer",
    "LayerCost",
    "LedgerRow",
    "Port",
    "ReportData",
    "Simulation",
    "layers_of",
    "ledger_row",
    "render",
    "render_front",
    "write_front_page",
    "write_report",
]
