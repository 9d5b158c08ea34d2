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


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss()])
def test_full_batch_is_the_plain_loop(parts, criterion):
    train, _, _ = parts
    plain, model = new_model(), new_model()
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.02)
    for _ in range(5):
        optimizer.zero_grad()
        criterion(plain(train.users, train.items), train.values).backward()
        optimizer.step()
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    fit(model, train, optimizer=adam, criterion=criterion, epochs=5)
    torch.testing.assert_close(model.U.weight, plain.U.weight, **ROUNDING)
    torch.testing.assert_close(model.V.weight, plain.V.weight, **ROUNDING)


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
    history = fit(
        model, train, optimizer=adam, epochs=4, validation=validation, test=test
    )
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


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_divergence_in_the_last_epoch_is_an_error_too(parts, epochs):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=torch.tensor(1e200))
    with pytest.raises(DivergenceError) as caught:
        fit(model, parts[0], optimizer=sgd, epochs=epochs)
    assert np.isfinite(caught.value.history).all(axis=None)


def test_divergence_is_an_error_that_keeps_the_history(parts):
    train, _, _ = parts
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=1e6)
    with pytest.raises(
        DivergenceError, match=r"epoch \d+; lower.*1000000\.0"
    ) as caught:
        fit(model, train, optimizer=sgd, epochs=100)
    history = caught.value.history
    assert 1 <= len(history) < 100
    assert history["train"][0] == pytest.approx(rmse(new_model(), train))


def test_divergence_is_whole_after_a_copy(parts):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=1e6)
    with pytest.raises(DivergenceError) as caught:
        fit(model, parts[0], optimizer=sgd, epochs=100)
    again = copy.copy(caught.value)  # as in a process pool
    assert str(again) == str(caught.value)
    assert again.history.equals(caught.value.history)


@pytest.mark.parametrize("batch_size", [None, 50])
def test_an_interrupt_leaves_the_last_complete_epoch(parts, batch_size):
    train, validation, _ = parts
    steps = -(-len(train) // (batch_size or len(train)))

    class Interrupted(nn.MSELoss):
        calls = 0

        def forward(self, predictions, values):
            self.calls += 1
            if self.calls == 3 * steps + min(steps, 2):  # in the fourth epoch
                raise KeyboardInterrupt
            return super().forward(predictions, values)

    def trained(epochs, criterion):
        model = new_model()
        adam = torch.optim.Adam(model.parameters(), lr=0.02)
        history = fit(
            model,
            train,
            optimizer=adam,
            epochs=epochs,
            criterion=criterion,
            batch_size=batch_size,
            generator=seeded(3),
            validation=validation,
        )
        return model.U.weight, model.V.weight, history

    u, v, whole = trained(3, nn.MSELoss())
    with pytest.warns(RuntimeWarning, match="interrupted: 3 of 9 epochs"):
        u_short, v_short, short = trained(9, Interrupted())
    pd.testing.assert_frame_equal(short, whole, rtol=1e-9)
    torch.testing.assert_close(u, u_short, **ROUNDING)
    torch.testing.assert_close(v, v_short, **ROUNDING)


def test_an_interrupt_in_the_first_epoch_leaves_the_start(parts):
    class Interrupted(nn.MSELoss):
        calls = 0

        def forward(self, predictions, values):
            self.calls += 1
            if self.calls == 3:  # after two steps
                raise KeyboardInterrupt
            return super().forward(predictions, values)

    model, start = new_model(), new_model()
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    arguments = {"batch_size": 50, "generator": seeded(3)}
    arguments |= {"optimizer": adam, "epochs": 2, "criterion": Interrupted()}
    with pytest.warns(RuntimeWarning, match="interrupted: 0 of 2 epochs") as caught:
        history = fit(model, parts[0], **arguments)
    assert caught[0].filename == __file__  # the line that called fit
    assert list(history["train"]) == pytest.approx([rmse(start, parts[0])])
    assert torch.equal(model.U.weight, start.U.weight)
    assert torch.equal(model.V.weight, start.V.weight)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"epochs": -1}, ValueError, "epochs must be at least 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    ],
)
def test_refuses_bad_arguments(parts, change, error, words):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(error, match=words):
        fit(model, parts[0], **{"optimizer": sgd, "epochs": 1, **change})


def test_refuses_optimizers_and_criteria_that_the_loop_cannot_use(parts):
    model = new_model()
    with pytest.raises(TypeError, match=r"optimizer must be a torch.Optimizer"):
        fit(model, parts[0], optimizer=torch.optim.Adam, epochs=1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    each = nn.MSELoss(reduction="none")
    with pytest.raises(ValueError, match="criterion must return a scalar"):
        fit(model, parts[0], optimizer=sgd, criterion=each, epochs=1)


def test_refuses_ratings_of_another_size(parts):
    other, _ = make_low_rank_ratings(31, 20, 1, density=0.5, generator=seeded(0))
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="test has 31 users"):
        fit(model, parts[0], optimizer=sgd, epochs=1, test=other)
    with pytest.raises(ValueError, match=r"^train has 31 users"):
        fit(model, other, optimizer=sgd, epochs=1)


def test_shows_progress_only_on_request(parts, capsys):
    model = new_model()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, parts[0], optimizer=sgd, epochs=2)
    assert capsys.readouterr() == ("", "")
    fit(model, parts[0], optimizer=sgd, epochs=2, progress=True)
    assert "2/2" in capsys.readouterr().err
