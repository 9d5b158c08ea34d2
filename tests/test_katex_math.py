"""Formulas of tiny books, which tools/katex_math.py renders while it builds them."""

import html
import re
import subprocess
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests import tiny_book
from tools import katex_math

pytestmark = pytest.mark.skipif(
    not katex_math.find_node() or not katex_math.KATEX.is_dir(),
    reason=f"no Node or no KaTeX: {katex_math.REMEDY}",
)


@pytest.fixture
def build(tmp_path: Path):
    """A function that builds a book of one page, and gives its report and HTML."""

    def run(page: str) -> tuple[subprocess.CompletedProcess, str]:
        done = tiny_book.build(tmp_path, {"page.md": f"# Title with $k$\n\n{page}\n"})
        page = tmp_path / "_build" / "html" / "chapters" / "page.html"
        return done, page.read_text(encoding="utf-8")

    return run


def seen(page: str) -> str:
    """The text that a reader sees: without MathML and its TeX, tags and heads."""
    body = re.search(r"<article.*?</article>", page, re.DOTALL)[0]
    body = re.sub(r'<span class="katex-mathml">.*?</math></span>', "", body)
    return html.unescape(re.sub(r"<[^>]+>", "", body))


def test_formulas_wherever_they_stand(build) -> None:
    text = r"""
In a line: $\lambda = 2\sigma^2/\tau^2$. With ($k$) signs, $n$이고 $m$ and none.

$$
\|\boldsymbol{U}\|_F^2 = \sum_{i=1}^N \mathbf{u}_i^\top \mathbf{u}_i
$$

| name | meaning |
|---|---|
| $u_i$ | $\hat{r}_{ij} \in \mathbb{R}$ |

:::{admonition} A box about $\eta$
With $x < y$ & more: $a \& b$.
:::

```{figure} ../assets/favicon.svg
:alt: A grid

A caption with $\theta$.
```
"""
    terms = " + ".join(f"x_{{{n}}}" for n in range(12))
    done, result = build(text + f"\nWider than a phone: ${terms}$이다.\n")
    assert done.returncode == 0, done.stdout
    assert result.count('class="katex-html"') >= 9
    assert result.count('class="katex-display"') == 1
    assert result.count("<math") == result.count('class="katex-html"')
    visible = seen(result)
    # Signs beside a formula stay on its line.
    spans = BeautifulSoup(result, "html.parser").select("p > .joined")
    assert len(spans[-1].select("wbr")) == 11  # its lines end before a sign
    for formula in [one for span in spans for one in span.select(".math")]:
        formula.string = "formula"
    texts = [span.get_text() for span in spans]
    assert texts[:4] == ["formula.", "(formula)", "formula이고", "formula"]
    assert texts[-1] == "formula이다."
    for sign in "λστηθ":
        assert sign in visible
    for tex in ("\\", "$", "boldsymbol"):
        assert tex not in visible
    assert 'href="../_static/katex/katex.min.css' in result
    assert "mathjax" not in result.replace("mathjax_ignore", "").lower()


def test_numbers_are_those_of_sphinx(build) -> None:
    text = r"""
$$
a = 1 \\
b = 2
$$ (eq-first)

$$
c = 3
$$

\begin{align}
d &= 4 \\
e &= 5
\end{align}

\begin{equation*}
f = 6
\end{equation*}

$$
g = 7

h = 8
$$ (eq-last)

See {eq}`eq-first` and [](#eq-last).
"""
    done, result = build(text)
    assert done.returncode == 0, done.stdout
    assert re.findall(r'class="eqno">\((\d+)\)', result) == ["1", "2", "3"]
    assert 'class="tag"' not in result
    assert "eqn-num" not in result  # how KaTeX numbers rows
    assert 'href="#equation-eq-first">(1)</a>' in result
    assert 'href="#equation-eq-last">(3)</a>' in result
    assert result.count('tabindex="0" role="group"') == 5
    names = re.findall(r'aria-label="(Equation[ \d]*)"', result)
    assert names == ["Equation 1", "Equation", "Equation 2", "Equation", "Equation 3"]


def test_bad_formulas_fail_the_build_which_says_where(build) -> None:
    bad = {
        3: ("Here: $\\frac{1}{2$.\n", "expected '}'"),
        6: ("\n$$\n\\lamda\n$$\n", r"\lamda"),
        10: ("\\begin{align}\na & b \\nope\n\\end{align}\n", r"\nope"),
        14: ("$λ x$ and $x_ö$", "unicodeTextInMathMode"),
    }
    done, _ = build("\n".join(text for text, _ in bad.values()))
    assert done.returncode != 0
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line]
    for warning, (line, (_, problem)) in zip(warnings, bad.items(), strict=True):
        assert f"page.md:{line}: WARNING" in warning
        assert "KaTeX" in warning
        assert problem in warning


def test_a_node_that_ends_is_reported(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "katex_math.js").write_text("process.exit(3)")
    monkeypatch.setattr(katex_math, "HERE", tmp_path)
    with pytest.raises(katex_math.ExtensionError, match="with exit code 3"):
        katex_math.Katex().render("x", False)


@pytest.mark.parametrize("missing", ["Node", "KaTeX"])
def test_what_is_missing_is_named(monkeypatch, tmp_path: Path, missing) -> None:
    if missing == "Node":
        monkeypatch.setattr(katex_math, "find_node", lambda: None)
    else:
        monkeypatch.setattr(katex_math, "KATEX", tmp_path / "nothing")
    with pytest.raises(katex_math.ExtensionError, match=f"^{missing} is missing"):
        katex_math.Katex().render("x", False)
