"""Networks of PyTorch by both exporters: TorchScript's and dynamo's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter_cases import CLASSES, FEATURES, HIDDEN, MULTILABEL, REGRESSION, Case


def perceptron(*middle: Any, outputs: int = CLASSES, end: Any = None) -> Any:
    """Return a network of one hidden layer, *middle* (ReLU) behind it and *end* behind the last one."""
    from torch import nn

    behind = middle or (nn.ReLU(),)
    last = () if end is None else (end,)
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), *behind, nn.Linear(HIDDEN, outputs), *last)


def _normalised() -> Any:
    import torch
    from torch import nn

    norm = nn.BatchNorm1d(HIDDEN)
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        norm.weight.uniform_(0.5, 2)
    return perceptron(norm, nn.ReLU())


def _branches(kind: str) -> Any:
    """Return a network that adds up, or joins, a hidden layer and what a second one makes of it."""
    import torch
    from torch import nn

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
            self.last = nn.Linear(HIDDEN * (2 if kind == "concatenated" else 1), CLASSES)

        def forward(self, x: Any) -> Any:
            hidden = torch.relu(self.first(x))
            other = torch.relu(self.second(hidden))
            return self.last(torch.cat([hidden, other], dim=1) if kind == "concatenated" else hidden + other)

    return Branches()


def _chosen() -> Any:
    from torch import nn

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = perceptron()

        def forward(self, x: Any) -> Any:
            return self.network(x).argmax(dim=1)

    return Chosen()


def _activation(name: str) -> Callable[[], Any]:
    def make() -> Any:
        from torch import nn

        return perceptron(getattr(nn, name)())

    return make


def _ended(name: str, outputs: int = CLASSES, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from torch import nn

        return perceptron(outputs=outputs, end=getattr(nn, name)(**options))

    return make


def _deep() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Flatten(), nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU6(),
        nn.Linear(HIDDEN, CLASSES), nn.Softmax(dim=1),
    )  # fmt: skip


def _layer_normalised() -> Any:
    from torch import nn

    return perceptron(nn.LayerNorm(HIDDEN), nn.ReLU())


ACTIVATIONS = ("LeakyReLU", "PReLU", "Hardswish", "Hardsigmoid", "Hardtanh", "Tanh", "Sigmoid", "SiLU", "GELU", "ELU")

NETWORKS: tuple[tuple[str, str, Callable[[], Any]], ...] = (
    ("perceptron", "ReLU, logits", perceptron),
    ("three layers", "Flatten, Dropout, ReLU6, Softmax", _deep),
    ("perceptron", "BatchNorm1d behind the layer", _normalised),
    ("perceptron", "LogSoftmax", _ended("LogSoftmax", dim=1)),
    ("perceptron", "argmax", _chosen),
    ("perceptron", "a single logit, Sigmoid", _ended("Sigmoid", 1)),
    ("residual network", "branches added up", lambda: _branches("added up")),
    ("parallel branches", "branches concatenated", lambda: _branches("concatenated")),
    *(("perceptron", name, _activation(name)) for name in ACTIVATIONS),
)
"""Model, form, and what makes it."""

FORMS = {"TorchScript": False, "dynamo": True}


def exported(file: Path, network: Any, dynamo: bool, **options: Any) -> None:
    """Write *network* as PyTorch exports it."""
    import torch

    dims: dict[str, Any] = {"dynamic_axes": {"x": {0: "batch"}}}
    if dynamo:
        dims = {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "verbose": False}
    example = torch.zeros(2, FEATURES)
    torch.onnx.export(
        network.eval(), (example,), str(file), input_names=["x"], output_names=["y"], dynamo=dynamo, **dims, **options
    )


def exporting(make: Callable[[], Any], dynamo: bool, **options: Any) -> Callable[[Path], None]:
    """Return what writes the network that *make* makes, seeded."""

    def write(file: Path) -> None:
        import torch

        torch.manual_seed(0)
        exported(file, make(), dynamo, **options)

    return write


IN_TESTS = ("ReLU, logits", "BatchNorm1d behind the layer", "branches added up")
"""Of dynamo, which takes two seconds a network."""


def _cases() -> list[Case]:
    found: list[Case] = []
    for way, dynamo in FORMS.items():
        exporter = f"PyTorch, {way}"
        packages = ("torch", "onnxscript") if dynamo else ("torch",)
        found += [Case(exporter, model, form, packages, exporting(make, dynamo)) for model, form, make in NETWORKS]
        single = exporting(lambda: perceptron(outputs=1), dynamo)
        found.append(Case(exporter, "regressor", "a single value", packages, single, task=REGRESSION))
        labels = exporting(_ended("Sigmoid"), dynamo)
        found.append(Case(exporter, "several labels", "Sigmoid each", packages, labels, task=MULTILABEL))
        refused = exporting(_layer_normalised, dynamo)
        why = "LayerNormalization is not supported"
        found.append(Case(exporter, "perceptron", "LayerNorm", packages, refused, refused=why))
    found = [replace(case, in_tests="dynamo" not in case.exporter or case.form in IN_TESTS) for case in found]
    for opset in (9, 13, 20):
        found.append(
            Case("PyTorch, TorchScript", "perceptron", f"opset {opset}", ("torch",),
                 exporting(perceptron, False, opset_version=opset))
        )  # fmt: skip
    return found


CASES = tuple(_cases())
