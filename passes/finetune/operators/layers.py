"""Operators of ONNX that sum, compare, normalise or slide over axes, and products of matrices, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from approxhw.passes.structure.ground.operators import OPSET

from .library import RESULTS, Attributes, Made, Tensor, UntranslatedError, torch
from .places import said_axes


def _softmax(operands: list[Any], given: Attributes, name: str = "softmax") -> Tensor:
    """Return chances along an axis; below opset 13 along that one and all behind it."""
    x, old = operands[0], given.get(OPSET, 13) < 13
    axis = int(given.get("axis", 1 if old else -1)) % x.ndim
    if not old or axis == x.ndim - 1:
        return getattr(x, name)(axis)
    return getattr(x.flatten(axis), name)(-1).reshape(x.shape)


def _pool(operands: list[Any], given: Attributes, kind: str) -> tuple[Tensor, dict[str, Any], Sequence[int]]:
    """Return the images, sizes of the window as PyTorch takes them, and ends of padding, the last axis first."""
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", b"") or given.get("ceil_mode", 0):
        raise UntranslatedError(f"{kind} with auto_pad or ceil_mode")
    if given.get(RESULTS, 1) > 1:
        raise UntranslatedError(f"{kind} that tells places, too")
    kernel = tuple(given["kernel_shape"])
    sizes = {"kernel_size": kernel, "stride": tuple(given.get("strides", (1,) * len(kernel)))}
    pads = tuple(given.get("pads", (0,) * 2 * len(kernel)))
    return operands[0], sizes, pads_backwards(pads)


def pads_backwards(pads: Sequence[int]) -> list[int]:
    """Return ONNX's *pads*, all starts and then all ends, as PyTorch has them: both ends of an axis, the last axis first."""
    axes = len(pads) // 2
    return [end for axis in reversed(range(axes)) for end in (pads[axis], pads[axis + axes])]


def _max_pool(operands: list[Any], given: Attributes) -> Tensor:
    """Return the largest of each window."""
    x, sizes, ends = _pool(operands, given, "MaxPool")
    functional, rank = torch().nn.functional, len(sizes["kernel_size"])
    padded = functional.pad(x, ends, value=float("-inf")) if any(ends) else x
    pool = getattr(functional, f"max_pool{rank}d")
    return pool(padded, **sizes, dilation=tuple(given.get("dilations", (1,) * rank)))


def _average_pool(operands: list[Any], given: Attributes) -> Tensor:
    """Return the mean of each window."""
    x, sizes, ends = _pool(operands, given, "AveragePool")
    if set(given.get("dilations", ())) - {1}:
        raise UntranslatedError("AveragePool with dilations")
    functional = torch().nn.functional
    pool = getattr(functional, f"avg_pool{len(sizes['kernel_size'])}d")
    made = pool(functional.pad(x, ends), **sizes)
    if not any(ends) or given.get("count_include_pad", 0):
        return made
    return made / pool(functional.pad(torch().ones_like(x), ends), **sizes)


