"""Draw the pictures on the title page: what a penalty does, where the truth is known.

    python tools/title.py [folder]

Four square pictures of one rating matrix, one pixel a cell, blue below and orange above
the mean: the ratings that are known; two predictions from them by mflib.als, one with
almost no penalty and one with the penalty that validation ratings choose; the truth.
"""

import sys
from pathlib import Path

import torch
from matplotlib.colors import LinearSegmentedColormap, Normalize
from PIL import Image
from torch import Tensor

import mflib

FOLDER = Path(__file__).parents[1] / "chapters" / "title"
TOO_SMALL, CANDIDATES = 0.01, (0.01, 0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
# The colours of train and test in mflib.book, through white. What is unknown is white.
COLOURS = LinearSegmentedColormap.from_list(
    "ratings", ["#0072b2", "#7fb8d8", "#ffffff", "#f0b08a", "#d55e00"], N=65
).with_extremes(bad="#ffffff")
FULL_COLOUR = Normalize(-4.0, 4.0)  # ratings, from the mean


def panels() -> dict[str, Tensor]:
    """Return the four matrices, with neighbours alike: sorted by the truth's angles."""
    ratings, truth = mflib.make_low_rank_ratings(
        90, 90, rank=2, density=0.22, tau=1.0, sigma=1.0, generator=mflib.seeded(9)
    )
    train, validation = ratings.split(0.9, 0.1, generator=mflib.seeded(0))
    fits = {
        lam: mflib.als(
            train,
            rank=8,
            lam=lam,
            sweeps=200,
            generator=mflib.seeded(0),
            validation=validation,
        )
        for lam in CANDIDATES
    }
    best = min(fits, key=lambda lam: fits[lam][1]["validation"].iloc[-1])
    known = torch.full((90, 90), torch.nan)
    known[ratings.users, ratings.items] = ratings.values

    def prediction(lam: float) -> Tensor:
        model = fits[lam][0]
        return (model.U.weight @ model.V.weight.T).detach()

    found = {
        "known": known,
        "too-small": prediction(TOO_SMALL),
        "chosen": prediction(best),
        "truth": truth.U @ truth.V.T,
    }
    users, items = (torch.atan2(x[:, 1], x[:, 0]).argsort() for x in (truth.U, truth.V))
    return {name: matrix[users][:, items] for name, matrix in found.items()}


def picture(matrix: Tensor) -> Image.Image:
    pixels = COLOURS(FULL_COLOUR(matrix.numpy()), bytes=True)[..., :3]
    return Image.fromarray(pixels).quantize(colors=COLOURS.N)


def main(folder: Path = FOLDER) -> None:
    torch.set_default_dtype(torch.float64)
    folder.mkdir(parents=True, exist_ok=True)
    for name, matrix in panels().items():
        picture(matrix).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
