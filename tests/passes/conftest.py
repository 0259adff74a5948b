"""PyTorch where it is there: passes that train need it."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def pytorch():
    """PyTorch, which passes that train need."""
    try:
        import torch
    except ImportError:
        why = "PyTorch is not here; pip install 'approxhw[retrain]'"
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    return torch
