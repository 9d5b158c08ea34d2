"""The training loop: gradient steps by any PyTorch optimizer and criterion."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mflib import _checks
from mflib.full_batch import full_batch
from mflib.model import (
    check_parts,
    check_shape,
    check_sizes,
    keep_labels,
    prediction_errors,
)
from mflib.ratings import Ratings


class DivergenceError(ValueError):
    """The loss became infinite or NaN; ``history`` holds the epochs before that."""

    history: pd.DataFrame


@_checks.usual_modes(gradients=True)
def fit(
    model: nn.Module,
    train: Ratings,
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
    validation: Ratings | None = None,
    test: Ratings | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train a model in place and return its errors, epoch by epoch.

    Full batches of an :class:`MF` take sparse products: equal up to rounding, many
    times faster. After a KeyboardInterrupt, which ends the training with a
    RuntimeWarning, model and history are those of the last complete epoch; the
    optimizer's state is not. After a DivergenceError the model is left as it is.
    Gradients are on and autocast is off, whatever the caller has set.

    Parameters
    ----------
    model : nn.Module
        Called with ids of users and items, such as :class:`MF`.
    train : Ratings
        The ratings to learn from.
    optimizer : torch.optim.Optimizer
        Made from this model's parameters, or from some of them. It steps without a
        closure, unlike LBFGS.
    epochs : int
        Passes over the training ratings.
    criterion : callable, default nn.MSELoss()
        Called with predictions and ratings; returns the loss to minimise.
    batch_size : int, optional
        Ratings per gradient step; all of them (full batch) by default.
    generator : torch.Generator, optional
        Source of the order of mini-batches; torch's global one by default.
    validation, test : Ratings, optional
        Also measured after every epoch; never learned from.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    pandas.DataFrame
        RMSE in the ratings' unit: one row per epoch, from 0 (before training) to
        ``epochs``; one column for each of train, validation and test given.

    Raises
    ------
    DivergenceError
        If a loss or the error after an epoch is not finite, most often from too
        large a learning rate.
    ValueError, TypeError
        If an argument is out of range, the optimizer does not train this model, or
        the model is in half precision.

    Examples
    --------
    >>> from mflib import MF, make_low_rank_ratings, seeded
    >>> ratings, truth = make_low_rank_ratings(
    ...     60, 40, 2, density=0.5, sigma=0.5, generator=seeded(0)
    ... )
    >>> train, test = ratings.split(0.8, 0.2, generator=seeded(1))
    >>> model = MF(60, 40, rank=2, generator=seeded(2))
    >>> adam = torch.optim.Adam(model.parameters(), lr=0.05)
    >>> history = fit(model, train, optimizer=adam, epochs=200, test=test)
    >>> bool(history["train"].iloc[-1] < 0.5 < history["test"].iloc[-1])  # overfitted
    True
    """
    criterion = nn.MSELoss() if criterion is None else criterion
    parts = check_parts(train, validation, test)
    batch_size = len(train) if batch_size is None else batch_size
    check_training(model, train, optimizer, epochs, batch_size, generator)
    keep_labels(model, train)
    batches = Batches(model, train, batch_size, generator)
    history = History(optimizer)
    history.add(model, batches.measure(parts))
    try:
        for _ in tqdm(range(epochs), disable=not progress):
            for predictions, values in batches:
                optimizer.zero_grad()
                loss = criterion(predictions, values)
                history.check_finite(loss.item())
                loss.backward()
                optimizer.step()
            history.add(model, batches.measure(parts))
    except KeyboardInterrupt:
        model.load_state_dict(history.parameters)
        _checks.warn_interrupted(len(history.errors) - 1, epochs, "epochs")
    return history.table()


