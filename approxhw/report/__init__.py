"""The HTML report: one self-contained page a design."""

from .data import (
    Accuracy,
    Confusion,
    Cost,
    Layer,
    LayerCost,
    LedgerRow,
    Port,
    ReportData,
    Simulation,
)
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
    "render",
    "write_report",
]
