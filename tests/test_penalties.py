"""The penalties: formulas, gradients, and the proximal step as a minimiser."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mflib import MF, l1_penalty, l2_penalty, seeded, soft_threshold


def test_penalties_of_one_tensor_and_of_many():
    a, b = torch.tensor([[1.0, -2.0], [0.0, 3.0]]), torch.tensor([-4.0])
    assert float(l1_penalty(a)) == pytest.approx(6.0)
    assert float(l2_penalty(a)) == pytest.approx(14.0)
    assert float(l1_penalty([a, b])) == pytest.approx(10.0)
    assert float(l1_penalty(torch.tensor(-4.0))) == pytest.approx(4.0)
    assert float(l2_penalty(iter([a, b]))) == pytest.approx(30.0)
    model = MF(3, 4, rank=2, generator=seeded(0))
    both = model.U.weight.norm() ** 2 + model.V.weight.norm() ** 2
    torch.testing.assert_close(l2_penalty(model.parameters()), both)


def test_gradients_are_the_sign_and_twice_the_weight():
    w = torch.tensor([1.5, -0.5], requires_grad=True)
    (gradient,) = torch.autograd.grad(l1_penalty(w), w)
    assert gradient.tolist() == pytest.approx([1.0, -1.0])
    (gradient,) = torch.autograd.grad(l2_penalty(w), w)
    assert gradient.tolist() == pytest.approx([3.0, -1.0])


@given(a=st.floats(-5, 5), t=st.floats(0, 3))
def test_soft_threshold_is_the_minimiser(a, t):
    w = soft_threshold(torch.tensor([a]), t)
    others = w + torch.linspace(-2, 2, 401)

    def value(w):
        return (w - a) ** 2 / 2 + t * w.abs()

    assert value(w) <= value(others).min() + 1e-12
    if abs(a) <= t:
        assert w == 0
