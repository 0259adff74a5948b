"""Npy headers that numpy.save would not write: each is refused by file and member; what NumPy writes comes back."""

from __future__ import annotations

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from approxhw.common.data.arrays import read_npy, read_npz
from approxhw.common.errors import InvalidDataError


def header(told: object, version: int = 1) -> bytes:
    text = (told if isinstance(told, str) else repr(told)).encode() + b"\n"
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def told(shape: object = (2, 2), descr: object = "<f8", order: object = False) -> dict[str, object]:
    return {"descr": descr, "fortran_order": order, "shape": shape}


def archive(path, *members, **how):
    with zipfile.ZipFile(path, "w", **how) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def refused(path, read=read_npz):
    with pytest.raises(InvalidDataError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (header(told((True, 2))), "it is no npy array (its shape is (True, 2), no 32 whole numbers or fewer)"),
        (header(told((False,))), "its shape is (False,)"),
        (header(told([2, 2])), "its shape is [2, 2]"),
        (header(told((2.0, 2))), "its shape is (2.0, 2)"),
        (header(told((1,) * 40)), "it is no npy array (its shape is (1, 1, 1, "),
        (header(told((-2, -2))), "it declares [-2, -2] of float64, 32 bytes; the file has"),
        (header(told((0, 1 << 70))), "the file is cut off or forged"),
        (header(told((1 << 62, 4))), "the file is cut off or forged"),
        (header(told(order=1)), "its order is 1, not True or False"),
        (
            header(told(descr=("<f8", (2,)))),
            "it holds records (columns with names, or arrays in arrays), not plain numbers",
        ),
        (header(told(descr=[("a", "<f8"), ("b", "<i4")])), "it holds records (columns with names"),
        (header(told(descr="(2,)f8")), "its type '(2,)f8' is none"),
        (header(told(descr="f8,i4")), "its type 'f8,i4' is none"),
        (header(told(descr="|V8")), "it holds |V8, neither numbers nor texts"),
        (header(told(descr="|V0")), "neither numbers nor texts"),
        (header(told(descr="|S0")), "neither numbers nor texts"),
        (header(told(descr="|O")), "it holds Python objects, which are pickled code"),
        (header(told(descr="<f999")), "its type '<f999' is none"),
        (header({"descr": "<f8"}), "its header does not give shape, order and type"),
        (header("[1]"), "its header does not give shape, order and type"),
        (header("(" * 5000), "its header is no table of shape, order and type"),
        (header("-" * 9000 + "1"), "its header is no table of shape, order and type"),
        (header("{'descr': open('x')}"), "its header is no table of shape, order and type"),
        (header("x" * 20_000), "its header has 20001 bytes; 10000 are the most"),
        (header(told(), version=2)[:9], "its header is no table"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 9, "it does not begin as one of versions 1 to 3"),
        (b"\x93NU", "it does not begin as one of versions 1 to 3"),
    ],
)
def test_headers_that_are_none(begin, says, tmp_path):
    path = archive(tmp_path / "a.npz", ("X.npy", begin + b"\0" * 32))
    assert f"X: {says}" in refused(path) or says in refused(path)
    assert "\n  X: " in refused(path), "the member is named"
    (tmp_path / "a.npy").write_bytes(begin + b"\0" * 32)
    assert says in refused(tmp_path / "a.npy", read_npy)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("descr", ["<f8", ">f8", ">i2", "|b1", "<f2", "<U3", ">U3", "|S4", "<c16", "|u1"])
@pytest.mark.parametrize("order", [False, True])
def test_what_numpy_writes_comes_back(version, descr, order, tmp_path):
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(np.dtype(descr))
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asfortranarray(array) if order else array, version=(version, 0))
    path = archive(tmp_path / "a.npz", ("X.npy", stream.getvalue()))
    found = read_npz(path).arrays["X"]
    assert found.dtype.isnative
    assert np.array_equal(found, array)
    assert found.shape == (2, 3)


def test_a_byte_of_two_is_true(tmp_path):
    path = archive(tmp_path / "a.npz", ("X.npy", header(told((3,), "|b1")) + b"\x00\x01\x02"))
    assert read_npz(path).arrays["X"].tolist() == [False, True, True]
    assert read_npz(path).arrays["X"].view(np.uint8).tolist() == [0, 1, 1]


def test_characters_that_do_not_exist(tmp_path):
    path = archive(tmp_path / "a.npz", ("y.npy", header(told((1,), "<U1")) + struct.pack("<I", 0x110000)))
    assert "y: it holds texts of characters that do not exist" in refused(path)


def test_archives_that_are_none(tmp_path):
    whole = header(told((1,))) + b"\0" * 8
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive(tmp_path / "a.npz", ("X.npy", whole), ("X.npy", whole))
    assert "it holds arrays that share a name" in refused(twice)
    assert "it holds arrays that share a name" in refused(archive(tmp_path / "b.npz", ("X.npy", whole), ("X", whole)))
    packed = archive(tmp_path / "c.npz", ("X.npy", whole), compression=zipfile.ZIP_LZMA)
    assert "X: it is packed as NumPy does not" in refused(packed)
    longer = archive(tmp_path / "d.npz", ("X.npy", whole + b"more"))
    assert "X: 8 bytes are declared, more are there" in refused(longer)
    many = archive(tmp_path / "e.npz", *((f"{i}.npy", b"") for i in range(10_001)))
    assert "it holds more than 10000 arrays" in refused(many)
    os.mkfifo(tmp_path / "f.npz")
    assert "it is a pipe, no file" in refused(tmp_path / "f.npz")
    assert "it is a pipe, no file" in refused(tmp_path / "f.npz", read_npy)
