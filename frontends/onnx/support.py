"""What is read and what is not: the table of operators, advice for the others, and their Markdown form."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.common.errors import Problem, shown

from . import activations, linear, quantised, shapes, tail, trees, written_out
from .importer import Handler, where
from .loading import ML, QONNX

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


@dataclass(frozen=True)
class SupportedOperator:
    """One operator that is read: its handler, and what is read of it, for the table in the documentation."""

    handler: Handler
    note: str


STANDARD_OPERATORS: dict[str, SupportedOperator] = {
    "Add": SupportedOperator(
        linear.add,
        "of constants, fused into the bias of the layer before it, and of computed values: branches, ensembles",
    ),
    "ArgMax": SupportedOperator(tail.argmax, "over the class axis, either `keepdims`; `select_last_index=0`"),
    "BatchNormalization": SupportedOperator(linear.batch_normalization, "inference, with running statistics"),
    "Cast": SupportedOperator(shapes.cast, "between floating-point types, and of labels"),
    "Clip": SupportedOperator(
        activations.clip, "bounds as attributes or as constant inputs; infinite ones are dropped"
    ),
    "Concat": SupportedOperator(
        shapes.concat, "of columns of the input, of branches, of single scores, of (1 − p, p) in a binary head"
    ),
    "DequantizeLinear": SupportedOperator(
        quantised.dequantize_linear, "QDQ: of constants, behind QuantizeLinear, and of an integer input of the model"
    ),
    "Div": SupportedOperator(
        linear.divide, "by a constant; of a constant, or of two functions of one value, by a table; shares of a sum"
    ),
    "Dropout": SupportedOperator(shapes.dropout, "inference: does nothing"),
    "Expand": SupportedOperator(shapes.expand, "of one number for all classes, at the end"),
    "Exp": SupportedOperator(written_out.exponential_of, "by a table; 1 / (1 + exp(−z)) is a Sigmoid"),
    "Flatten": SupportedOperator(shapes.flatten, "keeps the batch axis apart"),
    "Gather": SupportedOperator(shapes.gather, "columns of the model's input; labels by class index"),
    "Gemm": SupportedOperator(
        linear.gemm, "weights on either side; every `transA`, `transB`, `alpha`, `beta`; C optional"
    ),
    "Greater": SupportedOperator(tail.compare, "a single logit, or its Sigmoid, with a constant"),
    "GreaterOrEqual": SupportedOperator(tail.compare, "a single logit, or its Sigmoid, with a constant"),
    "Identity": SupportedOperator(shapes.identity, "anything"),
    "LeakyRelu": SupportedOperator(activations.leaky_relu, "any `alpha`: exact, of quantised values too"),
    "Less": SupportedOperator(tail.compare, "a single logit, or its Sigmoid, with a constant"),
    "LessOrEqual": SupportedOperator(tail.compare, "a single logit, or its Sigmoid, with a constant"),
    "Log": SupportedOperator(
        written_out.logarithm, "by a table; of probabilities, at the end: keeps the order, dropped"
    ),
    "LogSoftmax": SupportedOperator(tail.softmax, "over the class axis, at the end: keeps the order, dropped"),
    "MatMul": SupportedOperator(linear.matmul_layer, "constant weights on either side"),
    "Max": SupportedOperator(activations.maximum, "with one constant number"),
    "Mean": SupportedOperator(linear.mean, "of constants and computed values"),
    "Min": SupportedOperator(activations.minimum, "with one constant number"),
    "Mul": SupportedOperator(linear.multiply, "one operand constant, or two functions of one value: x · Sigmoid(x)"),
    "Neg": SupportedOperator(linear.negate, "anything"),
    "Not": SupportedOperator(tail.not_, "of a comparison, at the end"),
    "QuantizeLinear": SupportedOperator(
        quantised.quantize_linear,
        "QDQ: one scale and zero point for a tensor of activations; `Clip`, `Min`, `Max`, `Relu` on its codes (QCDQ)",
    ),
    "Reciprocal": SupportedOperator(written_out.reciprocal, "by a table; of 1 + exp(−z) the end of a Sigmoid"),
    **{
        name: SupportedOperator(
            written_out.reduce_level, "of scores over the classes, at the end: keeps the order, dropped"
        )
        for name in ("ReduceLogSumExp", "ReduceMax", "ReduceMin")
    },
    "ReduceSum": SupportedOperator(written_out.reduce_sum, "of probabilities over the classes, at the end"),
    "Relu": SupportedOperator(activations.relu, "anything"),
    "Reshape": SupportedOperator(shapes.reshape, "keeps the batch axis apart; constant shape, or one made of Shape"),
    "Round": SupportedOperator(tail.round_, "of a single Sigmoid, at the end: p > 1/2 is logit > 0"),
    "Shape": SupportedOperator(shapes.shape_of, "where it ends in the shape of a Reshape"),
    "Sigmoid": SupportedOperator(
        tail.sigmoid, "at the end: keeps the order, dropped; p > 1/2 is logit > 0; between layers by a table"
    ),
    "Slice": SupportedOperator(shapes.slice_, "columns of the model's input"),
    "Softmax": SupportedOperator(tail.softmax, "over the class axis, at the end: keeps the order, dropped"),
    "Squeeze": SupportedOperator(shapes.squeeze, "axes of length 1"),
    "Sub": SupportedOperator(linear.subtract, "of constants, either side, and of computed values"),
    "Sum": SupportedOperator(linear.add, "of constants and computed values"),
    "Transpose": SupportedOperator(shapes.transpose, "that leaves a row in order, or reorders the model's input"),
    "Unsqueeze": SupportedOperator(shapes.unsqueeze, "anything"),
    "Abs": SupportedOperator(activations.absolute, "anything: exact"),
    "Celu": SupportedOperator(activations.by_formula("x", "@alpha", "celu", alpha=1.0), "by a table"),
    "Elu": SupportedOperator(activations.by_formula("x", "@alpha", "elu", alpha=1.0), "by a table"),
    "Gelu": SupportedOperator(activations.gelu, "exact or `approximate=tanh`, by a table"),
    "HardSigmoid": SupportedOperator(activations.hard_sigmoid, "anything: exact"),
    "HardSwish": SupportedOperator(activations.hard_swish, "anything: an exact product"),
    "Mish": SupportedOperator(activations.by_formula(*activations.MISH), "by a table"),
    "PRelu": SupportedOperator(
        activations.prelu, "one slope, or one an element, of any sign: exact, of quantised values too"
    ),
    "Pow": SupportedOperator(activations.power, "to one constant power, by a table"),
    "Selu": SupportedOperator(
        activations.by_formula(
            "x", "@alpha", "@gamma", "selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875
        ),
        "by a table",
    ),
    "Shrink": SupportedOperator(
        activations.by_formula("x", "@bias", "@lambd", "shrink", bias=0.0, lambd=0.5), "by a table"
    ),
    "Swish": SupportedOperator(
        activations.by_formula("x", "x", "@alpha", "mul", "sigmoid", "mul", alpha=1.0), "by a table"
    ),
    "ThresholdedRelu": SupportedOperator(activations.thresholded_relu, "anything: exact"),
    **{
        name.capitalize(): SupportedOperator(activations.by_formula("x", name), "by a table")
        for name in (
            *("acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "floor"),
            *("sign", "sin", "sinh", "softplus", "softsign", "sqrt", "tan", "tanh"),
        )
    },
    "Where": SupportedOperator(tail.where_, "two constant numbers by one comparison, at the end"),
}

ML_OPERATORS: dict[str, SupportedOperator] = {
    "ArrayFeatureExtractor": SupportedOperator(
        shapes.array_feature_extractor, "labels by class index; columns of the model's input"
    ),
    "FeatureVectorizer": SupportedOperator(shapes.feature_vectorizer, "model inputs side by side"),
    "LabelEncoder": SupportedOperator(tail.label_encoder, "of class labels, behind ArgMax"),
    "LinearClassifier": SupportedOperator(
        linear.linear_classifier, "one row of coefficients a class; NONE, SOFTMAX, LOGISTIC"
    ),
    "LinearRegressor": SupportedOperator(linear.linear_regressor, "one row of coefficients a target"),
    "Normalizer": SupportedOperator(tail.normalizer, "of probabilities, at the end"),
    "Scaler": SupportedOperator(linear.scaler, "one offset and scale, or one a feature"),
    "TreeEnsemble": SupportedOperator(
        trees.tree_ensemble, "sums and averages; all modes but sets of categories; NONE, SOFTMAX, LOGISTIC"
    ),
    "TreeEnsembleClassifier": SupportedOperator(
        trees.tree_classifier, "all modes, weights, base values; every post_transform that keeps the class"
    ),
    "TreeEnsembleRegressor": SupportedOperator(
        trees.tree_regressor, "sums and averages; all modes, base values; NONE, SOFTMAX, LOGISTIC"
    ),
    "ZipMap": SupportedOperator(tail.zipmap, "gives the class labels"),
}

QUANT_NOTE = "1 to 16 bits, of constants 1 to 32; `signed`, `narrow`; every rounding mode"
QONNX_OPERATORS: dict[str, SupportedOperator] = {
    "BipolarQuant": SupportedOperator(quantised.bipolar_quant, "the sign, times a scale"),
    "IntQuant": SupportedOperator(quantised.quant, QUANT_NOTE),
    "Quant": SupportedOperator(quantised.quant, QUANT_NOTE),
    "Trunc": SupportedOperator(quantised.trunc, "of rows, 1 to 16 bits; every rounding mode; both versions"),
}

MICROSOFT = "com.microsoft"
MICROSOFT_OPERATORS: dict[str, SupportedOperator] = {
    name: STANDARD_OPERATORS[name] for name in ("DequantizeLinear", "QuantizeLinear")
}

SCORES_ADVICE = "convert with options={id(model): {'raw_scores': True}}: scores have the same order as probabilities"
PROBABILITIES = frozenset(("ReduceMean",))
"""What skl2onnx makes probabilities with, and is not read."""
CONV_ADVICE = "only networks of dense layers become circuits; train a multi-layer perceptron"
QDQ_ADVICE = "quantise to QDQ form (onnxruntime: quant_format=QuantFormat.QDQ)"
STATIC_ADVICE = "quantise statically (onnxruntime: quantize_static with QuantFormat.QDQ)"
UNROLL_ADVICE = "export a model without control flow; onnxsim may fold it away"
SVM_ADVICE = "train a multi-layer perceptron, a linear classifier or trees"

ADVICE: dict[str, str] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "QLinearConv"), CONV_ADVICE),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample"), CONV_ADVICE
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"), CONV_ADVICE),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), "use BatchNormalization"),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization", "LpNormalization"), "use BatchNormalization"),
    **dict.fromkeys(("QLinearMatMul", "QLinearAdd", "QGemm", "MatMulInteger"), QDQ_ADVICE),
    "DynamicQuantizeLinear": STATIC_ADVICE,
    "Erfc": "it is none of ONNX: tf2onnx leaves it in Keras' exact gelu; use gelu with approximate=True",
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), UNROLL_ADVICE),
    **dict.fromkeys(("SVMClassifier",), SVM_ADVICE),
    **dict.fromkeys(
        ("Imputer", "OneHotEncoder", "TfIdfVectorizer", "CategoryMapper"), "prepare the features before the model"
    ),
    **dict.fromkeys(("SVMRegressor",), "train an MLPRegressor, a linear one or trees"),
    "TopK": "end with ArgMax",
    "Split": "cut columns with Slice or Gather, of the model's input only",
}


def supported_operator(node: NodeProto) -> SupportedOperator | None:
    """Return the entry for *node* by its domain and operator; None where it is not read."""
    if node.domain in ("", "ai.onnx"):
        return STANDARD_OPERATORS.get(node.op_type)
    if node.domain == ML:
        return ML_OPERATORS.get(node.op_type)
    if node.domain == MICROSOFT:
        return MICROSOFT_OPERATORS.get(node.op_type)
    return QONNX_OPERATORS.get(node.op_type) if node.domain in QONNX else None


def from_scores(proto: ModelProto) -> bool:
    """Whether *proto* is a linear model of skl2onnx, which can be converted with its scores in place of probabilities."""
    products = sum(node.op_type in ("MatMul", "Gemm", "LinearClassifier") for node in proto.graph.node)
    hidden = any(node.op_type in ("Relu", "Tanh") for node in proto.graph.node)
    return proto.producer_name == "skl2onnx" and products == 1 and not hidden


def unsupported(
    node: NodeProto, functions: frozenset[tuple[str, str]] = frozenset(), has_scores: bool = False
) -> Problem:
    """Return why *node* cannot be read and what to do; *functions*: (domain, name) of the model's own functions.

    *has_scores*: it can be converted with its scores in place of probabilities (:func:`from_scores`).
    """
    op = str(node.op_type)
    if (node.domain, op) in functions:
        remedy = "inline the model's functions first: onnx.inliner.inline_local_functions"
        return Problem(where(node), "calls a function of the model's own, which is not read", remedy)
    advice = SCORES_ADVICE if has_scores and op in PROBABILITIES else ADVICE.get(op, "")
    known_domain = node.domain in ("", "ai.onnx", ML, MICROSOFT, *QONNX)
    if not known_domain:
        why = f"operator {shown(op)} is of the unknown domain {shown(repr(node.domain))}"
        return Problem(where(node), why, advice or "export with standard ONNX operators only")
    if advice:
        return Problem(where(node), f"operator {shown(op)} is not supported", advice)
    names = [name for name in (*STANDARD_OPERATORS, *ML_OPERATORS, *QONNX_OPERATORS) if name != op]
    close = difflib.get_close_matches(op[:80], names, n=1, cutoff=0.7)
    if close and not _exists(node):
        remedy = f"did you mean {close[0]}?"
    else:
        remedy = "see the table in docs/operators.md, and build the model from those"
    return Problem(where(node), f"operator {shown(op)} is not supported", remedy)


def _exists(node: NodeProto) -> bool:
    from onnx import defs

    if not (isinstance(node.op_type, str) and node.op_type.isascii() and node.domain.isascii()):
        return False
    return bool(defs.has(node.op_type, node.domain if node.domain != "ai.onnx" else ""))


def support_table() -> str:
    """Return the tables of supported operators and of advice, as Markdown."""
    from approxhw.frontends.tensors.folding import FOLDABLE

    lines = ["### Operators that are read", "", "| operator | domain | what is read |", "|---|---|---|"]
    groups = (
        ("ONNX", STANDARD_OPERATORS),
        (ML, ML_OPERATORS),
        (QONNX[0], QONNX_OPERATORS),
        (MICROSOFT, MICROSOFT_OPERATORS),
    )
    for domain, table in groups:
        lines += [f"| `{name}` | {domain} | {entry.note} |" for name, entry in sorted(table.items())]
    lines += ["", "`Constant` nodes of every form are read, and nodes that read constants only are folded: "]
    lines[-1] += ", ".join(f"`{name}`" for name in sorted(FOLDABLE)) + "."
    lines += ["", "### Operators that are refused, and what to do", "", "| operators | what to do |", "|---|---|"]
    by_advice: dict[str, list[str]] = {}
    for name, advice in ADVICE.items():
        by_advice.setdefault(advice, []).append(name)
    lines += [
        f"| {', '.join(f'`{name}`' for name in sorted(names))} | {advice} |" for advice, names in by_advice.items()
    ]
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def page_with_table(page: str) -> str:
    """Return *page*, the text of ``docs/operators.md``, with the tables between its markers made anew."""
    head, tail = page.split(BEGIN)[0], page.split(END)[-1]
    return f"{head}{BEGIN}\n\n{support_table()}\n{END}{tail}"
