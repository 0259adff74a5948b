"""Set-up of the network of two tasks: which of ten pieces of clothing an image shows, and of which of five kinds that is.

A convolutional trunk with two heads for Fashion-MNIST, trained with torch, as ONNX. Needs torch
(``pip install 'approxhw[transformer]'``) and ``fashion.npz`` of residual_cnn.py; writes ``two_tasks.onnx`` beside it, whose
outputs are ``pieces`` and ``kinds``. Five minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

SEED, ROWS = 0, 128

KINDS = np.array([0, 1, 0, 2, 0, 3, 0, 3, 4, 3])
"""Of each class: tops (T-shirt, pullover, coat, shirt), trousers, dresses, shoes (sandal, sneaker, boot), bags."""


def two_headed(nn: Any) -> Any:
    """Return a trunk of 16, 32, 64 channels, and a head for each task."""

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            sizes = ((1, 16, 1), (16, 32, 2), (32, 64, 2))
            self.trunk = nn.Sequential(
                *(
                    layer
                    for before, after, stride in sizes
                    for layer in (
                        nn.Conv2d(before, after, 3, stride, 1, bias=False),
                        nn.BatchNorm2d(after),
                        nn.ReLU(),
                    )
                ),
                *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 64), nn.ReLU()),
            )
            self.pieces = nn.Linear(64, 10)
            self.kinds = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))

        def forward(self, x: Any) -> tuple[Any, Any]:
            shared = self.trunk(x)
            return self.pieces(shared), self.kinds(shared)

    return Network()


def main() -> None:
    """Train it and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/fashion"), help="folder of fashion.npz")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("not installed: torch; pip install 'approxhw[transformer]'")
    if not (given.folder / "fashion.npz").is_file():
        raise SystemExit(f"{given.folder} lacks fashion.npz; run python benchmarks/models/residual_cnn.py")
    import torch
    from torch import nn

    with np.load(given.folder / "fashion.npz") as file:
        x, y, x_test, y_test = (file[name] for name in ("X_train", "y_train", "X_test", "y_test"))
    torch.set_num_threads(given.threads)
    torch.manual_seed(SEED)
    model = two_headed(nn)
    started = time.perf_counter()
    _train(torch, model, torch.from_numpy(x), torch.from_numpy(y), given.epochs)
    model.eval()
    with torch.no_grad():
        parts = [model(part) for part in torch.from_numpy(x_test).split(1000)]
    pieces, kinds = (torch.cat([part[head].argmax(1) for part in parts]).numpy() for head in (0, 1))
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 28, 28),),
        given.folder / "two_tasks.onnx",
        input_names=["x"],
        output_names=["pieces", "kinds"],
        dynamic_axes={name: {0: "rows"} for name in ("x", "pieces", "kinds")},
        dynamo=False,
    )
    print(
        f"two_tasks: pieces {100 * float((pieces == y_test).mean()):.2f} %, kinds "
        f"{100 * float((kinds == KINDS[y_test]).mean()):.2f} % on 10 000 rows, {time.perf_counter() - started:.0f} s"
    )


def _train(torch: Any, model: Any, x: Any, y: Any, epochs: int) -> None:
    """Train *model* on both tasks at once, by AdamW with one cycle of the rate."""
    kinds = torch.from_numpy(KINDS)[y]
    adam = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=epochs * (len(x) // ROWS))
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - ROWS + 1, ROWS):
            rows = order[start : start + ROWS]
            adam.zero_grad()
            pieces, others = model(x[rows])
            wrong = torch.nn.functional.cross_entropy
            (wrong(pieces, y[rows]) + wrong(others, kinds[rows])).backward()
            adam.step()
            cycle.step()


if __name__ == "__main__":
    main()