def _over_places(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _reduced(how: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Made:
    """Return the operator that makes one number of several axes."""

    def made(operands: list[Any], given: Attributes) -> Tensor:
        x, axes = operands[0], said_axes(operands, given)
        if not axes and given.get("noop_with_empty_axes", 0):
            return x
        return how(x, axes or tuple(range(x.ndim)), bool(given.get("keepdims", 1)))

    return made


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _arg(largest: bool) -> Made:
    def made(operands: list[Any], given: Attributes) -> Tensor:
        if given.get("select_last_index", 0):
            raise UntranslatedError("ArgMax or ArgMin of the last of equals")
        x, axis, keep = operands[0], int(given.get("axis", 0)), bool(given.get("keepdims", 1))
        return x.argmax(axis, keepdim=keep) if largest else x.argmin(axis, keepdim=keep)

    return made


def _top_k(operands: list[Any], given: Attributes) -> list[Tensor]:
    """Return the largest, or the smallest, of an axis, and where they stand."""
    found = operands[0].topk(
        int(operands[1].item()), int(given.get("axis", -1)), bool(given.get("largest", 1)), bool(given.get("sorted", 1))
    )
    return [found.values, found.indices]


def _batch_norm(operands: list[Any], given: Attributes) -> Tensor:
    """Return channels less a mean, over a spread, scaled and moved, all of which stay."""
    if given.get("training_mode", 0):
        raise UntranslatedError("BatchNormalization that learns")
    x, scale, bias, mean, variance = operands
    along = (1, -1, *(1,) * (x.ndim - 2))
    spread = torch().sqrt(variance + float(given.get("epsilon", 1e-5)))
    return (x - mean.reshape(along)) / spread.reshape(along) * scale.reshape(along) + bias.reshape(along)


def _layer_norm(operands: list[Any], given: Attributes) -> Tensor:
    """Return the axes from ``axis`` on less their mean, over their spread, scaled and moved."""
    if given.get(RESULTS, 1) > 1:
        raise UntranslatedError("LayerNormalization that tells means, too")
    x, scale, bias = [*operands, None][:3]
    sizes = tuple(x.shape[int(given.get("axis", -1)) % x.ndim :])
    made = torch().nn.functional.layer_norm(x, sizes, eps=float(given.get("epsilon", 1e-5))) * scale
    return made if bias is None else made + bias


def _instance_norm(operands: list[Any], given: Attributes) -> Tensor:
    """Return the places of each channel less their mean, over their spread, scaled and moved."""
    x, scale, bias = operands
    along = (1, -1, *(1,) * (x.ndim - 2))
    made = torch().nn.functional.instance_norm(x, eps=float(given.get("epsilon", 1e-5)))
    return made * scale.reshape(along) + bias.reshape(along)


def affine_product(a: Tensor, b: Tensor, c: Tensor | None, given: Attributes) -> Tensor:
    """Return alpha · A · B + beta · C, A and B turned where asked for."""
    a = a.T if given.get("transA", 0) else a
    b = b.T if given.get("transB", 0) else b
    made = float(given.get("alpha", 1.0)) * (a @ b) if float(given.get("alpha", 1.0)) != 1 else a @ b
    return made if c is None else made + float(given.get("beta", 1.0)) * c


def convolved(x: Tensor, filters: Tensor, bias: Tensor | None, given: Attributes) -> Tensor:
    """Return what filters make of images, over one axis of places to three."""
    rank = x.ndim - 2
    if not 1 <= rank <= 3:
        raise UntranslatedError(f"a convolution over {rank} axes")
    strides, dilations = (tuple(given.get(name) or (1,) * rank) for name in ("strides", "dilations"))
    pads = same_pads(
        str(given.get("auto_pad", "NOTSET")), tuple(x.shape[2:]), tuple(filters.shape[2:]), strides, dilations
    )
    pads = tuple(given.get("pads") or (0,) * 2 * rank) if pads is None else pads
    functional = torch().nn.functional
    if pads[:rank] != pads[rank:]:
        x, pads = functional.pad(x, pads_backwards(pads)), (0,) * 2 * rank
    convolution = getattr(functional, f"conv{rank}d")
    return convolution(x, filters, bias, strides, tuple(pads[:rank]), dilations, int(given.get("group", 1)))


def same_pads(
    auto_pad: str,
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...] | None:
    """Return ONNX's pads where *auto_pad* makes them of the sizes of *image* and *kernel*; None where they are said."""
    if not auto_pad.startswith("SAME"):
        return (0,) * 2 * len(image) if auto_pad == "VALID" else None
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    totals = [max(0, (-(-size // s) - 1) * s + extent - size) for size, s, extent in zip(image, strides, extents)]
    halves = [total // 2 for total in totals]
    rest = [total - half for total, half in zip(totals, halves)]
    return (*halves, *rest) if auto_pad == "SAME_UPPER" else (*rest, *halves)


def spread_images(x: Tensor, filters: Tensor, bias: Tensor | None, given: Attributes) -> Tensor:
    """Return images spread by filters (ConvTranspose), of pads that both ends share."""
    rank = x.ndim - 2
    pads = tuple(given.get("pads") or (0,) * 2 * rank)
    if (
        given.get("output_shape")
        or given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        or pads[:rank] != pads[rank:]
    ):
        raise UntranslatedError("ConvTranspose whose pads differ, or come of its result's sizes")
    strides, dilations = (tuple(given.get(name) or (1,) * rank) for name in ("strides", "dilations"))
    further = tuple(given.get("output_padding") or (0,) * rank)
    spread = getattr(torch().nn.functional, f"conv_transpose{rank}d")
    return spread(x, filters, bias, strides, pads[:rank], further, int(given.get("group", 1)), dilations)


LAYERS: Mapping[str, Made] = {
    "ArgMax": _arg(largest=True),
    "ArgMin": _arg(largest=False),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Einsum": lambda x, given: torch().einsum(given["equation"].decode(), *x),
    "GlobalAveragePool": lambda x, given: x[0].mean(_over_places(x[0]), keepdim=True),
    "GlobalMaxPool": lambda x, given: x[0].amax(_over_places(x[0]), keepdim=True),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": lambda x, given: _softmax(x, given, "log_softmax"),
    "MatMul": lambda x, given: x[0] @ x[1],
    "MaxPool": _max_pool,
    "ReduceL1": _reduced(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduced(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceLogSumExp": _reduced(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "ReduceMax": _reduced(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduced(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _reduced(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceSumSquare": _reduced(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "Softmax": _softmax,
    "TopK": _top_k,
}
"""Operators by ONNX's name."""
