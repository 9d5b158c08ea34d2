"""What all tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    """Compute in float64, as the chapters do."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
