"""Whatever state torch is in: the ordinary answer, or an error that names the cause."""

import copy
from contextlib import contextmanager

import pandas as pd
import pytest
import torch
from torch import nn

from mflib import (
    MF,
    Ratings,
    als,
    bias_baseline,
    fit,
    gibbs,
    make_low_rank_ratings,
    objective,
    rmse,
    seeded,
)


def ratings(dtype: torch.dtype = torch.float32) -> Ratings:
    # Single precision: autocast leaves float64 alone. Values that half precision holds.
    made, _ = make_low_rank_ratings(
        30, 20, rank=2, density=0.5, sigma=0.3, generator=seeded(0)
    )
    values = (made.values * 8).round() / 8
    return Ratings(made.users, made.items, values.to(dtype), n_users=30, n_items=20)


def new_model() -> MF:
    return MF(30, 20, rank=3, biases=True, generator=seeded(2)).float()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.02)


def train(model, optimizer=None, data=None, **arguments) -> pd.DataFrame:
    optimizer = adam(model) if optimizer is None else optimizer
    arguments = {"epochs": 4, "generator": seeded(3), **arguments}
    data = ratings() if data is None else data
    return fit(model, data, optimizer=optimizer, **arguments)


def measures(model: MF, data: Ratings) -> pd.DataFrame:
    # A penalty so large that an error in it is seen
    J = objective(model, data, 100.0, prior_mean="learned").detach()
    return pd.DataFrame({"rmse": [rmse(model, data)], "objective": [float(J)]})


FUNCTIONS = {
    "fit": lambda model, data: train(model, data=data),
    "fit in batches": lambda model, data: train(model, data=data, batch_size=50),
    "als": lambda _, data: als(data, rank=2, lam=1.0, generator=seeded(0))[1],
    "gibbs": lambda _, data: gibbs(
        data, rank=2, samples=3, burn_in=1, generator=seeded(0)
    )[1],
    "bias_baseline": lambda _, data: measures(bias_baseline(data), data),
    "rmse, objective": measures,
}


@contextmanager
def default(name: str, value: object, usual: object):
    """Set one of torch's global settings for a while."""
    getattr(torch, name)(value)
    try:
        yield
    finally:
        getattr(torch, name)(usual)


STATES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "detect_anomaly": lambda: torch.autograd.set_detect_anomaly(True),
}
FROM_OUTSIDE = {  # what is set after the data and the model were made
    "default device": lambda: default("set_default_device", "meta", None),
    "default float32": lambda: default(
        "set_default_dtype", torch.float32, torch.float64
    ),
}


# The defaults change what is made under them: the baseline's tensors, als's start.
CASES = [(s, f, inside) for s in STATES for f in FUNCTIONS for inside in (False, True)]
CASES += [
    (state, function, False)
    for state in FROM_OUTSIDE
    for function in FUNCTIONS
    if function != "bias_baseline" and (state, function) != ("default float32", "als")
]


@pytest.mark.filterwarnings("ignore:Anomaly Detection:UserWarning")
@pytest.mark.parametrize(("state", "function", "made_inside"), CASES)
def test_the_answer_is_the_ordinary_one(state, function, made_inside):
    call, data = FUNCTIONS[function], ratings()
    expected, model = call(new_model(), data), new_model()
    with (STATES | FROM_OUTSIDE)[state]():
        if made_inside:
            data, model = ratings(), new_model()
        result = call(model, data)
    # Single precision, added up in another order at most.
    pd.testing.assert_frame_equal(result, expected, rtol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ratings_in_half_precision_are_widened(function, dtype):
    half, double = ratings(torch.float64).values.to(dtype), torch.float64
    given = ratings()
    narrow = Ratings(given.users, given.items, half, n_users=30, n_items=20)
    wide = Ratings(given.users, given.items, half.to(double), n_users=30, n_items=20)
    assert narrow.values.dtype == torch.get_default_dtype()
    call = FUNCTIONS[function]
    expected, result = call(new_model(), wide), call(new_model(), narrow)
    pd.testing.assert_frame_equal(result, expected, rtol=1e-5)


def test_a_baseline_has_the_precision_of_its_ratings():
    data = ratings(torch.float64)
    expected = bias_baseline(data).user_bias.weight
    with default("set_default_dtype", torch.float32, torch.float64):
        biases = bias_baseline(data).user_bias.weight
    torch.testing.assert_close(biases, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss()])
@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("of_model", [torch.float32, torch.float64])
def test_model_and_ratings_may_differ_in_precision(loss, batch_size, of_model):
    def trained(of_ratings):  # by SGD: Adam blows up the rounding of gradients near 0
        model = new_model().to(of_model)
        sgd = torch.optim.SGD(model.parameters(), lr=0.5)
        data = ratings(of_ratings)
        return train(model, sgd, data, criterion=loss, batch_size=batch_size)

    expected, result = trained(torch.float32), trained(torch.float64)
    pd.testing.assert_frame_equal(result, expected, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("frozen", [["U"], ["user_bias", "item_bias"], ["U", "V"]])
def test_what_is_frozen_stays_and_the_rest_is_trained(frozen, batch_size):
    model, start = new_model(), dict(new_model().named_parameters())
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    history = train(model, batch_size=batch_size)
    assert history["train"].iloc[-1] < history["train"].iloc[0]
    for name, parameter in model.named_parameters():
        kept = torch.equal(parameter, start[name])
        assert kept == (name.split(".")[0] in frozen)


def moved():
    model = new_model()
    optimizer = adam(model)
    return model.to(torch.float64), optimizer


def fused():
    model = new_model()
    return model, torch.optim.Adam(model.parameters(), lr=0.02, fused=True)


EQUIVALENT = {
    "made before .to": moved,
    "fused": fused,
    "eval": lambda: (new_model().eval(),),
    "compiled": lambda: (torch.compile(new_model(), backend="eager"),),
}


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("kind", EQUIVALENT)
def test_equivalent_models_and_optimizers_train_alike(kind, batch_size):
    expected = train(new_model(), batch_size=batch_size)
    result = train(*EQUIVALENT[kind](), batch_size=batch_size)
    pd.testing.assert_frame_equal(result, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", [als, gibbs])
def test_solvers_refuse_half_precision(function, dtype):
    arguments = {"rank": 1, "generator": seeded(0), "dtype": dtype}
    arguments |= {"lam": 1.0} if function is als else {}
    with pytest.raises(ValueError, match=f"dtype must be .*torch.float64, got {dtype}"):
        function(ratings(), **arguments)


def only_frozen(model):
    model.U.requires_grad_(False)
    return torch.optim.SGD(model.U.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("change", "optimizer", "words"),
    [
        (None, lambda m: adam(copy.deepcopy(m)), "optimizer holds none .* any copy"),
        (None, only_frozen, "optimizer holds none .* require gradients"),
        (
            lambda m: m.requires_grad_(False),
            adam,
            r"optimizer holds none .* model.requires_grad_",
        ),
        (nn.Module.half, adam, r"model must .*float16.*model.float\(\)"),
        (nn.Module.bfloat16, adam, "model must .*bfloat16"),
        (lambda m: m.to("meta"), adam, r"model must .*meta.*\.to\('cpu'"),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 50])
def test_fit_names_what_keeps_it_from_training(change, optimizer, words, batch_size):
    model = new_model()
    if change is not None:
        change(model)
    with pytest.raises((ValueError, TypeError), match=words):
        train(model, optimizer(model), batch_size=batch_size)
