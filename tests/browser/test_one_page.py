"""The lecture on one page is two sides of paper, in both editions."""

import io

import pytest
from pypdf import PdfReader

from tools.browser import SITE

PAGE = "chapters/appendix/one-page.html"


@pytest.mark.parametrize("edition", ["", "ko/"])
def test_the_page_prints_on_two_sides(browser, site, edition) -> None:
    if not (SITE / edition / PAGE).exists():
        pytest.skip("no such page: run make book")
    page = browser.new_page()
    page.goto(f"{site}/{edition}{PAGE}")
    for image in page.locator(".one-page img").all():
        image.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    printed = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    page.close()
    assert len(printed.pages) == 2
