"""What λ each library means: the table, the measurements, and that they agree."""

import copy
import json
from itertools import permutations

import numpy as np
import pytest
import torch

import mflib
from bench import conventions, environments
from bench.convention_fits import BY_NAME, LAM, PER_RATING, Case
from bench.libraries import Data
from mflib.book import CONVENTIONS, convert, converter, row_lam
from mflib.book.conventions import formula, misfits, said, same_in, say, table

RESULTS = json.loads(conventions.RESULTS.read_text(encoding="utf-8"))
ROW = {"n": 80_000.0, "count": 20.0, "sigma": 0.9}
FORMULAS = [key for key, entry in CONVENTIONS.items() if entry["factor"] is not None]
MEASURED = {case["convention"]: name for name, case in RESULTS["cases"].items()}


# -- the table ------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), list(permutations(FORMULAS, 2)))
def test_converting_there_and_back_changes_nothing(source, target):
    there = convert(0.25, source, target, **ROW)
    assert convert(there, target, source, **ROW) == pytest.approx(0.25, rel=1e-12)
    same = row_lam(source, 0.25, **ROW)
    assert row_lam(target, there, **ROW) == pytest.approx(same, rel=1e-12)


@pytest.mark.parametrize(
    ("key", "setting", "lam"),
    [
        ("s7", 10.0, 10.0),
        ("torch", 1e-4, 8.0),
        ("torch sum", 3.0, 3.0),
        ("ridge", 5.0, 10.0),
        ("logistic", 0.1, 10.0),
        ("spark", 0.25, 10.0),
        ("cmfrec", 5.0, 10.0),
        ("cmfrec scaled", 0.25, 10.0),
        ("myfm", 2.0, 2 * 0.81 * 2.0),
        ("prior", 0.5, 2 * 0.81 / 0.25),
    ],
)
def test_formulas_by_hand(key, setting, lam):
    assert row_lam(key, setting, **ROW) == pytest.approx(lam, rel=1e-12)
    assert convert(lam, "s7", key, **ROW) == pytest.approx(setting, rel=1e-12)


def test_what_a_formula_needs_must_be_given():
    with pytest.raises(KeyError, match="count"):
        row_lam("spark", 0.1, n=100)
    assert row_lam("spark", 0.1, count=10) == pytest.approx(2.0)


def test_the_pages_table_has_each_library_and_its_version():
    shown = table(RESULTS)
    assert shown["λ of a row"].tolist() == [formula(key) for key in CONVENTIONS]
    spark = shown.loc["Spark ML ALS", "regParam"]
    assert spark[["λ of a row", "biases"]].tolist() == ["2 · setting · nᵢ", "none"]
    assert spark["version"] == RESULTS["cases"]["Spark ML ALS"]["version"]
    assert abs(float(spark["J"]) / float(spark["J of als"]) - 1) < 1e-4
    assert [formula(key) for key in ("torch", "prior", "adamw")] == [
        "setting · n",
        "2 · setting⁻² · σ²",
        "no λ corresponds",
    ]


# -- the measurements -----------------------------------------------------------------


def test_every_library_agrees_with_the_table():
    assert set(RESULTS["cases"]) == set(BY_NAME)
    assert conventions.changed(RESULTS) == []
    for case in RESULTS["cases"].values():
        assert "error" not in case


def wrong_formulas():
    """Yield each formula that is measured, with one thing wrong."""
    changes = [("factor", 2.0), ("factor", 0.5)]
    changes += [(name, power) for name in ("n", "count", "sigma") for power in (1, -1)]
    for key in MEASURED:
        if CONVENTIONS[key]["factor"] is None:
            yield key, {"factor": 1, "powers": {"setting": 1}}
            continue
        yield key, {"factor": None}
        for name, change in changes:
            entry = copy.deepcopy(CONVENTIONS[key])
            if name == "factor":
                entry["factor"] *= change
            elif name != "sigma" or "sigma" in RESULTS["cases"][MEASURED[key]]:
                entry["powers"][name] = entry["powers"].get(name, 0) + change
            else:
                continue
            yield key, entry
        entry = copy.deepcopy(CONVENTIONS[key])
        entry["powers"]["setting"] *= -1
        yield key, entry


@pytest.mark.parametrize(("key", "entry"), list(wrong_formulas()))
def test_a_wrong_formula_is_found(key, entry, monkeypatch):
    case = RESULTS["cases"][MEASURED[key]]
    assert misfits(case, RESULTS["n"]) == []
    monkeypatch.setitem(CONVENTIONS, key, CONVENTIONS[key] | entry)
    assert misfits(case, RESULTS["n"])


@pytest.mark.parametrize(
    ("key", "biases"), [("torch", "free"), ("ridge", "as rows"), ("lenskit", "as rows")]
)
def test_a_wrong_word_on_biases_is_found(key, biases, monkeypatch):
    monkeypatch.setitem(CONVENTIONS[key], "biases", biases)
    assert misfits(RESULTS["cases"][MEASURED[key]], RESULTS["n"])


def test_libraries_reach_the_j_of_als():
    compared = [case for case in RESULTS["cases"].values() if "J" in case]
    assert len(compared) >= 7
    for case in compared:
        assert case["als"][0] * 0.999 < case["J"] < case["als"][-1] * 1.001


