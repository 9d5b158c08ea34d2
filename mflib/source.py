"""Show the package's own source on a page, so that it is never written twice."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown

DOCSTRING = "a line of a docstring"


def show_source(thing: type | Callable[..., Any]) -> Markdown:
    """Render the source of a function or class of mflib in a notebook.

    Parameters
    ----------
    thing : function or class
        Its docstrings are left out: the page around it explains it.

    Returns
    -------
    IPython.display.Markdown
        A highlighted code block on the site and in JupyterLab.
    """
    source = textwrap.dedent(inspect.getsource(thing))
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            text = node.body[0]
            for number in range(text.lineno, (text.end_lineno or text.lineno) + 1):
                lines[number - 1] = DOCSTRING
    code = [line for line in lines if line != DOCSTRING]
    return Markdown("\n".join(["```python", *code, "```"]))
