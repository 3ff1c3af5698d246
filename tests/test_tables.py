from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser

import pandas as pd
import polars as pl

from build import usd
from commcredits import Money
from commcredits.tables import Table

MONTH = datetime(2026, 1, 31, 23, 59, 30, tzinfo=UTC)


def a_table() -> Table:
    return Table(
        ("what", "at", "times", "cost", "paid"),
        (
            ("calls", MONTH, 12, usd("1234.5"), usd(3)),
            ("<i>&", None, None, usd("-0.0025"), None),
        ),
        "Usage & more",
    )


def test_numbers_stand_to_the_right_and_the_points_of_a_column_below_each_other() -> None:
    assert str(a_table()).splitlines() == [
        "Usage & more",
        "",
        "what   at                times  cost (USD)  paid (USD)",
        "calls  2026-01-31 23:59     12  1,234.5000        3.00",
        "<i>&                               -0.0025",
    ]


def test_without_a_title_the_headings_come_first_and_without_rows_only_they() -> None:
    assert str(Table(("a", "b"), ())) == "a  b"
    assert Table(("a", "b"), ()).to_records() == []
    assert list(Table(("a", "b"), ()).to_csv_rows()) == [["a", "b"]]
    assert Table(("a", "b"), ()).to_columns() == {"a": [], "b": []}


def test_amounts_in_several_currencies_keep_theirs() -> None:
    table = Table(("cost",), ((usd("1.5"),), (Money("2", "EUR"),)))
    assert str(table).splitlines() == ["    cost", "1.50 USD", "2.00 EUR"]
    assert table.to_columns() == {"cost": [usd("1.5"), Money("2", "EUR")]}


def test_money_beside_something_else_is_no_column_of_money() -> None:
    assert str(Table(("cost",), ((usd("1.5"),), ("unknown",)))).splitlines() == ["cost", "1.50 USD", "unknown"]


class Cells(HTMLParser):
    """The text of each cell, the browser's way."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data


def test_as_html_every_cell_is_text_and_nothing_else() -> None:
    page = Cells()
    page.feed(a_table()._repr_html_())
    assert page.cells[:6] == ["Usage & more", "what", "at", "times", "cost (USD)", "paid (USD)"]
    assert page.cells[6:] == ["calls", "2026-01-31 23:59", "12", "1,234.5000", "3.00", "<i>&", "", "", "-0.0025", ""]
    assert set(page.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert page.tags.count("tr") == 3


def test_as_html_numbers_stand_to_the_right() -> None:
    page = a_table()._repr_html_()
    assert page.count("text-align: right") == 9
    assert page.count("text-align: left") == 7  # the title too
    assert "<caption" not in Table(("a",), ())._repr_html_()


def test_as_csv_amounts_are_exact_and_times_unmistakable() -> None:
    file = io.StringIO()
    csv.writer(file).writerows(Table(("at", "day", "cost"), ((MONTH, date(2026, 1, 31), usd("0.0025")),)).to_csv_rows())
    file.seek(0)
    assert list(csv.reader(file)) == [
        ["at", "day", "cost"],
        ["2026-01-31T23:59:30+00:00", "2026-01-31", "0.0025 USD"],
    ]


def test_as_records_values_are_as_they_are() -> None:
    assert a_table().to_records()[1] == {
        "what": "<i>&",
        "at": None,
        "times": None,
        "cost": usd("-0.0025"),
        "paid": None,
    }


def test_its_columns_make_frames_of_exact_decimals() -> None:
    names = ["what", "at", "times", "cost (USD)", "paid (USD)"]
    in_pandas = pd.DataFrame(a_table().to_columns())
    assert list(in_pandas.columns) == names
    assert list(in_pandas["cost (USD)"]) == [Decimal("1234.5"), Decimal("-0.0025")]
    in_polars = pl.DataFrame(a_table().to_columns())
    assert in_polars.columns == names
    assert list(in_polars["cost (USD)"]) == [Decimal("1234.5"), Decimal("-0.0025")]
    assert in_polars["cost (USD)"].sum() == Decimal("1234.4975")
    assert list(in_polars["paid (USD)"]) == [Decimal(3), None]
    assert list(in_polars["at"]) == [MONTH, None]
