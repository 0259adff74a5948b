"""A fitted scikit-learn estimator or pipeline → an ONNX model, by skl2onnx."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import OptionError, Problem, UnsupportedModelError, shown

if TYPE_CHECKING:
    from onnx import ModelProto


def is_estimator(source: object) -> bool:
    """Whether *source* looks like a scikit-learn estimator (nothing is imported to find out)."""
    return hasattr(source, "predict") and hasattr(source, "get_params") and not isinstance(source, type)


def convert(estimator: object) -> tuple[ModelProto, tuple[str, ...]]:
    """Return *estimator* as a ``ModelProto``, and the titles of its features (none where it was fitted without).

    Raises :class:`OptionError` where skl2onnx is missing, and :class:`UnsupportedModelError` for an estimator that
    is not fitted, is neither a classifier nor a regressor, or that skl2onnx cannot convert.
    """
    title = type(estimator).__name__
    if importlib.util.find_spec("skl2onnx") is None or importlib.util.find_spec("sklearn") is None:
        why = "reading scikit-learn models takes scikit-learn and skl2onnx, which are not installed"
        raise OptionError(title, [Problem("model", why, "pip install 'approxhw[sklearn]'")])
    from sklearn.base import is_classifier, is_regressor

    if not (is_classifier(estimator) or is_regressor(estimator)):
        raise UnsupportedModelError(
            title,
            [
                Problem(
                    "model",
                    "it is neither a classifier nor a regressor",
                    "give one of these, or a pipeline that ends in one",
                )
            ],
        )
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        problem = Problem("model", "it is not fitted: it does not know its features", "call fit first")
        raise UnsupportedModelError(title, [problem])
    proto = _converted(estimator, np.zeros((1, int(count)), dtype=np.float32))
    return proto, tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))


def _converted(estimator: object, row: np.ndarray) -> ModelProto:
    from skl2onnx import to_onnx

    title = type(estimator).__name__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the last one keeps skl2onnx from adding zipmap to a pipeline whose last step knows no such option (LinearSVC)
        for options in ({"zipmap": False}, None, {id(estimator): {"nocl": False}}):
            try:
                return to_onnx(estimator, row, options=options)
            except NameError:  # what skl2onnx raises for an option that the estimator does not have
                continue
            except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
                first = (str(error).splitlines() or [""])[0]
                why = f"skl2onnx cannot convert it: {shown(first, 160)}"
                remedy = "use an MLPClassifier or a linear classifier, behind scalers"
                raise UnsupportedModelError(title, [Problem("model", why, remedy)]) from error
    raise UnsupportedModelError(title, [Problem("model", "skl2onnx cannot convert it")])
