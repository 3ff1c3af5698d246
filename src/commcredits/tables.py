"""Tables: rows under headings, as text, as HTML, as rows for a CSV writer, as plain dicts or as the columns of a frame.

What people look at of this library is such a table: amounts stand in columns with their decimal points aligned, and the
currency, if it is the same all the way down, in the heading.
"""

from __future__ import annotations

from datetime import date, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterator

_HTML_TABLE = 'style="border-collapse: collapse; font-variant-numeric: tabular-nums"'
# Inherited colours and a translucent line, so that it can be read on a light and on a dark page.
_HTML_CELL = "padding: 0.15em 0.7em; border-bottom: 1px solid rgba(128, 128, 128, 0.35)"
_HTML_WRAP = {"th": "pre-wrap", "td": "pre"}  # wide tables break their headings, and no amounts or times
_HTML_CAPTION = 'style="text-align: left; padding: 0.4em 0.7em; white-space: nowrap"'


@attrs.frozen(order=False)
class Table:
    """Rows under headings.

    Attributes:
        headings: a name for each column; if all are empty, none is shown.
        rows: each as many values as there are headings: text, numbers, Money, times, or None for an empty cell.
        title: a line above; none if empty.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    title: str = ""

    def to_records(self) -> list[dict[str, Any]]:
        """A plain dict for each row, its values as they are: Money stays Money."""
        return [dict(zip(self.headings, row, strict=True)) for row in self.rows]

    def to_csv_rows(self) -> Iterator[list[str]]:
        """The headings, then the rows, as text for `csv.writer`: amounts exact, with currency; times in ISO 8601."""
        yield list(self.headings)
        for row in self.rows:
            yield [_exact(value) for value in row]

    def to_columns(self) -> dict[str, list[Any]]:
        """The values of each column by its heading, as `pandas.DataFrame` and `polars.DataFrame` take them.

        Of a column of Money the amounts are Decimals, and the currency goes into the heading.
        """
        return {
            heading: column
            if _currency(column) is None
            else [None if money is None else money.amount for money in column]
            for heading, currency, column in zip(self._headings(), self._currencies(), self._columns(), strict=True)
        }

    def __str__(self) -> str:
        columns = [self._laid_out(number) for number in range(len(self.headings))]
        lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
        if not any(self.headings):
            del lines[0]
        return "\n".join([self.title, "", *lines] if self.title else lines)

    def _repr_html_(self) -> str:
        head = f"<tr>{self._html_cells('th', self._headings())}</tr>" if any(self.headings) else ""
        body = "".join(f"<tr>{self._html_cells('td', row)}</tr>" for row in zip(*self._texts(), strict=True))
        caption = f"<caption {_HTML_CAPTION}>{escape(self.title)}</caption>" if self.title else ""
        return f"<table {_HTML_TABLE}>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"

    def _columns(self) -> list[list[Any]]:
        return [[row[number] for row in self.rows] for number in range(len(self.headings))]

    def _currencies(self) -> list[str | None]:
        return [_currency(column) for column in self._columns()]

    def _headings(self) -> tuple[str, ...]:
        """The headings, the currency of a column of Money in its own."""
        return tuple(
            heading if currency is None else f"{heading} ({currency})"
            for heading, currency in zip(self.headings, self._currencies(), strict=True)
        )

    def _texts(self) -> list[list[str]]:
        """The cells of each column as text, the amounts of one column with equally many decimals."""
        return [_shown(column) for column in self._columns()]

    def _aligned(self, number: int) -> bool:
        """Whether a column is of numbers, which stand to the right."""
        values = [row[number] for row in self.rows if row[number] is not None]
        return bool(values) and all(isinstance(value, Money | int | float) for value in values)

    def _laid_out(self, number: int) -> list[str]:
        cells = [self._headings()[number], *self._texts()[number]]
        width = max(map(len, cells))
        return [cell.rjust(width) if self._aligned(number) else cell.ljust(width) for cell in cells]

    def _html_cells(self, tag: str, cells: tuple[str, ...]) -> str:
        sides = ["right" if self._aligned(number) else "left" for number in range(len(self.headings))]
        return "".join(
            f'<{tag} style="text-align: {side}; white-space: {_HTML_WRAP[tag]}; {_HTML_CELL}">{escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )


def _currency(column: list[object]) -> str | None:
    """The one currency of a column that is all Money; None: there is none, or more than one."""
    values = [value for value in column if value is not None]
    currencies = {value.currency if isinstance(value, Money) else None for value in values}
    return currencies.pop() if len(currencies) == 1 else None


def _shown(column: list[object]) -> list[str]:
    """The cells of a column as text for people."""
    if _currency(column) is None:
        return [_text(value) for value in column]
    digits = max(decimals(value) for value in column if isinstance(value, Money))
    return ["" if value is None else f"{value:,.{digits}f}" for value in column]


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)


def _exact(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return "" if value is None else str(value)


def decimals(money: Money) -> int:
    """How many decimals show the amount exactly, and at least those of the currency's minor units."""
    return len(str(money).partition(" ")[0].partition(".")[2])
