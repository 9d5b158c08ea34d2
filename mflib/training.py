"""The training loop: gradient steps by any PyTorch optimizer and criterion."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mflib import _checks
from mflib.model import check_shape, check_sizes, keep_labels, measured_parts
from mflib.model import errors as errors_of
from mflib.ratings import Ratings
from mflib.sparse import full_batch


class DivergenceError(ValueError):
    """The loss became infinite or NaN; ``history`` holds the epochs before that."""

    def __init__(self, message: str, history: pd.DataFrame) -> None:
        super().__init__(message, history)  # both, so that it can be pickled
        self.history = history

    def __str__(self) -> str:
        return str(self.args[0])


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
    times faster. An interrupt (KeyboardInterrupt) ends the training with the last
    complete epoch, of model and history, not of the optimizer, and a RuntimeWarning.
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
    epochs = _checks.count("epochs", epochs, least=0)
    progress = _checks.flag("progress", progress)
    if generator is not None:
        _checks.generator("generator", generator)
    _checks.instance("model", model, nn.Module, "for example an MF")
    parts = measured_parts(train, validation, test)
    n = len(train)
    if batch_size is None:
        batch_size = n
    batch_size = min(_checks.count("batch_size", batch_size), n)
    criterion = nn.MSELoss() if criterion is None else criterion
    if not callable(criterion):
        raise TypeError(
            f"criterion must be callable, got {criterion!r:.80}; for example "
            "nn.MSELoss()"
        )
    check_sizes(model, train, "train")
    check_optimizer(optimizer, model)
    keep_labels(model, train)

    fast = full_batch(model, train) if batch_size == n else None
    ahead: Tensor | None = None  # predictions that measure one epoch and start the next

    def record() -> dict[str, float]:
        nonlocal ahead
        measured = {}
        if fast is not None:
            ahead = fast()
            measured["train"] = ahead.detach() - train.values
        for name, part in parts.items():
            if name not in measured:
                measured[name] = errors_of(model, part, None)
        return {k: float(e.square().mean().sqrt()) for k, e in measured.items()}

    def check_finite(value: float, epoch: int) -> None:
        if not math.isfinite(value):
            rates = sorted({float(group["lr"]) for group in optimizer.param_groups})
            raise DivergenceError(
                f"training diverged: an error of {value} in epoch {epoch}; lower the "
                f"learning rate (the optimizer has lr {rates}), or mend the criterion",
                table(),
            )

    def table() -> pd.DataFrame:
        return pd.DataFrame(errors, columns=list(parts)).rename_axis("epoch")

    errors = [record()]
    if not math.isfinite(sum(errors[0].values())):
        raise ValueError(
            f"model must have finite errors before training, got {errors[0]}; "
            "give it finite parameters"
        )
    kept = copy.deepcopy(model.state_dict())
    try:
        for epoch in tqdm(range(1, epochs + 1), disable=not progress):
            if batch_size == n:
                batches: tuple[Tensor | slice, ...] = (slice(None),)
            else:
                batches = torch.randperm(n, generator=generator).split(batch_size)
            for batch in batches:
                optimizer.zero_grad()
                if ahead is not None:
                    predictions = ahead
                else:
                    predictions = model(train.users[batch], train.items[batch])
                check_shape(predictions, train.values[batch])
                values = train.values[batch].to(predictions.dtype)
                loss = criterion(predictions, values)
                if not isinstance(loss, Tensor) or loss.ndim != 0:
                    raise ValueError(
                        f"criterion must return a scalar tensor, got {loss!r:.80}; "
                        'for example nn.MSELoss(reduction="mean")'
                    )
                check_finite(loss.item(), epoch)
                if not loss.requires_grad:
                    raise ValueError(
                        f"criterion must depend on the predictions, and they on the "
                        f"model's parameters, got {loss} without a gradient; detach "
                        "neither, and use for example nn.MSELoss()"
                    )
                loss.backward()
                optimizer.step()
            latest = record()
            check_finite(sum(latest.values()), epoch)
            kept = copy.deepcopy(model.state_dict())
            errors.append(latest)
    except KeyboardInterrupt:
        model.load_state_dict(kept)
        _checks.warn_interrupted(len(errors) - 1, epochs, "epochs")
    return table()


def check_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Refuse an optimizer that fit cannot use, or that would train nothing."""
    advice = "for example torch.optim.Adam(model.parameters())"
    _checks.instance("optimizer", optimizer, torch.optim.Optimizer, advice)
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise TypeError(
            "optimizer must step without a closure, got "
            f"{type(optimizer).__name__}; take another, {advice}"
        )
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError(
            "model must have parameters that require gradients, got none, or frozen "
            "ones; unfreeze them with model.requires_grad_()"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trained = [p for p in trainable if id(p) in held]
    if not trained:
        raise ValueError(
            "optimizer holds none of this model's parameters that require gradients; "
            "make it from model.parameters(), after any copy or move of the model"
        )
    for parameter in trained:
        if parameter.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                "model must be trained in float32 or float64, got "
                f"{parameter.dtype}, in which small steps are lost; use model.float()"
            )
