"""Shards as bytes, options of an exchange, and what is said without PyTorch: nothing here needs a second process."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from gradient_inputs import FORMATS, gradients

from approxhw.common.errors import InvalidDataError, OptionError, ToolNotFoundError
from approxhw.distributed.gradients import CompressedExchange
from approxhw.distributed.shard_exchange import Shards
from approxhw.numerics.eight_bit.codes import dynamic8, parse


@pytest.mark.parametrize("text", FORMATS)
@pytest.mark.parametrize("length", [1, 255, 256, 257, 5000])
def test_a_message_is_codes_and_maxima_and_comes_back(text, length):
    format = parse(text)
    shards = Shards(format, 4 * length - 3, 4)
    values = gradients(1, 0, 0, length)
    message = shards.pack(values)
    assert message.dtype == np.uint8
    assert message.shape == (shards.message,)
    encoded = format.encode(values, ragged=True)
    assert len(message) == encoded.bits // 8
    assert np.array_equal(shards.unpack(message), format.decode(encoded))
    assert not shards.refused(message)


@pytest.mark.parametrize("text", FORMATS)
def test_no_value_is_sent_as_a_refusal(text):
    """Code 0x80 is −0: neither zeros of both signs nor the smallest values become it."""
    shards = Shards(parse(text), 64 * 2, 2)
    for small in (-0.0, 0.0, -1e-45, -1e-38, -1e-7, -1.0):
        values = np.full(64, small, dtype=np.float32)
        values[1:3] = (1, -1)
        assert not shards.refused(shards.pack(values)), small
    refusal = shards.refusal()
    assert shards.refused(refusal)
    assert refusal.shape == (shards.message,)


@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
@pytest.mark.parametrize("elements", [1, 2, 6, 7, 1000])
def test_a_vector_is_cut_and_joined(ranks, elements):
    shards = Shards(dynamic8(256), elements, ranks)
    values = np.arange(1, elements + 1, dtype=np.float32)
    rows = shards.cut(values)
    assert rows.shape == (ranks, math.ceil(elements / ranks))
    assert rows.size - elements < ranks
    assert rows.sum() == values.sum()
    assert np.array_equal(shards.joined(rows), values)


@pytest.mark.parametrize("ranks", [2, 4, 16])
@pytest.mark.parametrize(("block", "least"), [(64, 3.76), (256, 3.93), (1024, 3.98), (4096, 3.99)])
def test_bytes_beside_a_float32_ring(ranks, block, least):
    shards = Shards(dynamic8(block), 1 << 20, ranks)
    assert shards.ring_bytes == 8 * (ranks - 1) / ranks * 2**20
    assert shards.bytes_sent == 2 * (ranks - 1) / ranks * 2**20 * (1 + 4 / block)
    assert shards.ring_bytes / shards.bytes_sent >= least


def test_messages_that_are_none():
    shards = Shards(dynamic8(64), 256, 2)
    whole = shards.pack(np.ones(128, dtype=np.float32))
    for message, seen in ((whole[:-1], "uint8 of shape [135]"), (whole.astype(np.int8), "int8 of shape [136]")):
        with pytest.raises(InvalidDataError) as caught:
            shards.unpack(message)
        assert f"message: it is {seen}, not uint8 of shape [136]" in str(caught.value)
        assert "do: give every rank the same format and equally long vectors" in str(caught.value)
    broken = whole.copy()
    broken[-4:] = np.array([np.nan], dtype="<f4").view(np.uint8)
    with pytest.raises(InvalidDataError, match="maxima: one of them is negative, NaN or infinite"):
        shards.unpack(broken)


def test_options_that_do_not_exist_are_all_named():
    pytest.importorskip("torch", reason="PyTorch is not here; pip install 'approxhw[gradients]'")
    with pytest.raises(OptionError) as caught:
        CompressedExchange(8, nonfinite="ignore")
    assert str(caught.value) == (
        "gradient exchange: 2 problems\n"
        "  format: int is no 8-bit format\n    do: make one with approxhw.numerics.formats.dynamic8(block=256)\n"
        "  nonfinite: 'ignore' is none\n    do: choose raise or nan"
    )
    with pytest.raises(OptionError, match="a block has 64 to 4096 values, not 17"):
        CompressedExchange("dynamic8,block=17")
    assert CompressedExchange("linear8,block=256").format == parse("linear8,block=256")
    assert CompressedExchange().ratio == 1


def test_without_pytorch_the_way_to_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolNotFoundError) as caught:
        CompressedExchange()
    assert str(caught.value) == "PyTorch: not usable here\n    do: pip install 'approxhw[gradients]'"


def test_pytorch_is_imported_on_use_alone():
    code = "import sys, approxhw.distributed.gradients; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
