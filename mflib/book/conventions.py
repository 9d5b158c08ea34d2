"""What λ each library's setting stands for: one table, read by all that need it.

``conventions.json`` holds one entry for each library: S7's λ of a row is ``factor``
times powers of the library's setting, of n (all ratings), of count (those of the row)
and of sigma (the noise). ``loss`` says what λ stands beside, where that is not the
squared error on known ratings; ``learned`` marks a number that cannot be set.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from mflib.book.style import PALETTE

CONVENTIONS: dict[str, dict[str, Any]] = json.loads(
    files("mflib.book").joinpath("conventions.json").read_text(encoding="utf-8")
)
"""The table, by short names of the libraries."""

EXAMPLE = {"n": 80_000.0, "sigma": 0.9}
NAMES = {"setting": "setting", "n": "n", "count": "nᵢ", "sigma": "σ"}


def row_lam(library: str, setting: float, **row: float) -> float:
    """Return S7's λ of a row, for a library's setting.

    Parameters
    ----------
    library : str
        A key of ``CONVENTIONS``.
    setting : float
        The number that the library is given.
    **row : float
        What the formula needs of ``n``, ``count`` and ``sigma``.

    Returns
    -------
    float
        λ of S7, in the unit of the squared ratings.
    """
    convention = CONVENTIONS[library]
    lam = float(convention["factor"])
    for name, power in convention["powers"].items():
        lam *= (row | {"setting": setting})[name] ** power
    return lam


def convert(setting: float, source: str, target: str, **row: float) -> float:
    """Return the target's setting with the λ that the source's setting has in a row.

    Only beside the same loss does the same λ mean the same penalty.

    Parameters
    ----------
    setting : float
    source, target : str
        Keys of ``CONVENTIONS``.
    **row : float
        The row's ``count`` of ratings, ``n`` of all ratings, and ``sigma``, the
        standard deviation of the noise, as far as either formula needs them.

    Returns
    -------
    float
        A number for the target's setting.
    """
    lam = row_lam(source, setting, **row)
    power = CONVENTIONS[target]["powers"]["setting"]
    return float((lam / row_lam(target, 1.0, **row)) ** (1 / power))


def misfits(result: dict[str, Any], n: int) -> list[str]:
    """Return what a measured case of ``bench/conventions.json`` says against the table.

    Rows are compared in three parts, with few, some and many ratings: the middle of
    what is measured over the formula's λ may differ from 1 by 5 %; by 15 % where rows
    were sampled, and what is measured is an average.
    """
    within = 0.15 if "sigma" in result else 0.05
    found = []
    for table, points in result["rows"].items():
        key, value = result["convention"], result["value"]
        if table in "bc" and CONVENTIONS[key]["biases"] != "as rows":
            key, value = CONVENTIONS[key]["biases"], result.get("bias_value")
        measured = [lam for _, lam in points]
        if key == "free":
            if max(map(abs, measured)) > within:
                found.append(f"{table} is penalised")
        elif CONVENTIONS[key]["factor"] is None:
            weighted = [lam / count for count, lam in points]
            if any(max(lam) < 10 * min(lam) for lam in (measured, weighted)):
                found.append(f"{table} has a λ")
        else:
            row = {"n": n, "sigma": result.get("sigma", math.nan)}
            number = value[table] if isinstance(value, dict) else value
            ratios = [lam / row_lam(key, number, count=c, **row) for c, lam in points]
            for part in np.array_split(ratios, min(3, len(ratios))):
                if not abs(np.median(part) - 1) < within:
                    found.append(
                        f"{table} has {np.median(part):.3g} times the λ of {key}"
                    )
    return found


def table(results: dict[str, Any]) -> pd.DataFrame:
    """Return the conventions, with what ``bench/conventions.json`` measured of them."""
    measured = {case["convention"]: case for case in results["cases"].values()}
    rows = {}
    for key, entry in CONVENTIONS.items():
        case, biases = measured.get(key, {}), entry.get("biases", "–")
        if biases in CONVENTIONS:
            biases = f"by {CONVENTIONS[biases]['setting']}"
        texts = (entry["library"], entry["setting"], biases)
        library, setting, biases = (text.replace("`", "") for text in texts)
        rows[library, setting] = {
            "λ of a row": formula(key),
            "biases": biases,
            "version": case.get("version", "–").partition("+")[0],
            "J": f"{case['J']:.1f}" if "J" in case else "–",
            "J of als": f"{case['als'][0]:.1f}" if "J" in case else "–",
        }
    found = pd.DataFrame(rows).T
    return found.rename_axis(["library", "setting"])


def formula(key: str) -> str:
    """Return the formula of a convention in words, such as "2 · setting · nᵢ"."""
    entry = CONVENTIONS[key]
    if entry["factor"] is None:
        return "no λ corresponds"
    raised = {1: "", 2: "²", -1: "⁻¹", -2: "⁻²"}
    parts = [] if entry["factor"] == 1 else [f"{entry['factor']}"]
    parts += [
        f"{NAMES[name]}{raised[power]}" for name, power in entry["powers"].items()
    ]
    return " · ".join(parts)


def converter() -> HTML:
    """Return a form that converts a setting to all others, without a kernel.

    Its script has the same data as :func:`convert`. Without it, the table shows what
    the form starts with, and worked examples stand below.

    Returns
    -------
    IPython.display.HTML
        The form.
    """
    setting, source = 10.0, "s7"
    row = {"n": 80_000.0, "count": 20.0, "sigma": 0.9}
    data = {key: _for_script(entry) for key, entry in CONVENTIONS.items()}
    options = [
        f'<option value="{key}"{" selected" * (key == source)}>'
        f"{_plain(entry['library'])}: {_plain(entry['setting'])}</option>"
        for key, entry in CONVENTIONS.items()
        if entry["factor"] is not None
    ]
    template = (
        files("mflib.book").joinpath("converter.html").read_text(encoding="utf-8")
    )
    return HTML(
        Template(template).substitute(
            data=escape(json.dumps(data, ensure_ascii=False, separators=(",", ":"))),
            options="\n".join(options),
            rows="\n".join(_rows(setting, source, row)),
            examples=_examples(),
            said=said(source, row_lam(source, setting, **row)),
            setting=say(setting),
            color=PALETTE[0],
            **{name: say(number) for name, number in row.items()},
        )
    )


def said(source: str, lam: float) -> str:
    """Return what the converter says of a λ, as its script does."""
    where = "its own loss" if "loss" in CONVENTIONS[source] else "S7's J"
    return f"This row has λ = {say(lam)} in {where}."


def same_in(source: str, target: str) -> str:
    """Return in which rows a converted setting has the same λ, as the script does."""
    one, other = CONVENTIONS[source], CONVENTIONS[target]
    if other["factor"] is None:
        return "no λ corresponds"
    alike = ("count" in one["powers"]) == ("count" in other["powers"])
    rows = "all rows" if alike else "this row"
    rows += "; learned, not set" if "learned" in other else ""
    return rows + ("; another loss" if one.get("loss") != other.get("loss") else "")


def say(number: float) -> str:
    """Return a number with four digits, as the converter's script writes it."""
    if 1e-6 <= number < 1e7:
        return np.format_float_positional(float(f"{number:.4g}"), trim="-")
    digits, power = f"{number:.3e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def _rows(setting: float, source: str, row: dict[str, float]) -> Iterator[str]:
    """Yield the rows of the converter's table."""
    for key, entry in CONVENTIONS.items():
        value = "–"
        if entry["factor"] is not None:
            value = say(convert(setting, source, key, **row))
        cells = f'<td class="number">{value}</td><td>{same_in(source, key)}</td>'
        yield f"<tr>{_head(entry)}{cells}</tr>"


