"""Set-up of the images: a residual network of eight layers, and LeNet, for Fashion-MNIST, trained with torch, as ONNX.

Needs torch (``pip install 'approxhw[transformer]'``) and the images (Debian: ``apt-get install dataset-fashion-mnist``). Writes
``resnet8.onnx``, ``lenet.onnx`` and ``fashion.npz`` (rows of training and of test; the last 10 000 training rows are put aside
as ``X_validation``, which no weight has seen). Half an hour on one core.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

SEED, ROWS, VALIDATION = 0, 128, 10_000
IMAGES = Path("/usr/share/datasets/fashion-mnist")


def read_idx(path: Path) -> np.ndarray:
    """Return the array in a gzipped idx file of bytes."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    sizes = np.frombuffer(content, ">i4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes)


def residual(nn: Any, torch: Any) -> Any:
    """Return a residual network of 16, 32, 64 channels in the manner of MLPerf Tiny's."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
            self.beside = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()

        def forward(self, x: Any) -> Any:
            return torch.relu(self.second(self.first(x)) + self.beside(x))

    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def lenet(nn: Any, torch: Any) -> Any:
    """Return LeNet-5 with ReLU and maxima."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def main() -> None:
    """Train both and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/fashion"), help="folder for the files")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of the four idx files")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("not installed: torch; pip install 'approxhw[transformer]'")
    if not (given.images / "train-images-idx3-ubyte.gz").is_file():
        raise SystemExit(f"no images in {given.images}: apt-get install dataset-fashion-mnist, or --images FOLDER")
    import torch
    from torch import nn

    x, y = (read_idx(given.images / f"train-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    x_test, y_test = (read_idx(given.images / f"t10k-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    x, x_test = ((each[:, None].astype(np.float32) / 255 - 0.286) / 0.353 for each in (x, x_test))
    given.output.mkdir(parents=True, exist_ok=True)
    seen = len(x) - VALIDATION
    held = {"X_train": x[:seen], "X_validation": x[seen:], "X_test": x_test}
    labels = {"y_train": y[:seen], "y_validation": y[seen:], "y_test": y_test}
    np.savez(given.output / "fashion.npz", **held, **{name: each.astype(np.int64) for name, each in labels.items()})
    torch.set_num_threads(given.threads)
    for name, make in (("resnet8", residual), ("lenet", lenet)):
        torch.manual_seed(SEED)
        model = make(nn, torch)
        started = time.perf_counter()
        train(torch, model, torch.from_numpy(x[:seen]), torch.from_numpy(y[:seen].astype(np.int64)), given.epochs)
        model.eval()
        with torch.no_grad():
            answers = torch.cat([model(part).argmax(1) for part in torch.from_numpy(x_test).split(1000)]).numpy()
        torch.onnx.export(
            model,
            (torch.zeros(1, 1, 28, 28),),
            given.output / f"{name}.onnx",
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "rows"}, "logits": {0: "rows"}},
            dynamo=False,
        )
        print(
            f"{name}: {100 * float((answers == y_test).mean()):.2f} % on 10 000 rows, {time.perf_counter() - started:.0f} s"
        )


def train(torch: Any, model: Any, x: Any, y: Any, epochs: int) -> None:
    """Train *model* by SGD with one cycle of the learning rate, images moved by up to two points, half of them mirrored."""
    steps = epochs * (len(x) // ROWS)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, 0.1, total_steps=steps)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=float(x.min()))
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - ROWS + 1, ROWS):
            rows = order[start : start + ROWS]
            i, j = torch.randint(0, 5, (2,)).tolist()
            part = padded[rows][:, :, i : i + 28, j : j + 28]
            part = torch.where(torch.rand(len(part), 1, 1, 1) < 0.5, part.flip(3), part)
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(model(part), y[rows]).backward()
            sgd.step()
            cycle.step()


if __name__ == "__main__":
    main()
