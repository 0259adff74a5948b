"""Small models as real exporters write them: a plain list of cases, each made anew by the exporter that is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, HIDDEN, CLASSES = 4, 6, 3


@dataclass(frozen=True)
class Case:
    """One file of one exporter. ``packages``: whose versions the table names; the first one exports."""

    packages: tuple[str, ...]
    model: str
    form: str
    make: Callable[[Path], object]
    """Writes the file."""


def readings(count: int = 2000) -> np.ndarray:
    """Return rows (float32, rows × features) that all cases are run on."""
    return np.random.default_rng(7).normal(scale=1.5, size=(count, FEATURES)).astype(np.float32)


def perceptron(seed: int = 0) -> Any:
    """Return a PyTorch network of one hidden layer."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)).eval()


def torch_export(file: Path, network: Any = None, **options: object) -> None:
    """Write *network* as PyTorch exports it."""
    import torch

    example = torch.zeros(1, FEATURES)
    dims = {"dynamic_shapes": None} if options.get("dynamo") else {"dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network or perceptron(), (example,), str(file), input_names=["x"], output_names=["y"], **dims, **options
        )


# onnxruntime's static quantisation -------------------------------------------------------------------------------------


def static(activations: str, weights: str, form: str = "QDQ", **options: Any) -> Callable[[Path], None]:
    """Return what writes the network as onnxruntime quantises it; types by the names of ``QuantType``."""

    def make(file: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Rows(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = iter([{"x": readings(300)}])

            def get_next(self) -> Any:
                return next(self.left, None)

        plain = file.with_suffix(".float.onnx")
        torch_export(plain, dynamo=False, opset_version=21 if "4" in weights else 17)
        quantize_static(
            plain,
            file,
            Rows(),
            quant_format=getattr(QuantFormat, form),
            activation_type=getattr(QuantType, activations),
            weight_type=getattr(QuantType, weights),
            **options,
        )

    return make


def _static_cases() -> list[Case]:
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True}
    forms: list[tuple[str, Callable[[Path], None]]] = []
    pairs = [("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8"), ("QUInt16", "QInt8"), ("QInt16", "QInt16")]
    for activations, weights in [*pairs, ("QUInt8", "QInt4"), ("QUInt8", "QUInt4")]:
        for per_channel in (False, True):
            words = f"QDQ, activations {activations[1:]}, weights {weights[1:]}, by {'channel' if per_channel else 'tensor'}"
            forms.append((words, static(activations, weights, per_channel=per_channel)))
    forms += [
        ("QDQ, Int8 and Int8, symmetric", static("QInt8", "QInt8", extra_options=symmetric)),
        ("QDQ, UInt8 and Int8, reduced range", static("QUInt8", "QInt8", reduce_range=True)),
        ("QDQ, by channel, reduced range", static("QUInt8", "QInt8", per_channel=True, reduce_range=True)),
        (
            "QDQ, weights alone before DequantizeLinear",
            static("QUInt8", "QInt8", extra_options={"AddQDQPairToWeight": True}),
        ),
        ("QOperator, UInt8 and Int8", static("QUInt8", "QInt8", "QOperator")),
    ]
    return [Case(("onnxruntime", "torch"), "perceptron", form, make) for form, make in forms]


# Brevitas --------------------------------------------------------------------------------------------------------------


def brevitas(form: str, bits: int, *, classes: int = CLASSES, **options: Any) -> Callable[[Path], None]:
    """Return what writes a network of *bits*-bit weights and activations as Brevitas exports it (``qonnx`` or ``qcdq``)."""

    def make(file: Path) -> None:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import brevitas.nn as qnn
            from brevitas.export import export_onnx_qcdq, export_qonnx
            from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat, Int32Bias

            weight = Int8WeightPerChannelFloat if options.get("per_channel") else Int8WeightPerTensorFloat
            bias = Int32Bias if options.get("bias") else None
            shared = {"weight_quant": weight, "weight_bit_width": bits, "bias_quant": bias}
            torch.manual_seed(3)
            network = torch.nn.Sequential(
                qnn.QuantIdentity(bit_width=options.get("input_bits", bits), return_quant_tensor=True),
                qnn.QuantLinear(FEATURES, HIDDEN, bias=True, **shared),
                *([torch.nn.BatchNorm1d(HIDDEN)] if options.get("norm") else []),
                qnn.QuantReLU(bit_width=bits, return_quant_tensor=True),
                qnn.QuantLinear(HIDDEN, classes, bias=True, **shared),
            )
            rows = torch.from_numpy(readings(500))
            network.train()
            network(rows)
            network.eval()
            network(rows)
            export = export_qonnx if form == "qonnx" else export_onnx_qcdq
            export(network, torch.from_numpy(readings(1)), export_path=str(file), dynamo=False)

    return make


def _brevitas_cases() -> list[Case]:
    cases = []
    for form, packages in (("qonnx", ("brevitas", "qonnx", "torch")), ("qcdq", ("brevitas", "torch"))):
        for bits in (2, 3, 4, 8):
            cases.append(Case(packages, "perceptron", f"{form.upper()}, {bits} bits", brevitas(form, bits)))
        more: dict[str, dict[str, Any]] = {
            "by channel": {"per_channel": True},
            "biases of 32 bits": {"bias": True},
            "by channel, biases of 32 bits": {"per_channel": True, "bias": True},
            "BatchNorm behind the layer": {"norm": True},
            "8-bit inputs": {"input_bits": 8},
            "a single logit": {"classes": 1},
        }
        for words, options in more.items():
            cases.append(Case(packages, "perceptron", f"{form.upper()}, 4 bits, {words}", brevitas(form, 4, **options)))
    return cases


CASES: tuple[Case, ...] = (*_static_cases(), *_brevitas_cases())