def _examples() -> str:
    """Return a table of three conversions, from their number to all settings."""
    examples = {
        "λ = 10, a row with 20 ratings": (10.0, "s7", 20.0),
        "λ = 10, a row with 500 ratings": (10.0, "s7", 500.0),
        "PyTorch's weight decay 1e-4, 165 ratings": (1e-4, "torch", 165.0),
    }
    heads = "".join(f'<th scope="col">{head}</th>' for head in examples)
    lines = [f'<tr><th scope="col">library and setting</th>{heads}</tr>']
    for key, entry in CONVENTIONS.items():
        if entry["factor"] is None:
            continue
        cells = ""
        for number, source, count in examples.values():
            value = say(convert(number, source, key, count=count, **EXAMPLE))
            cells += f'<td class="number">{value}</td>'
        lines.append(f"<tr>{_head(entry)}{cells}</tr>")
    return "\n".join(lines)


def _for_script(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("factor", "powers", "loss", "learned")
    return {name: entry[name] for name in names if name in entry}


def _head(entry: dict[str, Any]) -> str:
    """Return the head of a library's row: its name and its setting."""
    name, setting = map(_code, (entry["library"], entry["setting"]))
    return f'<th scope="row">{name}: {setting}</th>'


def _plain(text: str) -> str:
    return escape(text.replace("`", ""))


def _code(text: str) -> str:
    """Return Markdown's code as HTML's."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))