def test_what_is_stored_is_of_the_pinned_versions():
    pins = environments.PINS.read_text(encoding="utf-8").splitlines()
    pins += (environments.ROOT / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in pins if "==" in line)
    for case in RESULTS["cases"].values():
        assert case["version"].partition("+")[0] == pinned[case["library"]]
    stored = conventions.RESULTS.read_text(encoding="utf-8")
    assert conventions.as_text(RESULTS) == stored  # a hand in it would show


# -- measuring ------------------------------------------------------------------------


def known(weighted, biases):
    """Return ratings and a fit with a λ that is known."""
    torch.manual_seed(0)
    train, _ = mflib.make_low_rank_ratings(
        40, 30, rank=2, density=0.4, bias_tau=0.5, generator=mflib.seeded(0)
    )
    how = {"lam": 0.0, "lam_per_rating": 0.3} if weighted else {"lam": 6.0}
    model, _ = mflib.als(
        train, rank=2, sweeps=400, biases=biases, generator=mflib.seeded(1), **how
    )
    names = ("U", "V", "b", "c")[: 4 if biases else 2]
    found = {"mean": 0.0, "b": np.zeros(40), "c": np.zeros(30)}
    for name, parameter in zip(names, model.parameters(), strict=True):
        found[name] = parameter.detach().numpy().astype(float)
        found[name] = found[name].squeeze(1) if name in "bc" else found[name]
    triples = (part.numpy() for part in (train.users, train.items, train.values))
    return train, Data(*triples, 40, 30), found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("biases", [False, True])
def test_a_known_lam_is_measured(weighted, biases):
    torch.set_default_dtype(torch.float64)
    try:
        _, data, found = known(weighted, biases)
    finally:
        torch.set_default_dtype(torch.float32)
    when = "with the factors" if biases else "none"
    case = Case("", "s7", "", None, {}, biases=when)
    measured = conventions.measured(data, found, case)
    assert set(measured) == set("UVbc" if biases else "UV")
    counts = {"U": np.bincount(data.users, minlength=40)}
    counts["V"] = np.bincount(data.items, minlength=30)
    counts |= {"b": counts["U"], "c": counts["V"]}
    for name, lam in measured.items():
        seen = np.isfinite(lam)
        assert seen.sum() > 20
        expected = 0.3 * counts[name] if weighted else np.full(len(lam), 6.0)
        np.testing.assert_allclose(lam[seen], expected[seen], rtol=1e-4)
        rows = conventions.spread_rows(counts[name], lam)
        assert len(rows) <= conventions.ROWS
        assert [c for c, _ in rows] == sorted(c for c, _ in rows)


def test_settings_stand_for_the_same_lam():
    n = RESULTS["n"]
    for case in BY_NAME.values():
        key, value = case.convention, case.setting.get(case.value)
        if value == "LAM / n":
            value = LAM / n
        if value is not None and key != "adamw":
            lam = row_lam(key, value, n=n, count=7)
            assert lam == pytest.approx(LAM) or lam == pytest.approx(7 * PER_RATING)


# -- the converter --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (10.0, "10"),
        (80_000.0, "80000"),
        (0.000125, "0.000125"),
        (1 / 3, "0.3333"),
        (1.23456e-7, "1.235e-7"),
        (2e7, "2e7"),
        (0.1 + 0.2, "0.3"),
    ],
)
def test_numbers_have_four_digits(number, text):
    assert say(number) == text


@pytest.mark.parametrize(
    ("source", "target", "rows"),
    [
        ("s7", "ridge", "all rows"),
        ("torch", "spark", "this row"),
        ("s7", "logistic", "all rows; another loss"),
        ("logistic", "liblinear", "all rows"),
        ("implicit", "surprise", "this row; another loss"),
        ("logistic", "implicit", "all rows; another loss"),
        ("s7", "myfm", "all rows; learned, not set"),
        ("myfm", "s7", "all rows"),
        ("s7", "adamw", "no λ corresponds"),
    ],
)
def test_the_form_marks_another_loss_and_what_cannot_be_set(source, target, rows):
    assert same_in(source, target) == rows


def test_a_lam_is_said_to_be_in_its_own_loss():
    assert said("spark", 6.0) == "This row has λ = 6 in S7's J."
    assert said("implicit", 6.0) == "This row has λ = 6 in its own loss."


def test_a_sum_over_processes_or_minibatches_has_another_lam():
    """What the chapter says of ``reduction="sum"``: W times, and n / B times."""
    n, batch, wd = 12, 3, 0.5
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(n, generator=generator, dtype=torch.float64)

    def minimiser(lam):
        return torch.linalg.solve(x.T @ x + lam / 2 * torch.eye(2), x.T @ y)

    def step(parts, lam):
        """Return the mean over parts of the sum's gradient, with the decay."""
        w = minimiser(lam)
        gradients = [2 * x[part].T @ (x[part] @ w - y[part]) for part in parts]
        return sum(gradients) / len(parts) + wd * w

    processes = [slice(0, 2), slice(2, 5), slice(5, 12)]
    batches = [slice(at, at + batch) for at in range(0, n, batch)]
    for parts, lam in ((processes, 3 * wd), (batches, n / batch * wd)):
        assert step(parts, lam).abs().max() < 1e-12
        assert step(parts, wd).abs().max() > 0.01


def test_the_form_starts_with_what_convert_gives():
    html = converter().data
    for key in FORMULAS:
        number = say(convert(10.0, "s7", key, **ROW))
        assert f'<td class="number">{number}</td>' in html
    assert "$" not in html.replace("${", "")
    assert converter().data == html
