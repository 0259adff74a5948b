"""approxhw: trained classifiers in, the cheapest hardware that still does the job out.

>>> import approxhw as ax
>>> graph = ax.read("model.onnx")
>>> design = ax.compile(graph, target=ax.Printed(), data="task.npz", output="build")
>>> design.simulate("verilator"); design.estimate("egfet"); design.report()

Everything loads on first use: importing the package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.common.version import __version__ as __version__

if TYPE_CHECKING:
    from approxhw.artifacts.engine_front import EngineFront
    from approxhw.common.data.dataset import Dataset, DataSource, load_dataset
    from approxhw.dse.api import SearchResult, open_front, search
    from approxhw.dse.targets import search_engine
    from approxhw.engine.integers.compile import CompiledIntegerEngine, compile_integer_engine, open_integer_design
    from approxhw.engine.integers.target import IntegerEngine
    from approxhw.engine.matrix.compile import CompiledEngine, compile_engine, open_engine_design
    from approxhw.engine.matrix.settings import EngineSearch
    from approxhw.engine.matrix.target import MatrixEngine
    from approxhw.flow.activation import MadeActivation, activation_unit
    from approxhw.flow.compile import check, compile, open_folder, read
    from approxhw.flow.exporting import export_onnx
    from approxhw.flow.multipliers.measure import MeasuredMultipliers, measure_multipliers
    from approxhw.flow.printed.compiled import CompiledDesign, open_design
    from approxhw.flow.printed.target import Printed
    from approxhw.flow.stages.measure import estimate
    from approxhw.flow.stages.safety import SafetyOptions
    from approxhw.flow.stages.tabulate import tabulate
    from approxhw.frontends.compressed.compress_model import CompressedModel, compress_model
    from approxhw.frontends.products.writing import write_onnx
    from approxhw.ir.graph import Graph
    from approxhw.ir.pass_manager import available_passes, named_pipeline, parse_passes, run_passes
    from approxhw.numerics.mac.arithmetic import FloatMac
    from approxhw.numerics.mac.integer_mac import IntegerMac

_HOMES = {
    "CompiledDesign": "flow.printed.compiled",
    "CompiledEngine": "engine.matrix.compile",
    "CompiledIntegerEngine": "engine.integers.compile",
    "CompressedModel": "frontends.compressed.compress_model",
    "DataSource": "common.data.dataset",
    "Dataset": "common.data.dataset",
    "EngineFront": "artifacts.engine_front",
    "EngineSearch": "engine.matrix.settings",
    "FloatMac": "numerics.mac.arithmetic",
    "Graph": "ir.graph",
    "IntegerEngine": "engine.integers.target",
    "IntegerMac": "numerics.mac.integer_mac",
    "MadeActivation": "flow.activation",
    "MatrixEngine": "engine.matrix.target",
    "MeasuredMultipliers": "flow.multipliers.measure",
    "Printed": "flow.printed.target",
    "SafetyOptions": "flow.stages.safety",
    "SearchResult": "dse.api",
    "activation_unit": "flow.activation",
    "available_passes": "ir.pass_manager",
    "check": "flow.compile",
    "compile": "flow.compile",
    "compile_engine": "engine.matrix.compile",
    "compile_integer_engine": "engine.integers.compile",
    "compress_model": "frontends.compressed.compress_model",
    "estimate": "flow.stages.measure",
    "export_onnx": "flow.exporting",
    "load_dataset": "common.data.dataset",
    "measure_multipliers": "flow.multipliers.measure",
    "named_pipeline": "ir.pass_manager",
    "open_design": "flow.printed.compiled",
    "open_engine_design": "engine.matrix.compile",
    "open_folder": "flow.compile",
    "open_front": "dse.api",
    "open_integer_design": "engine.integers.compile",
    "parse_passes": "ir.pass_manager",
    "read": "flow.compile",
    "run_passes": "ir.pass_manager",
    "search": "dse.api",
    "search_engine": "dse.targets",
    "tabulate": "flow.stages.tabulate",
    "write_onnx": "frontends.products.writing",
}

__all__ = [
    "CompiledDesign",
    "CompiledEngine",
    "CompiledIntegerEngine",
    "CompressedModel",
    "DataSource",
    "Dataset",
    "EngineFront",
    "EngineSearch",
    "FloatMac",
    "Graph",
    "IntegerEngine",
    "IntegerMac",
    "MadeActivation",
    "MatrixEngine",
    "MeasuredMultipliers",
    "Printed",
    "SafetyOptions",
    "SearchResult",
    "activation_unit",
    "available_passes",
    "check",
    "compile",
    "compile_engine",
    "compile_integer_engine",
    "compress_model",
    "estimate",
    "export_onnx",
    "load_dataset",
    "measure_multipliers",
    "named_pipeline",
    "open_design",
    "open_engine_design",
    "open_folder",
    "open_front",
    "open_integer_design",
    "parse_passes",
    "read",
    "run_passes",
    "search",
    "search_engine",
    "tabulate",
    "write_onnx",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
