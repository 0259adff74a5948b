"""All cases of the exporters' table, in its order."""

from __future__ import annotations

import brevitas_models
import jax_models
import keras_models
import onnxruntime_models
import sklearn_models
import torch_models
from exporter_cases import Case

CASES: tuple[Case, ...] = (
    *torch_models.CASES,
    *onnxruntime_models.CASES,
    *sklearn_models.CASES,
    *brevitas_models.CASES,
    *keras_models.CASES,
    *jax_models.CASES,
)
