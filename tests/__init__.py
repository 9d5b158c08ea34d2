"""Tests of the package, the notebooks and the gates themselves."""

import torch


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator of random numbers in a state of its own."""
    return torch.Generator().manual_seed(seed)
