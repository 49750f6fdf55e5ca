"""Pieces of HTML. What is not `Markup` is escaped: names and values may be a stranger's."""

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple


class Markup(str):
    """Text that is HTML already."""


class Number(NamedTuple):
    """A number as it is shown, and by what it is sorted; NaN is shown as nothing and comes last."""

    value: float
    text: str


Cell = str | Markup | Number


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell]], css: str = "sortable") -> Markup:
    """A table, the first column of which names the rows."""
    numeric = [bool(rows) and isinstance(cell, Number) for cell in (rows[0] if rows else header)]
    heads = "".join(
        f'<th scope="col"{" class=number" if right else ""}>{_inner(name)}</th>'
        for name, right in zip(header, numeric, strict=True)
    )
    lines = "".join(f"<tr>{_first(row[0])}{''.join(map(_cell, row[1:]))}</tr>\n" for row in rows)
    return Markup(
        f'<div class="wide"><table class="{css}"><caption>{_inner(caption)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>"
    )


def paragraph(text: str, css: str = "") -> Markup:
    """A paragraph of text."""
    return Markup(f'<p class="{css}">{_inner(text)}</p>' if css else f"<p>{_inner(text)}</p>")


def figure(picture: Markup, caption: str) -> Markup:
    """A picture and what it says."""
    return Markup(f"<figure>{picture}<figcaption>{_inner(caption)}</figcaption></figure>")


def data_uri(kind: str, content: bytes) -> str:
    """A file's content within the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def percent(share: float, deviation: float | None = None) -> Number:
    """A share in percent, with its standard deviation where there is one."""
    return Number(share, f"{100 * share:.1f}" + (f" ± {100 * deviation:.1f}" if deviation is not None else ""))


def _inner(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def _first(cell: Cell) -> str:
    return f'<th scope="row">{_inner(cell)}</th>'


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Number):
        return f'<td class="text">{_inner(cell)}</td>'
    if cell.value != cell.value:
        return '<td class="number" data-value=""></td>'
    return f'<td class="number" data-value="{cell.value!r}">{escape(cell.text)}</td>'
