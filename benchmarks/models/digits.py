"""Set-up of the small networks: a convolutional one and a dense one for scikit-learn's digits, trained with torch, as ONNX.

Needs torch and scikit-learn: ``pip install 'approxhw[transformer]'``. Writes ``cnn.onnx``, ``mlp.onnx`` and ``digits.npz``.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np

SEED, EPOCHS, ROWS = 0, 60, 64


def main() -> None:
    """Train both and write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/digits"), help="folder for the files")
    folder = parser.parse_args().output
    if lacking := [name for name in ("torch", "sklearn") if importlib.util.find_spec(name) is None]:
        raise SystemExit(f"not installed: {', '.join(lacking)}; pip install 'approxhw[transformer]'")
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import nn

    data = load_digits()
    images = (data.data / 16).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(  # noqa: N806
        images, data.target, test_size=0.3, random_state=SEED, stratify=data.target
    )
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "digits.npz", X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    models = {
        "cnn": nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(128, 10)),
        ),
        "mlp": nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
    }
    x, y = torch.from_numpy(X_train), torch.from_numpy(y_train)
    for name, model in models.items():
        adam = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(EPOCHS):
            order = torch.randperm(len(x))
            for start in range(0, len(x), ROWS):
                rows = order[start : start + ROWS]
                adam.zero_grad()
                nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                adam.step()
        model.eval()
        accuracy = float((model(torch.from_numpy(X_test)).argmax(1).numpy() == y_test).mean())
        torch.onnx.export(
            model, (x[:1],), str(folder / f"{name}.onnx"), input_names=["x"], output_names=["logits"],
            dynamic_axes={"x": {0: "rows"}, "logits": {0: "rows"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
        print(f"wrote {folder / name}.onnx: {100 * accuracy:.1f} % of the test rows")


if __name__ == "__main__":
    main()
