"""Data sets: every way to give one, and every way to give a bad one."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset, load_dataset
from approxhw.common.errors import InvalidDataError

X = np.arange(40, dtype=np.float64).reshape(20, 2) / 8
Y = np.arange(20) % 2


def refused(spec, **options):
    with pytest.raises(InvalidDataError) as caught:
        load_dataset(spec, **options)
    return str(caught.value)


def write_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_npz_with_splits_is_taken_as_it_is(tmp_path):
    path = tmp_path / "task.npz"
    np.savez(path, X_train=X.astype(np.float32), y_train=Y, X_test=X[:3], y_test=Y[:3])
    data = load_dataset(path, features=2, classes=2)
    assert (data.name, data.X_train.dtype, data.y_train.dtype) == ("task", np.float64, np.int64)
    assert np.array_equal(data.X_train, X)
    assert np.array_equal(data.y_test, Y[:3])


def test_npz_without_test_rows_has_an_empty_split(tmp_path):
    path = tmp_path / "task.npz"
    np.savez(path, X_train=X, y_train=Y)
    data = load_dataset(str(path))
    assert data.X_test.shape == (0, 2)
    assert data.y_test.shape == (0,)


def test_compressed_fortran_npz_is_read(tmp_path):
    path = tmp_path / "task.npz"
    np.savez_compressed(path, X_train=np.asfortranarray(X), y_train=Y)
    assert np.array_equal(load_dataset(path).X_train, X)


def test_rows_without_splits_are_split_by_class_and_seed():
    a, b, c = (load_dataset((X, Y), seed=seed) for seed in (1, 1, 2))
    assert (len(a.X_train), len(a.X_test)) == (14, 6)
    assert np.bincount(a.y_test).tolist() == [3, 3]
    assert np.array_equal(a.X_test, b.X_test)
    assert not np.array_equal(a.X_test, c.X_test)
    assert np.array_equal(np.sort(np.concatenate([a.X_train, a.X_test])[:, 0]), X[:, 0])


def test_a_class_of_one_row_is_in_the_training_rows():
    data = load_dataset((X, [0] * 19 + [1]))
    assert 1 in data.y_train.tolist()


def test_npy_pair(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    data = load_dataset(f"{tmp_path / 'X.npy'},{tmp_path / 'y.npy'}")
    assert len(data.X_train) + len(data.X_test) == 20


def test_images_become_rows():
    assert load_dataset((np.zeros((10, 3, 4)), np.zeros(10, int)), features=12).X_train.shape[1] == 12


def test_csv_with_titles_and_texts(tmp_path):
    path = write_csv(tmp_path / "a.csv", "width,class,height\n1.5,yes,2\n3,no,4\n\n5,yes,6\n")
    data = load_dataset(path)
    assert data.features == ("width", "height")
    rows = np.concatenate([data.X_train, data.X_test])
    both = np.concatenate([data.y_train, data.y_test])
    assert sorted(zip(rows[:, 0].tolist(), both.tolist())) == [(1.5, 1), (3.0, 0), (5.0, 1)]  # no < yes


def test_csv_without_titles_has_its_label_last(tmp_path):
    data = load_dataset(write_csv(tmp_path / "a.csv", "\ufeff1,2,0\n3,4,1\n5,6,1\n"))
    assert data.features == ()
    assert sorted(np.concatenate([data.y_train, data.y_test]).tolist()) == [0, 1, 1]


def test_sklearn_names():
    data = load_dataset("sklearn:iris", features=4, classes=3)
    assert (len(data.X_train), len(data.X_test)) == (105, 45)
    assert data.features[3] == "petal width (cm)"


def test_a_dataset_is_checked_too():
    good = load_dataset((X, Y))
    assert np.array_equal(load_dataset(good, features=2).X_train, good.X_train)
    bad = Dataset(X * np.nan, Y, X, Y)
    assert "X_train: 20 of 20 rows hold NaN or infinity: rows 0, 1, 2, 3, 4, …, counted from 0" in refused(bad)


def test_labels_of_the_model_map_to_class_indices():
    texts = load_dataset({"X_train": X, "y_train": np.array(["b", "a"] * 10)}, labels=("b", "a"))
    assert texts.y_train.tolist() == [0, 1] * 10
    numbers = load_dataset({"X_train": X, "y_train": np.array([7, 3] * 10)}, labels=(3, 7))
    assert numbers.y_train.tolist() == [1, 0] * 10
    floats = load_dataset({"X_train": X, "y_train": np.array([7.0, 3.0] * 10)}, labels=(3, 7))
    assert floats.y_train.tolist() == [1, 0] * 10
    plain = load_dataset({"X_train": X, "y_train": np.array([1, 0] * 10)}, labels=("b", "a"))
    assert plain.y_train.tolist() == [1, 0] * 10
    column = load_dataset({"X_train": X, "y_train": np.array([1, 0] * 10)[:, None]})
    assert column.y_train.tolist() == [1, 0] * 10
    csv_texts = load_dataset({"X_train": X, "y_train": np.array(["1", "2"] * 10)}, labels=(2, 1))
    assert csv_texts.y_train.tolist() == [1, 0] * 10


@pytest.mark.parametrize(
    ("arrays", "options", "text"),
    [
        (
            {"X_train": X, "y_train": Y},
            {"features": 5},
            "X_train: the model reads 5 features, the data has 2\n    do: give the features that the model reads, in its order",
        ),
        ({"X_train": X, "y_train": Y + 1}, {"classes": 2}, "y_train: labels 2 are not in 0…1"),
        ({"X_train": X, "y_train": Y - 1}, {}, "y_train: labels -1 are not in 0, 1, 2, …"),
        ({"X_train": X, "y_train": Y + 5}, {"labels": ("a", "b")}, "nor among the model's labels a, b"),
        ({"X_train": X, "y_train": ["x"] * 20}, {"labels": ("a", "b")}, "x are not among the model's labels a, b"),
        ({"X_train": X, "y_train": list("abcd") * 5}, {"classes": 3}, "4 different labels for 3 classes"),
        ({"X_train": X, "y_train": Y / 2}, {}, "y_train: labels are integers or texts; row 1 has 0.5"),
        ({"X_train": X, "y_train": Y + 0j}, {}, "y_train: labels are integers or texts, not complex128"),
        ({"X_train": X, "y_train": Y[:7]}, {}, "X_train, y_train: 20 rows, but 7 labels"),
        ({"X_train": X, "y_train": np.eye(20)}, {}, "one label a row is needed, the array has shape [20, 20]"),
        ({"X_train": X[:, 0], "y_train": Y}, {}, "rows × features are needed, the array has shape [20]"),
        ({"X_train": X.astype(str), "y_train": Y}, {}, "X_train: readings are numbers, not <U32"),
        ({"X_train": X.astype(object), "y_train": Y}, {}, "X_train: it holds Python objects, not numbers"),
        ({"X_train": X[:0], "y_train": Y[:0]}, {}, "data: it has no rows"),
        ({"X": X}, {}, "y is missing; there is X"),
        ({"a": X}, {}, "X, y are missing; there is a\n    do: X_train, y_train (X_test, y_test), or X, y are needed"),
        (
            {"X_train": X, "y_train": Y, "X_test": X[:, :1], "y_test": Y},
            {},
            "the splits differ in their features: 2, 1",
        ),
        ((X, Y, X), {}, "a tuple of 3; (X, y) or (X_train, y_train, X_test, y_test) is needed"),
    ],
)
def test_bad_arrays_are_refused(arrays, options, text):
    assert text in refused(arrays, **options)


def test_everything_wrong_is_said_at_once():
    x = X.copy()
    x[3, 1], x[9, 0] = np.nan, np.inf
    text = refused({"X_train": x, "y_train": Y + 9, "X_test": X, "y_test": Y[:3]}, features=3, classes=2)
    assert text.startswith("data: 5 problems")
    for part in (
        "2 of 20 rows hold NaN or infinity: rows 3, 9, counted",
        "model reads 3",
        "labels 9, 10 are",
        "3 labels",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "it has no rows"),
        ("a,b,label\n", "it has titles but no rows"),
        ("1,2,0\n3,4\n5,6,1\n7,8,9,0\n", "lines 2, 4 do not have 3 columns"),
        ("1,2,0\n3,?,1\n,6,1\n", "lines 2, 3 hold what is no number, the first '?'"),
        ("1\n2\n", "it has one column; features and a label are needed"),
        ("1,nan,0\n2,inf,1\n", "2 of 2 rows hold NaN or infinity: rows 0, 1"),
        ("1,2,0\n" + "9" * 200000 + ",1,1\n", "it is no csv file (field larger than field limit"),
    ],
)
def test_bad_csv_is_refused_with_its_lines(tmp_path, content, text):
    assert text in refused(write_csv(tmp_path / "a.csv", content))


def test_binary_csv_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    assert "it is no csv file" in refused(tmp_path / "a.csv")


def test_missing_and_unknown_files(tmp_path):
    np.savez(tmp_path / "tasks.npz", X=X, y=Y)
    assert "there is no such file; did you mean 'tasks.npz'?" in refused(tmp_path / "task.npz")
    (tmp_path / "a.xlsx").write_text("")
    assert "no data is read from '.xlsx'\n    do: give NAME.npz, NAME.csv" in refused(tmp_path / "a.xlsx")
    text = refused(f"{tmp_path}/X.npy,{tmp_path}/y.npy")
    assert text.count("there is no such file") == 2
    assert "sklearn:iriss: no data set of this name is known; did you mean 'iris'?" in refused("sklearn:iriss")
    assert "there are breast_cancer, diabetes, digits, iris, wine" in refused("sklearn:mnist_784_full")


def test_truncated_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[: len(whole) // 2])
    assert "it is no whole npz file" in refused(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK not a zip")
    assert "it is no whole npz file" in refused(tmp_path / "c.npz")
    flipped = bytearray(whole)
    flipped[300] ^= 255  # inside the data of X: the checksum of the archive tells
    (tmp_path / "d.npz").write_bytes(bytes(flipped))
    assert "it is no whole npz file" in refused(tmp_path / "d.npz")


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_are_never_opened(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.array([Evil()], dtype=object), y=Y)
    text = refused(tmp_path / "a.npz")
    assert "X: it holds Python objects, which are pickled code; approxhw never unpickles" in text
    (tmp_path / "b.npz").write_bytes(pickle.dumps(X))
    assert "it is no whole npz file" in refused(tmp_path / "b.npz")


def forged(shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("shape", [(1 << 27, 1 << 10), (1000, 1000), (-1, 5), (1 << 70, 1)])
def test_a_declared_giant_is_refused_before_it_is_allocated(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", forged(shape) + b"\0" * 64)
    assert "the file is cut off or forged" in refused(tmp_path / "a.npz")
    (tmp_path / "X.npy").write_bytes(forged(shape))
    np.save(tmp_path / "y.npy", Y)
    assert "the file is cut off or forged" in refused(f"{tmp_path / 'X.npy'},{tmp_path / 'y.npy'}")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X.npy", forged((8, 1)) + b"\0" * 64)
    text = bytearray(buffer.getvalue())
    at = text.rindex(b"PK\x01\x02")
    text[at + 24 : at + 28] = struct.pack("<I", 0xF0000000)  # the declared size in the central directory
    (tmp_path / "a.npz").write_bytes(bytes(text))
    assert "it unpacks to 4026531840 bytes, more than 1073741824" in refused(tmp_path / "a.npz")


def test_no_array_but_text_in_an_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", "hello")
    assert "X: it is no npy array" in refused(tmp_path / "a.npz")
