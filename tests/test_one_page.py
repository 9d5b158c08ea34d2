"""The lecture on one page: its example, its pictures and its ways through hold."""

import math
import re

import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn
from torch.nn import functional as F

from tests.test_book import links_of, sections
from tests.test_title import grey_levels_apart
from tools import headings, reading, small_figures
from tools.chapters import read
from tools.korean_checks import terms

PAGE = "appendix/one-page.md"
TEXT = small_figures.PAGE.read_text("utf-8")
INTRO = (small_figures.CHAPTERS / "intro.md").read_text("utf-8")
SIGMA, TAU, N, N_ROW, M = 1.0, 0.5, 8000, 20, 400
LAM, LAM_MEAN = 2 * SIGMA**2 / TAU**2, 1 / TAU**2  # of S7; of S5 and S6


def rows(section: str) -> list[list[str]]:
    """Return the cells of a section's tables, without their heads."""
    lines = sections(TEXT)[section].text.splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if line[:1] == "|"]
    rules = [i for i, cells in enumerate(table) if set("".join(cells)) <= set("-|")]
    heads = {i - 1 for i in rules}
    return [cells for i, cells in enumerate(table) if i not in {*rules, *heads}]


def test_the_example_is_what_the_formulas_give() -> None:
    printed = [float(cells[2]) for cells in rows("one-λ-in-every-unit")]
    computed = [LAM / N, LAM, LAM / 2, LAM / N_ROW]
    computed += [SIGMA * math.sqrt(2 / LAM), LAM / (2 * SIGMA**2)]
    computed += [LAM_MEAN, 1 / LAM_MEAN, LAM_MEAN / M]
    assert printed == pytest.approx(computed)
    given = r"\\sigma = 1\$.*\\tau = 0.5\$.*n = 8000\$.*= 8\$.*n_i = 20\$.*m = 400\$"
    assert re.search(given, TEXT, re.DOTALL)


def gradient(w: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, w)[0]


