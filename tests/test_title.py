"""The pictures of the title page are what mflib computes, and show what they claim."""

import numpy as np
import pytest
from PIL import Image

from tools.title import FOLDER, panels, picture

# Mean difference in grey levels of 0 to 255. Rounding on another CPU moves a few pixels
# by one of 65 colours; all ratings times 1.05 measures 0.5 and more.
TOLERANCE = 0.3


@pytest.fixture(scope="module")
def drawn():
    return panels()


def grey_levels_apart(a: Image.Image, b: Image.Image) -> float:
    a, b = (np.asarray(image.convert("RGB"), dtype=float) for image in (a, b))
    return float(np.abs(a - b).mean())


def test_stored_pictures_are_current(drawn) -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == set(drawn)
    for name, matrix in drawn.items():
        stored = Image.open(FOLDER / f"{name}.png")
        assert grey_levels_apart(stored, picture(matrix)) < TOLERANCE, name
        assert grey_levels_apart(stored, picture(1.05 * matrix)) > TOLERANCE, name


def test_the_chosen_penalty_comes_closest_to_the_truth(drawn) -> None:
    truth = drawn["truth"]

    def error(matrix) -> float:
        return float((matrix - truth).square().mean().sqrt())

    assert error(drawn["chosen"]) < 0.7 * error(0 * truth) < error(drawn["too-small"])
