"""What all tests share."""

import pytest
import torch
from hypothesis import settings

# The same examples in every run, and no limit on how long one may take.
settings.register_profile("book", derandomize=True, deadline=None)
settings.load_profile("book")


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    """Compute in float64, as the chapters do."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
