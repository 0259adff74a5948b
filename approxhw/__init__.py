"""approxhw: trained classifiers in, the cheapest hardware that still does the job out.

>>> import approxhw as ax
>>> graph = ax.read("model.onnx")
>>> design = ax.compile(graph, target=ax.Printed(), data="task.npz", output="build")
>>> design.simulate("verilator"); design.estimate("egfet"); design.report()

Everything loads on first use: importing the package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arithmetic import FloatMac
    from .compiler import CompiledDesign, Printed, check, compile, open_design, read
    from .dataset import Dataset, load_dataset
    from .engine_compiler import CompiledEngine, MatrixEngine, compile_engine, open_engine_design
    from .engine_search import EngineFront, EngineSearch, search_engine
    from .frontends.compressed_onnx import CompressedModel, compress_model
    from .ir import Graph
    from .measuring import estimate
    from .pipeline import available_passes, named_pipeline, parse_passes, run_passes
    from .searching import SearchResult, open_front, search
    from .tabulating import tabulate

__version__ = "0.1.0"

_HOMES = {
    "CompiledDesign": "compiler",
    "CompiledEngine": "engine_compiler",
    "CompressedModel": "frontends.compressed_onnx",
    "Dataset": "dataset",
    "EngineFront": "engine_search",
    "EngineSearch": "engine_search",
    "FloatMac": "arithmetic",
    "Graph": "ir",
    "MatrixEngine": "engine_compiler",
    "Printed": "compiler",
    "SearchResult": "searching",
    "available_passes": "pipeline",
    "check": "compiler",
    "compile": "compiler",
    "compile_engine": "engine_compiler",
    "compress_model": "frontends.compressed_onnx",
    "estimate": "measuring",
    "load_dataset": "dataset",
    "named_pipeline": "pipeline",
    "open_design": "compiler",
    "open_engine_design": "engine_compiler",
    "open_front": "searching",
    "parse_passes": "pipeline",
    "read": "compiler",
    "run_passes": "pipeline",
    "search": "searching",
    "search_engine": "engine_search",
    "tabulate": "tabulating",
}

__all__ = [
    "CompiledDesign",
    "CompiledEngine",
    "CompressedModel",
    "Dataset",
    "EngineFront",
    "EngineSearch",
    "FloatMac",
    "Graph",
    "MatrixEngine",
    "Printed",
    "SearchResult",
    "available_passes",
    "check",
    "compile",
    "compile_engine",
    "compress_model",
    "estimate",
    "load_dataset",
    "named_pipeline",
    "open_design",
    "open_engine_design",
    "open_front",
    "parse_passes",
    "read",
    "run_passes",
    "search",
    "search_engine",
    "tabulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
