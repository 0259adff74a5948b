"""Trees of XGBoost and LightGBM, where these are installed: circuits decide every row as onnxruntime does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine

from approxhw.common.data.dataset import load_dataset
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.evaluation import predict
from approxhw.ir.pass_manager import PassContext, named_pipeline, run_passes

WHY = "it is not here; pip install 'approxhw[trees]'"


def xgboost_model(x, y):
    xgboost = pytest.importorskip("xgboost", reason=WHY)
    onnxmltools = pytest.importorskip("onnxmltools", reason=WHY)
    from onnxmltools.convert.common.data_types import FloatTensorType

    fitted = xgboost.XGBClassifier(n_estimators=6, max_depth=4, n_jobs=1).fit(x, y)
    return onnxmltools.convert_xgboost(fitted, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])


def lightgbm_model(x, y):
    lightgbm = pytest.importorskip("lightgbm", reason=WHY)
    onnxmltools = pytest.importorskip("onnxmltools", reason=WHY)
    from onnxmltools.convert.common.data_types import FloatTensorType

    fitted = lightgbm.LGBMClassifier(n_estimators=6, max_depth=4, n_jobs=1, verbose=-1).fit(x, y)
    return onnxmltools.convert_lightgbm(fitted, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
@pytest.mark.parametrize("make", [xgboost_model, lightgbm_model])
def test_every_row_is_decided_as_onnxruntime_does(make, load):
    x, y = load(return_X_y=True)
    x = x.astype(np.float32)
    proto = make(x[::2], y[::2])
    opened = open_classifier(proto)
    said = open_reference(opened).predict(x)
    assert np.array_equal(predict(opened.graph, x), said)
    data = load_dataset((x[::2], y[::2], x[1::2], y[1::2]), x.shape[1], None)
    made, _ = run_passes(opened.graph, named_pipeline("printed-tree"), PassContext(data))
    assert np.array_equal(predict(made, x), said)
    assert np.mean(said == y) > 0.9
