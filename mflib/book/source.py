"""Show the package's own source on a page, so that it is never written twice."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown


def show_source(thing: type | Callable[..., Any]) -> Markdown:
    """Render the source of a function or class in a notebook.

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
    docstring: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            text = node.body[0]
            docstring.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    code = [line for number, line in lines if number not in docstring]
    return Markdown("\n".join(["```python", *code, "```"]))
