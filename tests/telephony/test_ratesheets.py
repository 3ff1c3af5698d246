"""Rules of reading rate sheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import CommCreditsError, InvalidValueError, Money, WrongTypeError
from commcredits.telephony import NoRateError, Rate, RateCard, RowError, TimeBand

AT = datetime(2025, 11, 1, tzinfo=UTC)
SHEET = (Path(__file__).parent / "data" / "rate_sheet.csv").read_bytes().decode("utf-8")
"""68 rows of the prices that Microsoft publishes for Azure Communication Services, of two dates side by side."""

NEW, OLD = "Price / min (USD, 2025-10-15)", "Price / min (USD, 2020-10-02)"
ROW: dict[str, object] = {"Prefix": "1425", "Price": "0.013", "Currency": "USD"}


def usd(amount: str) -> Money:
    return Money(amount, "USD")


def parsed(text: str) -> csv.DictReader[str]:
    return csv.DictReader(io.StringIO(text, newline=""))


def read(*rows: Mapping[Any, Any], **options: Any) -> RateCard:
    return RateCard.read_rows(rows, **options)


def refused(*rows: Any, **options: Any) -> RowError:
    with pytest.raises(RowError) as caught:
        read(*rows, **options)
    errors: list[RowError] = []
    read(*rows, on_error=errors.append, **{"currency": "USD"} | options)
    assert str(errors[0]) == str(caught.value)
    return caught.value


def only(*rows: Mapping[Any, Any], **options: Any) -> Rate:
    (rate,) = read(*rows, **options).rates
    return rate


# --- Microsoft's sheet


def test_a_published_sheet_is_read_without_being_told_anything() -> None:
    card = RateCard.read_rows(parsed(SHEET))
    assert card.currency == "USD"
    assert len(card.rates) == 67  # Israel is there twice
    london = card.rate_for("+442079460123", at=AT)
    assert (london.prefix, london.name, london.price_per_minute) == ("4420", "United Kingdom-London", usd("0.015"))
    assert card.rate("+447700900123", 61, at=AT).cost == usd("0.64")
    assert card.rate("+97221234567", 61, at=AT).cost == usd("0.04")


@pytest.mark.parametrize(
    ("number", "prefix"),
    [
        ("+14255550123", "1425"),
        ("+18005550123", "1800"),
        ("+12425550123", "1242"),
        ("+442079460123", "4420"),
        ("+441614960123", "44"),
        ("+447510123456", "447510"),
        ("+447700900123", "447"),
        ("+445001234567", "44500"),
        ("+551150201234", "55115020"),
        ("+551121234567", "55112"),
        ("+551151234567", "55"),
        ("+861012345678", "8610"),
    ],
)
def test_the_longest_of_the_sheets_overlapping_prefixes_wins(number: str, prefix: str) -> None:
    assert RateCard.read_rows(parsed(SHEET)).rate_for(number, at=AT).prefix == prefix


@pytest.mark.parametrize("number", ["+12065550123", "+74991234567", "+33423456789", "+5352123456"])
def test_a_sheet_without_the_root_of_a_country_has_no_rate_for_the_rest_of_it(number: str) -> None:
    with pytest.raises(NoRateError):
        RateCard.read_rows(parsed(SHEET)).rate_for(number, at=AT)


def test_the_older_prices_are_read_if_they_are_asked_for_and_rows_without_one_are_reported() -> None:
    errors: list[RowError] = []
    card = RateCard.read_rows(parsed(SHEET), columns={"price_per_minute": OLD}, on_error=errors.append)
    assert [(error.row_number, error.column, error.value) for error in errors] == [
        (9, OLD, ""),
        (10, OLD, ""),
        (11, OLD, ""),
    ]
    assert len(card.rates) == 64
    assert card.rate_for("+447510123456", at=AT).prefix == "44"


@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff "])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_line_ends_a_byte_order_mark_and_quotes_change_nothing(mark: str, line_end: str, quote: str) -> None:
    text = f"{quote}Prefix{quote},Price (USD)\n44,0.015\n447,0.32\n"
    card = RateCard.read_rows(parsed(mark + text.replace("\n", line_end)))
    assert {rate.prefix: rate.price_per_minute for rate in card.rates} == {"44": usd("0.015"), "447": usd("0.32")}


# --- columns


def test_all_columns_are_recognised() -> None:
    row = {
        "Destination": "Redmond",
        "Dial code": "+1425",
        "Rate per minute": "0.012",
        "Connection Fee": "0.01",
        "Initial increment": "30",
        "Increment": "6",
        "Free seconds": "5",
        "Minimum cost": "0.02",
        "Direction": "Inbound",
        "Effective from": "2025-01-01",
        "Effective until": "2026-01-01T00:00:00Z",
        "Currency": "USD",
        "Comment": "nobody reads this",
    }
    assert only(row) == Rate(
        "1425",
        usd("0.012"),
        connection_fee=usd("0.01"),
        initial_increment_seconds=30,
        increment_seconds=6,
        free_seconds=5,
        minimum_cost=usd("0.02"),
        direction="inbound",
        effective_from=datetime(2025, 1, 1, tzinfo=UTC),
        effective_until=datetime(2026, 1, 1, tzinfo=UTC),
        name="Redmond",
    )


@pytest.mark.parametrize("name", ["prefix", "PREFIX", " Prefix ", "Number-Prefix", "NumberPrefix", "Code", "Dial_code"])
def test_a_column_is_recognised_whatever_its_case_and_signs(name: str) -> None:
    assert only({name: "1425", "Price": "0.01"}, currency="USD").prefix == "1425"


def test_columns_may_be_named() -> None:
    row = {"Area": "1425", "Price": "1", "Peak": "0.02", "Prefix": "9"}
    rate = only(row, currency="USD", columns={"prefix": "area", "price_per_minute": " Peak"})
    assert (rate.prefix, rate.price_per_minute) == ("1425", usd("0.02"))


def test_a_byte_order_mark_hides_no_column_that_is_named() -> None:
    rows = list(parsed('\ufeff"Area",Price\n1425,0.01\nx,0.01\n'))
    assert only(rows[0], currency="USD", columns={"prefix": "Area"}).prefix == "1425"
    assert refused(rows[1], currency="USD", columns={"prefix": "Area"}).column == "Area"


def test_a_named_column_that_is_not_there_is_missing_in_every_row() -> None:
    error = refused(ROW, columns={"price_per_minute": "Peak"})
    assert (error.row_number, error.column, error.value) == (1, "Peak", None)
    assert only(ROW, columns={"connection_fee": "Fee"}).connection_fee == usd("0")


def test_the_latest_price_counts_and_the_one_in_the_cards_currency() -> None:
    dated = {"Prefix": "44", OLD: "0.02", NEW: "0.015"}
    assert only(dated).price_per_minute == usd("0.015")
    both = {"Prefix": "44", "Price (USD)": "0.015", "Price (GBP)": "0.012"}
    assert only(both, currency="GBP").price_per_minute == Money("0.012", "GBP")
    assert only(both, currency="USD").price_per_minute == usd("0.015")
    named = {"Prefix": "44", "Price": "0.02", "Price per minute": "0.015"}
    assert only(named, currency="USD").price_per_minute == usd("0.015")


def test_what_the_sheet_does_not_tell_stands_in_the_defaults() -> None:
    band = TimeBand(usd("0.02"), start=time(8), end=time(18))
    defaults = {"direction": "inbound", "increment_seconds": 1, "connection_fee": usd("0.01"), "time_bands": [band]}
    rate = only(ROW, defaults=defaults)
    assert (rate.direction, rate.increment_seconds, rate.connection_fee) == ("inbound", 1, usd("0.01"))
    assert rate.time_bands == (band,)
    told = only(ROW | {"Increment": "6", "Direction": "outbound"}, defaults=defaults)
    assert (told.direction, told.increment_seconds) == ("outbound", 6)
    assert only(ROW | {"Increment": "", "Direction": None}, defaults=defaults) == rate


@pytest.mark.parametrize(("text", "both"), [("60/60", (60, 60)), ("30/6", (30, 6)), (" 1 / 1 ", (1, 1))])
def test_both_increments_may_stand_in_one_cell(text: str, both: tuple[int, int]) -> None:
    rate = only(ROW | {"Billing increments": text})
    assert (rate.initial_increment_seconds, rate.increment_seconds) == both


@pytest.mark.parametrize(
    ("value", "exact"),
    [("0.013", "0.013"), (" 0.0130 ", "0.013"), (Decimal("0.013"), "0.013"), (0.013, "0.013"), (1, "1"), ("0", "0")],
)
def test_a_price_is_read_exactly(value: object, exact: str) -> None:
    assert only(ROW | {"Price": value}).price_per_minute == usd(exact)


def test_rows_may_come_from_json() -> None:
    rows = json.loads('[{"prefix": 44, "pricePerMinute": 0.015, "currency": "GBP", "freeSeconds": 5}]')
    assert only(*rows) == Rate("44", Money("0.015", "GBP"), free_seconds=5)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2025-01-01", datetime(2024, 12, 31, 23, tzinfo=UTC)),
        (date(2025, 1, 1), datetime(2024, 12, 31, 23, tzinfo=UTC)),
        (datetime(2025, 1, 1), datetime(2024, 12, 31, 23, tzinfo=UTC)),  # noqa: DTZ001
        ("2025-01-01T12:00:00", datetime(2025, 1, 1, 11, tzinfo=UTC)),
        ("2025-01-01T12:00:00Z", datetime(2025, 1, 1, 12, tzinfo=UTC)),
        (datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=-5))), datetime(2025, 1, 1, 5, tzinfo=UTC)),
        (" ", None),
        (None, None),
    ],
)
def test_a_date_without_an_offset_is_on_the_clock_of_the_card(value: object, instant: datetime | None) -> None:
    assert only(ROW | {"Effective date": value}, time_zone="Europe/Berlin").effective_from == instant


# --- currency


def test_the_currency_is_given_or_told_by_a_column_or_by_the_name_of_the_prices() -> None:
    assert read({"Prefix": "1", "Price": "1"}, currency="EUR").currency == "EUR"
    assert read({"Prefix": "1", "Price": "1", "Currency": "EUR"}).currency == "EUR"
    assert read({"Prefix": "1", "Price (per min, in EUR)": "1"}).currency == "EUR"


def test_a_sheet_that_tells_no_currency_is_refused() -> None:
    for rows in ([], [{"Prefix": "1", "Price": "1"}]):
        with pytest.raises(InvalidValueError) as caught:
            read(*rows)
        assert caught.value.parameter == "currency"
    assert read(currency="USD").rates == ()


def test_a_row_in_another_currency_is_refused() -> None:
    error = refused(ROW, ROW | {"Prefix": "44", "Currency": "GBP"})
    assert (error.row_number, error.column, error.value) == (2, "Currency", "GBP")
    with pytest.raises(RowError) as caught:
        read(ROW | {"Currency": "dollars"})
    assert (caught.value.column, caught.value.value) == ("Currency", "dollars")
    assert refused({"Prefix": "1", "Price": "1", "Currency": "EUR"}, currency="USD").value == "EUR"


# --- duplicates


def test_the_same_rate_twice_is_one_whatever_it_is_called() -> None:
    assert only(ROW, ROW | {"Destination": "Redmond"}).name == ""


@pytest.mark.parametrize("prefix", [-1, 10**15, 10**5000], ids=["negative", "long", "very long"])
def test_a_number_that_is_no_prefix_is_reported(prefix: int) -> None:
    error = refused({"prefix": prefix, "price": "0.01"}, currency="USD")
    assert (error.row_number, error.column, error.value) == (1, "prefix", prefix)
    assert error.why == "is not the digits of a prefix"


def test_another_rate_for_the_same_prefix_is_reported_with_both_rows() -> None:
    error = refused(ROW, ROW | {"Prefix": "44"}, ROW | {"Price": "0.02"})
    assert (error.row_number, error.column, error.value) == (3, "Prefix", "1425")
    assert "row 1" in str(error)
    errors: list[RowError] = []
    card = read(ROW, ROW | {"Price": "0.02"}, on_error=errors.append)
    assert [rate.price_per_minute for rate in card.rates] == [usd("0.013")]


def test_the_same_price_for_another_but_overlapping_time_is_no_duplicate_and_is_reported() -> None:
    error = refused(ROW, ROW | {"Effective from": "2025-01-01"})
    assert (error.row_number, error.column) == (2, "Prefix")


def test_rates_of_other_times_or_directions_are_no_duplicates() -> None:
    rows = [
        ROW | {"Effective until": "2025-01-01"},
        ROW | {"Effective from": "2025-01-01", "Price": "0.02"},
        ROW | {"Direction": "inbound", "Price": "0.03"},
    ]
    assert len(read(*rows).rates) == 3


# --- what cannot be read


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("Prefix", value) for value in ("", None, "x", "44-20", "44, 45", "1425.0", 44.0, True, "\uff14", "1" * 16)),
        *(("Price", value) for value in ("", None, "free", "$0.01", "0,01", "1e-2", "-0.01", float("nan"), True, [])),
        *(("Price", value) for value in ("0.0000000001", Decimal("Infinity"))),
        *(("Connection fee", value) for value in ("none", "-1", object())),
        *(("Minimum cost", value) for value in ("x", -1)),
        *(("Initial increment", value) for value in ("0", "1.5", "-60", "one", 0, True, 2.0, "99999999999")),
        *(("Increment", value) for value in ("0", "x")),
        *(("Increments", value) for value in ("60", "60/", "60/1/1", "60-1", 60)),
        *(("Increments", value) for value in ("0/60", "60/0")),
        *(("Free seconds", value) for value in ("-1", "x")),
        *(("Direction", value) for value in ("both", 1)),
        *(("Effective from", value) for value in ("soon", "01/02/2025", 2025, "9999-01-01")),
        *(("Destination", value) for value in (7, ["Redmond"])),
    ],
)
def test_a_value_that_cannot_be_read_is_reported_with_its_row_column_and_value(column: str, value: object) -> None:
    row = ROW | {column: value}
    error = refused(ROW, ROW, row)
    assert (error.row_number, error.value) == (3, value)
    assert error.column == column
    assert isinstance(error, CommCreditsError)


def test_a_rate_that_ends_before_it_begins_is_reported_by_its_end() -> None:
    error = refused(ROW | {"Effective from": "2025-01-02", "Effective until": "2025-01-01"})
    assert (error.column, error.value) == ("Effective until", "2025-01-01")


@pytest.mark.parametrize("column", ["Prefix", "Price"])
def test_a_sheet_without_a_needed_column_is_refused_at_its_first_row(column: str) -> None:
    row = {name: value for name, value in ROW.items() if name != column}
    error = refused(row)
    assert error.row_number == 1
    assert column.lower() in str(error.column).lower()
    assert error.why == "is missing"


@pytest.mark.parametrize("row", [None, "1425", ["1425", "0.01"], 7])
def test_a_row_that_is_no_mapping_is_refused(row: object) -> None:
    error = refused(ROW, row)
    assert (error.row_number, error.column, error.value) == (2, None, row)


def test_surplus_cells_are_refused_since_a_stray_comma_may_have_moved_the_price() -> None:
    error = refused(*parsed("Prefix,Price\n1425,0,013\n"), currency="USD")
    assert (error.row_number, error.column, error.value) == (1, None, ["013"])
    assert refused(ROW | {7: "x"}).value == "x"


@pytest.mark.parametrize("rows", ["rates.csv", b"rates.csv", {"Prefix": "1"}, None, 7])
def test_rows_that_are_a_path_or_one_row_are_refused(rows: Any) -> None:
    with pytest.raises(WrongTypeError) as caught:
        RateCard.read_rows(rows)
    assert caught.value.parameter == "rows"


@pytest.mark.parametrize(
    ("options", "error", "parameter"),
    [
        ({"columns": {"price": "Price"}}, InvalidValueError, "columns"),
        ({"columns": "Price"}, WrongTypeError, "columns"),
        ({"columns": {"price_per_minute": 3}}, WrongTypeError, "columns"),
        ({"defaults": {"prefix": "1"}}, InvalidValueError, "defaults"),
        ({"defaults": [1]}, WrongTypeError, "defaults"),
        ({"on_error": "skip"}, WrongTypeError, "on_error"),
        ({"currency": "XXY"}, InvalidValueError, "currency"),
        ({"time_zone": "Mars/Olympus"}, InvalidValueError, "time_zone"),
        ({"rounding_digits": 10}, InvalidValueError, "digits"),
        ({"increments": "relative"}, InvalidValueError, "increments"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], error: type[Exception], parameter: str
) -> None:
    with pytest.raises(error) as caught:
        read(ROW, **options)
    assert caught.value.parameter == parameter  # type: ignore[attr-defined]


def test_the_other_arguments_are_those_of_the_card() -> None:
    card = read(ROW, name="2025", rounding_digits=2, increments="absolute", bands="start", short_codes="refused")
    assert (card.name, card.rounding_digits, card.increments, card.bands, card.short_codes) == (
        "2025",
        2,
        "absolute",
        "start",
        "refused",
    )


def test_what_the_source_of_rows_or_on_error_raises_passes_through() -> None:
    def broken() -> Iterator[dict[str, object]]:
        yield ROW
        raise csv.Error("line contains NUL")

    errors: list[RowError] = []
    with pytest.raises(csv.Error):
        RateCard.read_rows(broken(), on_error=errors.append)

    class EnoughError(Exception):
        pass

    def give_up(error: RowError) -> None:
        raise EnoughError from error

    with pytest.raises(EnoughError):
        read(ROW | {"Price": "x"}, on_error=give_up)


anything: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=8) | st.datetimes()
    | st.dates() | st.binary(max_size=3) | st.lists(st.integers(), max_size=2)
)  # fmt: skip
names = st.sampled_from(
    [*ROW, "Connection fee", "Increment", "Increments", "Free seconds", "Direction", "Effective from", "Destination"]
)


@given(st.lists(st.dictionaries(names, anything, max_size=4).map(lambda change: ROW | change) | anything, max_size=4))
def test_whatever_the_rows_hold_each_gives_a_rate_or_an_error_or_is_there_already(rows: list[Any]) -> None:
    errors: list[RowError] = []
    card = RateCard.read_rows(rows, currency="USD", on_error=errors.append)
    assert len({error.row_number for error in errors}) == len(errors)
    assert len(card.rates) + len(errors) <= len(rows)
    assert (len(card.rates) > 0) == (len(rows) > len(errors))
