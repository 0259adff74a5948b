"""Networks of few bits as Brevitas exports them, QONNX and QCDQ, and as qonnx turns one into the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter_cases import CLASSES, FEATURES, HIDDEN, Case, readings

ENVIRONMENT = "torch"


def network(bits: int, *, classes: int = CLASSES, **options: Any) -> Any:
    """Return a network of *bits*-bit weights and activations."""
    import brevitas.nn as qnn
    import torch
    from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat, Int32Bias

    weight = Int8WeightPerChannelFloat if options.get("per_channel") else Int8WeightPerTensorFloat
    bias = Int32Bias if options.get("bias") else None
    shared = {"weight_quant": weight, "weight_bit_width": bits, "bias_quant": bias}
    torch.manual_seed(3)
    made = torch.nn.Sequential(
        qnn.QuantIdentity(bit_width=options.get("input_bits", bits), return_quant_tensor=True),
        qnn.QuantLinear(FEATURES, HIDDEN, bias=True, **shared),
        *([torch.nn.BatchNorm1d(HIDDEN)] if options.get("norm") else []),
        qnn.QuantReLU(bit_width=bits, return_quant_tensor=True),
        qnn.QuantLinear(HIDDEN, classes, bias=True, **shared),
    )
    rows = torch.from_numpy(readings(500))
    made.train()
    made(rows)
    made.eval()
    made(rows)
    return made


def brevitas(form: str, bits: int, **options: Any) -> Callable[[Path], None]:
    """Return what writes such a network as Brevitas exports it (``QONNX`` or ``QCDQ``)."""

    def make(file: Path) -> None:
        import torch
        from brevitas.export import export_onnx_qcdq, export_qonnx

        export = export_qonnx if form == "QONNX" else export_onnx_qcdq
        export(network(bits, **options), torch.from_numpy(readings(1)), export_path=str(file), dynamo=False)

    return make


def _by_qonnx(name: str, form: str) -> Callable[[Path], None]:
    """Return what writes Brevitas' *form* as the transformation *name* of qonnx makes it."""

    def make(file: Path) -> None:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant
        from qonnx.transformation.qonnx_to_qcdq import QuantToQCDQ
        from qonnx.util.cleanup import cleanup_model

        before = file.with_suffix(".before.onnx")
        brevitas(form, 4)(before)
        steps = {"QuantToQCDQ": QuantToQCDQ, "QCDQToQuant": QCDQToQuant}
        made = cleanup_model(ModelWrapper(str(before)))
        if name != "cleanup":
            made = made.transform(steps[name]())
        made.save(str(file))

    return make


MORE: dict[str, dict[str, Any]] = {
    "by channel": {"per_channel": True},
    "biases of 32 bits": {"bias": True},
    "by channel, biases of 32 bits": {"per_channel": True, "bias": True},
    "BatchNorm1d behind the layer": {"norm": True},
    "8-bit inputs": {"input_bits": 8},
    "a single logit": {"classes": 1},
}


def _cases() -> list[Case]:
    found = []
    for form, packages in (("QONNX", ("brevitas", "qonnx", "torch")), ("QCDQ", ("brevitas", "torch"))):
        forms = {f"{bits} bits": brevitas(form, bits) for bits in (2, 3, 4, 8)}
        forms |= {f"4 bits, {words}": brevitas(form, 4, **options) for words, options in MORE.items()}
        found += [
            Case(f"Brevitas, {form}", "perceptron", words, packages, make, ENVIRONMENT) for words, make in forms.items()
        ]
    packages = ("qonnx", "brevitas", "torch")
    for name, form in (("cleanup", "QONNX"), ("QuantToQCDQ", "QONNX"), ("QCDQToQuant", "QCDQ")):
        make = _by_qonnx(name, form)
        found.append(Case(f"qonnx, {name}", "perceptron", f"Brevitas' {form}, 4 bits", packages, make, ENVIRONMENT))
    return found


CASES = tuple(_cases())