@dataclass
class Batches:
    """The batches of an epoch: predictions of some ratings, and these ratings.

    A full batch of an :class:`MF` takes sparse products; there, the predictions that
    measured one epoch start the next, so ``measure`` runs between any two epochs.
    """

    model: nn.Module
    train: Ratings
    size: int
    generator: torch.Generator | None
    next_predictions: Tensor | None = None

    def __post_init__(self) -> None:
        self.size = int(min(self.size, len(self.train)))  # torch takes no np.int64
        full = self.size == len(self.train)
        self.predict_train = full_batch(self.model, self.train) if full else None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n, values = len(self.train), self.train.values
        if self.next_predictions is not None:
            yield self.next_predictions, values.to(self.next_predictions.dtype)
            return
        order = torch.arange(n)
        if self.size < n:
            order = torch.randperm(n, generator=self.generator)
        for batch in order.split(self.size):
            predictions = self.model(self.train.users[batch], self.train.items[batch])
            check_shape(predictions, values[batch])
            yield predictions, values[batch].to(predictions.dtype)

    def measure(self, parts: dict[str, Ratings]) -> dict[str, float]:
        """Return the RMSE of each part."""
        errors = {}
        for name, part in parts.items():
            if part is self.train and self.predict_train is not None:
                self.next_predictions = self.predict_train()
                errors[name] = self.next_predictions.detach() - part.values
            else:
                errors[name] = prediction_errors(self.model, part)
        return {name: float(e.square().mean().sqrt()) for name, e in errors.items()}


@dataclass
class History:
    """The errors after each epoch, and the parameters after the last complete one."""

    optimizer: torch.optim.Optimizer
    errors: list[dict[str, float]] = field(default_factory=list)
    parameters: dict[str, Tensor] = field(default_factory=dict)

    def add(self, model: nn.Module, errors: dict[str, float]) -> None:
        """Keep the errors and parameters after an epoch, if the errors are finite."""
        self.check_finite(sum(errors.values()))
        self.errors.append(errors)
        self.parameters = copy.deepcopy(model.state_dict())

    def check_finite(self, error: float) -> None:
        """Raise DivergenceError if an error is infinite or NaN."""
        if math.isfinite(error):
            return
        if not self.errors:
            raise ValueError(
                f"model must have finite errors before training, got {error}; give it "
                "finite parameters"
            )
        rates = sorted({float(group["lr"]) for group in self.optimizer.param_groups})
        diverged = DivergenceError(
            f"training diverged: loss or error {error} in epoch {len(self.errors)}; "
            f"lower the learning rate (the optimizer has lr {rates}), or change the "
            "criterion"
        )
        diverged.history = self.table()
        raise diverged

    def table(self) -> pd.DataFrame:
        """Return one row per epoch, from 0, and one column per part."""
        return pd.DataFrame(self.errors).rename_axis("epoch")


def check_training(
    model: nn.Module,
    train: Ratings,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int,
    generator: torch.Generator | None,
) -> None:
    """Raise unless these are arguments that :func:`fit` can train with."""
    _checks.instance("model", model, nn.Module, "for example an MF")
    check_sizes(model, train, "train")
    check_optimizer(optimizer, model)
    _checks.count("epochs", epochs, least=0)
    _checks.count("batch_size", batch_size)
    if generator is not None:
        _checks.generator(generator)


def check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise unless an optimizer trains this model's parameters, in full precision."""
    advice = "for example torch.optim.Adam(model.parameters())"
    _checks.instance("optimizer", optimizer, torch.optim.Optimizer, advice)
    mine = {id(p) for p in model.parameters() if p.requires_grad}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    trained = {p.dtype for p in held if id(p) in mine}
    if not trained:
        raise ValueError(
            "optimizer holds none of this model's parameters that require gradients; "
            "make it from model.parameters(), after any copy or move of the model, "
            "and unfreeze what is to be trained by model.requires_grad_()"
        )
    if not trained <= {torch.float32, torch.float64}:
        raise TypeError(
            f"model must be trained in float32 or float64, got {trained}: small steps "
            "are lost in half precision; use model.float()"
        )
