"""onnxruntime's own tools: static quantisation in all its forms, dynamic quantisation, half precision, optimised files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter_cases import Case, readings
from torch_models import NETWORKS, exporting, perceptron

PACKAGES = ("onnxruntime", "torch")
QUANTISE = "onnxruntime, quantize_static"


def static(
    activations: str, weights: str, form: str = "QDQ", network: Callable[[], Any] = perceptron, **options: Any
) -> Callable[[Path], None]:
    """Return what writes *network* as onnxruntime quantises it; types by the names of ``QuantType``."""

    def make(file: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Rows(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left = iter([{"x": readings(300)}])

            def get_next(self) -> Any:
                return next(self.left, None)

        plain = file.with_suffix(".float.onnx")
        exporting(network, dynamo=False, opset_version=21 if "4" in weights else 17)(plain)
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


def _dynamic(file: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    plain = file.with_suffix(".float.onnx")
    exporting(perceptron, dynamo=False)(plain)
    quantize_dynamic(plain, file)


def _half(file: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    plain = file.with_suffix(".float.onnx")
    exporting(perceptron, dynamo=False)(plain)
    onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), file)


def _optimised(file: Path) -> None:
    import onnxruntime

    plain = file.with_suffix(".float.onnx")
    exporting(next(make for _, form, make in NETWORKS if "BatchNorm1d" in form), dynamo=False)(plain)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])


def _network(form: str) -> Callable[[], Any]:
    return next(make for _, words, make in NETWORKS if words == form)


QDQ_ACTIVATIONS = ("LeakyReLU", "PReLU", "Hardswish", "Hardsigmoid")


def _cases() -> list[Case]:
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True}
    forms: list[tuple[str, str, Callable[[Path], None]]] = []
    pairs = [("QUInt8", "QInt8"), ("QInt8", "QInt8"), ("QUInt8", "QUInt8"), ("QUInt16", "QInt8"), ("QInt16", "QInt16")]
    for activations, weights in [*pairs, ("QUInt8", "QInt4"), ("QUInt8", "QUInt4")]:
        for per_channel in (False, True):
            by = "channel" if per_channel else "tensor"
            words = f"QDQ, activations {activations[1:]}, weights {weights[1:]}, by {by}"
            forms.append(("perceptron", words, static(activations, weights, per_channel=per_channel)))
    more: list[tuple[str, dict[str, Any]]] = [
        ("QDQ, symmetric", {"extra_options": symmetric}),
        ("QDQ, reduced range", {"reduce_range": True}),
        ("QDQ, by channel, reduced range", {"per_channel": True, "reduce_range": True}),
        ("QDQ, weights quantised in the file", {"extra_options": {"AddQDQPairToWeight": True}}),
        ("QDQ, quantisers of com.microsoft", {"extra_options": {"UseQDQContribOps": True}}),
    ]
    forms += [("perceptron", words, static("QInt8", "QInt8", **options)) for words, options in more]
    for form in QDQ_ACTIVATIONS:
        forms.append(("perceptron", f"QDQ, {form}", static("QUInt8", "QInt8", network=_network(form))))
    for model, form in (("residual network", "branches added up"), ("parallel branches", "branches concatenated")):
        forms.append((model, f"QDQ, {form}", static("QUInt8", "QInt8", network=_network(form))))
    found = [Case(QUANTISE, model, form, PACKAGES, make) for model, form, make in forms]
    operators = static("QUInt8", "QInt8", "QOperator")
    found.append(
        Case(QUANTISE, "perceptron", "QOperator", PACKAGES, operators, refused="operator QGemm is not supported")
    )
    why = "operator DynamicQuantizeLinear is not supported"
    found += [
        Case("onnxruntime, quantize_dynamic", "perceptron", "Int8", PACKAGES, _dynamic, refused=why),
        Case("onnxruntime, float16 converter", "perceptron", "half precision", PACKAGES, _half),
        Case("onnxruntime, optimised file", "perceptron", "basic, BatchNorm1d folded", PACKAGES, _optimised),
    ]
    return found


CASES = tuple(_cases())
