"""show_source renders the code itself, without docstrings."""

from mflib import MF, rmse
from mflib.book import show_source


def test_shows_the_code_without_the_docstring():
    text = show_source(rmse).data
    assert text.startswith("```python\ndef rmse(\n")
    assert text.endswith("\n```")
    assert "errors(model, ratings, clip)" in text
    assert "Root of the mean" not in text


def test_shows_a_class_with_its_methods():
    text = show_source(MF).data
    assert "class MF(nn.Module):" in text
    assert "def forward(" in text
    assert '"""' not in text
