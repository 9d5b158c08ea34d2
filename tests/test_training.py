"""fit: the same steps as the loop a student would write, and honest about failure."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mflib import MF, DivergenceError, fit, make_low_rank_ratings, rmse, seeded

# One computation done twice may differ by rounding: a math library takes its order from
# the processor and from where in memory the numbers lie. Few steps, numbers of order 1.
ROUNDING = {"rtol": 0, "atol": 1e-10}


@pytest.fixture
def parts():
    ratings, _ = make_low_rank_ratings(
        30, 20, rank=2, density=0.5, sigma=0.3, generator=seeded(0)
    )
    return ratings.split(0.6, 0.2, 0.2, generator=seeded(1))


def new_model():
    return MF(30, 20, rank=3, generator=seeded(2))


def test_mini_batches_visit_every_rating_once_per_epoch(parts):
    train, _, _ = parts
    seen = []

    class Watched(MF):
        def forward(self, users, items):
            if torch.is_grad_enabled():
                seen.append(users * 20 + items)
            return super().forward(users, items)

    model = Watched(30, 20, rank=3, generator=seeded(2))
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    fit(model, train, optimizer=sgd, epochs=2, batch_size=50, generator=seeded(3))
    steps = -(-len(train) // 50)
    assert [len(batch) for batch in seen[: steps - 1]] == [50] * (steps - 1)
    first, second = torch.cat(seen[:steps]), torch.cat(seen[steps:])
    cells = train.users * 20 + train.items
    assert torch.equal(first.sort().values, cells.sort().values)
    assert torch.equal(second.sort().values, cells.sort().values)
    assert not torch.equal(first, second)  # a new order in each epoch


def test_mini_batches_repeat_with_the_generator(parts):
    train, _, _ = parts
    ends = []
    for seed in (3, 3, 4):
        model = new_model()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, train, optimizer=sgd, epochs=2, batch_size=9, generator=seeded(seed))
        ends.append(model.U.weight)
    torch.testing.assert_close(ends[0], ends[1], **ROUNDING)
    assert not torch.equal(ends[0], ends[2])


def test_history_is_one_row_per_epoch_of_the_parts_given(parts):
    train, validation, test = parts
    model = new_model()
    before = rmse(model, train)
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    held_out = {"validation": validation, "test": test}
    history = fit(model, train, optimizer=adam, epochs=4, **held_out)
    assert list(history.columns) == ["train", "validation", "test"]
    assert history.index.name == "epoch"
    assert list(history.index) == [0, 1, 2, 3, 4]
    assert history["train"][0] == pytest.approx(before)
    assert history["test"][4] == pytest.approx(rmse(model, test))
    assert history["train"][4] < before
    again = fit(model, train, optimizer=adam, epochs=0)
    assert list(again.columns) == ["train"]
    assert len(again) == 1


def test_held_out_parts_are_never_learned_from(parts):
    train, validation, test = parts
    ends = []
    for held_out in ({}, {"validation": validation, "test": test}):
        model = new_model()
        adam = torch.optim.Adam(model.parameters(), lr=0.02)
        fit(model, train, optimizer=adam, epochs=3, **held_out)
        ends.append(model.U.weight)
    torch.testing.assert_close(*ends, **ROUNDING)


def test_shows_progress_only_on_request(parts, capsys):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, parts[0], optimizer=sgd, epochs=2)
    assert capsys.readouterr() == ("", "")
    fit(model, parts[0], optimizer=sgd, epochs=2, progress=True)
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lr", "epochs"), [(1e6, 100), (torch.tensor(1e200), 1), (1e200, 3)]
)
def test_divergence_is_an_error_that_keeps_the_history(parts, lr, epochs):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=lr)
    with pytest.raises(DivergenceError, match=r"epoch \d+; lower") as caught:
        fit(model, parts[0], optimizer=sgd, epochs=epochs)
    assert str(float(lr)) in str(caught.value)
    history = caught.value.history
    assert 1 <= len(history) <= epochs
    assert np.isfinite(history).all(axis=None)
    assert history["train"][0] == pytest.approx(rmse(new_model(), parts[0]))
    again = copy.copy(caught.value)  # as in a process pool
    assert str(again) == str(caught.value)
    assert again.history.equals(history)


class Interrupted(nn.MSELoss):
    """Squared error, until a step at which the reader presses "stop"."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.left = last

    def forward(self, predictions, values):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().forward(predictions, values)


@pytest.mark.parametrize(
    ("batch_size", "last", "complete"), [(None, 4, 3), (50, 14, 3), (50, 3, 0)]
)
def test_an_interrupt_leaves_the_last_complete_epoch(parts, batch_size, last, complete):
    train, validation, _ = parts
    assert -(-len(train) // 50) == 4  # steps of an epoch in batches of 50

    def trained(epochs, criterion):
        model = new_model()
        adam = torch.optim.Adam(model.parameters(), lr=0.02)
        arguments = {"optimizer": adam, "epochs": epochs, "criterion": criterion}
        arguments |= {"batch_size": batch_size, "generator": seeded(3)}
        history = fit(model, train, validation=validation, **arguments)
        return model.U.weight, model.V.weight, history

    u, v, whole = trained(complete, nn.MSELoss())
    words = f"interrupted: {complete} of 9 epochs"
    with pytest.warns(RuntimeWarning, match=words):
        u_short, v_short, short = trained(9, Interrupted(last))
    pd.testing.assert_frame_equal(short, whole, rtol=1e-9)
    torch.testing.assert_close(u, u_short, **ROUNDING)
    torch.testing.assert_close(v, v_short, **ROUNDING)