def data(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    X = torch.randn(n, 3, generator=random)
    y = X @ torch.tensor([1.0, -0.5, 0.2]) + torch.randn(n, generator=random)
    return X, y, torch.randn(3, generator=random).requires_grad_()


@pytest.mark.parametrize(("reduction", "wd"), [("mean", LAM / N), ("sum", LAM)])
def test_weight_decay_is_the_penalty_of_s7(reduction, wd) -> None:
    X, y, w = data(N)
    before, scale = w.detach().clone(), N if reduction == "mean" else 1
    J = (X @ w - y).square().sum() + LAM / 2 * w.square().sum()
    expected = gradient(w, J) / scale
    optimizer = torch.optim.SGD([w], lr=1.0, weight_decay=wd)
    nn.MSELoss(reduction=reduction)(X @ w, y).backward()
    optimizer.step()
    torch.testing.assert_close(before - w.detach(), expected)


def test_ridge_and_the_prior_have_the_minimum_of_s7() -> None:
    X, y, _ = data(N_ROW)
    fit = Ridge(alpha=LAM / 2, fit_intercept=False).fit(X.numpy(), y.numpy())
    w = torch.tensor(fit.coef_, dtype=X.dtype, requires_grad=True)
    errors = (X @ w - y).square()
    weighted = errors.sum() + LAM / N_ROW * N_ROW / 2 * w.square().sum()
    prior = torch.distributions.Normal(0.0, TAU).log_prob(w).sum()
    noise = torch.distributions.Normal(X @ w, SIGMA).log_prob(y).sum()
    for J in (weighted, -(noise + prior)):
        torch.testing.assert_close(gradient(w, J), torch.zeros(3), atol=1e-8, rtol=0)


def test_c_and_weight_decay_of_logistic_regression_are_s5() -> None:
    X, y, _ = data(M)
    labels = (y > 0).to(X.dtype)
    model = LogisticRegression(C=1 / LAM_MEAN, fit_intercept=False, tol=1e-10)
    w = torch.tensor(model.fit(X.numpy(), labels.numpy()).coef_[0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(X @ w, labels)
    pull = LAM_MEAN / M * w
    torch.testing.assert_close(gradient(w, loss), -pull.detach(), atol=1e-7, rtol=0)
    prior = torch.distributions.Normal(0.0, TAU).log_prob(w).sum()
    torch.testing.assert_close(gradient(w, prior), -M * pull.detach())


# -- the pictures, the ways, the words ------------------------------------------------


def test_the_pictures_are_those_of_the_chapters() -> None:
    there = small_figures.CHAPTERS
    folders = small_figures.WHOLE, small_figures.CARDS
    stored = {path.relative_to(there) for f in folders for path in there.glob(f"{f}/*")}
    made = small_figures.pictures()
    assert stored == set(made)
    assert sum((there / path).stat().st_size for path in stored) < 160_000
    for path, now in made.items():
        apart = grey_levels_apart(Image.open(there / path), now)
        assert apart < 0.3, f"{path}: make chapters"


def test_each_chapter_has_a_card_with_a_picture_of_its_own() -> None:
    chapters = [p.stem for p in sorted(small_figures.CHAPTERS.glob("[0-9]*.ipynb"))]
    cards = re.findall(
        r":link: (\S+)\n:link-type: doc\n:img-top: cards/(\S+)\.png", INTRO
    )
    assert [chapter for chapter, _ in cards] == chapters
    for chapter, figure in cards:
        cells = read(small_figures.CHAPTERS / f"{chapter}.ipynb").cells
        named = [
            c.metadata.get("mystnb", {}).get("figure", {}).get("name") for c in cells
        ]
        assert figure in named


def minutes_of_sections() -> dict[tuple[str, str], float]:
    """Return the minutes of each section, up to the next heading."""
    found: dict[tuple[str, str], reading.Load] = {}
    for path in sorted(small_figures.CHAPTERS.glob("[0-9]*.ipynb")):
        here = (path.name, "")
        for cell in read(path).cells:
            tokens = (
                reading.MARKDOWN.parse(cell.source)
                if cell.cell_type == "markdown"
                else []
            )
            loads = [
                (
                    headings.slug(tokens[i + 1].content)
                    if token.type == "heading_open"
                    else "",
                    reading.load_of([token]),
                )
                for i, token in enumerate(tokens)
            ] or [("", reading.load_of_code(cell))]
            for anchor, load in loads:
                here = (path.name, anchor) if anchor else here
                found[here] = found.get(here, reading.Load()) + load
    return {where: load.minutes for where, load in found.items()}


@pytest.mark.parametrize(
    ("page", "text"), [(PAGE, TEXT), ("intro.md", INTRO)], ids=["page", "intro"]
)
def test_the_ways_take_the_time_they_say(page, text) -> None:
    minutes, total = minutes_of_sections(), 0.0
    ways = re.findall(
        r"^- \*\*(\d+) minutes\.\*\*((?:.|\n)*?)(?=\n- |\n\n)", text, re.M
    )
    assert [int(limit) for limit, _ in ways] == [20, 60, 120]
    for limit, way in ways[:2]:
        links = [
            link for link in links_of(page, way) if link.anchor and link.target != PAGE
        ]
        total += sum(minutes[link.target, link.anchor] for link in links)
        assert total <= int(limit)
        if links:
            assert total > 0.8 * int(limit)


def test_the_introduction_begins_with_the_page() -> None:
    assert links_of("intro.md", INTRO)[0].target == PAGE


def test_terms_have_the_korean_of_the_table() -> None:
    korean = {term.english: term.korean for term in terms()}
    cells = [cell for row in rows("terms") for cell in row]
    assert len(cells) >= 60
    for english, other in zip(cells[::2], cells[1::2], strict=True):
        assert other == f'<span lang="ko">{korean[english]}</span>'
