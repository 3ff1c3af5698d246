"""Rules of reading PSTN usage reports."""

from __future__ import annotations

import csv
import io
import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits.errors import CommCreditsError, WrongTypeError
from commcredits.money import Money
from commcredits.telephony import CallRecord, RowError, read_pstn_rows

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "docs" / "examples" / "data"

EXPORT_ROW: dict[str, object] = {
    "UsageId": "87890755-8de6-5068-a13f-9558b89500a5",
    "Call ID": "2169857713_000000130@203.0.113.28",
    "Conference ID": "",
    "User Location": "GB",
    "Microsoft Entra ObjectId": "7546d2b5-26a2-53c1-a121-492044bd54b1",
    "UPN": "tom.hughes@contoso.com",
    "User Display Name": "Tom Hughes",
    "Caller ID": "+442079460101",
    "Call Type": "user_out",
    "Call Direction": "Outbound",
    "Number Type": "Subscriber",
    "Domestic/International": "Domestic",
    "Destination Dialed": "United Kingdom",
    "Destination Number": "+448441234567",
    "External Country": "GB",
    "Start Time": "2024-01-23T10:00:00.2589935Z",
    "End Time": "2024-01-23T10:02:10.2589935Z",
    "Duration Seconds": "130",
    "Connection Fee": "0.05",
    "Charge": "0.26",
    "Currency": "GBP",
    "Capability": "MCOPSTNPP",
    "Operator": "Microsoft",
    "Source of Call Duration": "microsoft",
    "Administrative Units": "",
}
RECORD = CallRecord(
    record_id="87890755-8de6-5068-a13f-9558b89500a5",
    call_id="2169857713_000000130@203.0.113.28",
    usage_country="GB",
    user_id="7546d2b5-26a2-53c1-a121-492044bd54b1",
    user_principal_name="tom.hughes@contoso.com",
    user_display_name="Tom Hughes",
    caller_number="+442079460101",
    call_type="user_out",
    call_direction="Outbound",
    number_type="Subscriber",
    destination_context="Domestic",
    destination_name="United Kingdom",
    callee_number="+448441234567",
    started_at=datetime(2024, 1, 23, 10, 0, 0, 258993, tzinfo=UTC),
    ended_at=datetime(2024, 1, 23, 10, 2, 10, 258993, tzinfo=UTC),
    duration_seconds=130,
    connection_fee=Money("0.05", "GBP"),
    charge=Money("0.26", "GBP"),
    capability="MCOPSTNPP",
    operator="Microsoft",
    extra={"External Country": "GB", "Source of Call Duration": "microsoft", "Administrative Units": ""},
)
GRAPH_ROW: dict[str, object] = {
    "id": "a",
    "startDateTime": "2024-01-23T10:00:00Z",
    "duration": 130,
    "charge": 0.26,
    "currency": "GBP",
    "licenseCapability": "MCOPSTNPP",
}
# Of each column that must be there: its name in the export, and in Graph's rows.
REQUIRED = [
    ("UsageId", "id"),
    ("Start Time", "startDateTime"),
    ("Duration Seconds", "duration"),
    ("Charge", "charge"),
    ("Currency", "currency"),
]
COLUMNS_ADDED_SINCE_2020 = [
    "Call Direction",
    "External Country",
    "Operator",
    "Source of Call Duration",
    "Administrative Units",
]


def export_rows(name: str = "pstn_usage_sample.csv") -> list[dict[str, str]]:
    with (EXAMPLES / name).open(encoding="utf-8", newline="") as file:  # utf-8 keeps the byte order mark
        return list(csv.DictReader(file))


def graph_rows(number: type[float | Decimal] = float) -> list[dict[str, object]]:
    text = (HERE / "data" / "pstn_call_log_rows.json").read_text(encoding="utf-8")
    return list(json.loads(text, parse_float=number)["value"])


def read(*rows: object) -> list[CallRecord]:
    return list(read_pstn_rows(cast("tuple[dict[str, object], ...]", rows)))


def refused(*rows: object) -> RowError:
    with pytest.raises(RowError) as caught:
        read(*rows)
    return caught.value


def export_row(**changes: object) -> dict[str, object]:
    """The export row, with some columns changed; underscores stand for spaces in their names."""
    return EXPORT_ROW | {name.replace("_", " "): value for name, value in changes.items()}


def test_every_column_of_the_export_lands_in_its_field() -> None:
    assert read(EXPORT_ROW) == [RECORD]


def test_the_sample_reads_the_same_as_export_and_as_graph_rows_of_either_number_type() -> None:
    def common(record: CallRecord) -> CallRecord:
        return attrs.evolve(record, call_direction="", extra={})

    exported = [common(record) for record in read(*export_rows())]
    assert len(exported) == 36
    assert exported == [common(record) for record in read(*graph_rows())]
    assert exported == [common(record) for record in read(*graph_rows(Decimal))]


def test_the_older_export_reads_the_same_less_the_columns_it_lacks() -> None:
    rows = export_rows()
    older = []
    for row in rows:
        kept = {name: value for name, value in row.items() if name not in COLUMNS_ADDED_SINCE_2020}
        older.append({name.replace("Microsoft Entra", "AAD"): value for name, value in kept.items()})
    assert len(older[0]) == 20
    expected = [attrs.evolve(record, call_direction="", operator="", extra={}) for record in read(*rows)]
    assert read(*older) == expected


def test_rows_of_all_forms_may_follow_one_another() -> None:
    rows = [row for pair in zip(export_rows(), graph_rows(), strict=True) for row in pair]
    records = read(*rows)
    assert [record.record_id for record in records[::2]] == [record.record_id for record in records[1::2]]


def test_columns_that_no_field_is_for_are_kept_untouched() -> None:
    exported, graphed = read(*export_rows()), read(*graph_rows())
    assert set(exported[-1].extra) == {"External Country", "Source of Call Duration", "Administrative Units"}
    assert dict(graphed[-1].extra) == {
        "tenantCountryCode": "US",
        "callDurationSource": "microsoft",
        "otherPartyCountryCode": "BS",
        "administrativeUnitInfos": [{"id": "639b616c-f164-4a6f-a933-24936b8eb210"}],
    }
    assert read(export_row(Operator_Note=" x ", Fee=None))[0].extra["Operator Note"] == " x "


def test_the_sample_costs_what_its_text_adds_up_to() -> None:
    cents: Counter[str] = Counter()
    for row in export_rows():
        cents[row["Currency"]] += int(row["Charge"].replace(".", "")) + int(row["Connection Fee"].replace(".", ""))
    for currency in cents:
        costs = [record.cost for record in read(*export_rows()) if record.charge.currency == currency]
        assert Money.total(costs, currency) == Money(Decimal(cents[currency]).scaleb(-2), currency)


def test_the_month_of_usage_shipped_with_the_examples_reads_whole() -> None:
    records = read(*export_rows("pstn_usage_export.csv"))
    paid = [record.cost for record in records if record.uses_credits and record.charge.currency == "USD"]
    assert (len(records), len(paid)) == (620, 394)
    assert Money.total(paid, "USD") == Money("336.05", "USD")
    assert len({record.record_id for record in records}) == len(records)
    assert [record.started_at for record in records] == sorted(record.started_at for record in records)
    sample = read(*export_rows())
    assert [record for record in records if record in sample] == sorted(sample, key=lambda call: call.started_at)


@pytest.mark.parametrize("missing", ["absent", None, "", "  ", "no data", "No Data"])
def test_missing_text_and_fee_and_end_are_tolerated(missing: str | None) -> None:
    required = {name for name, _ in REQUIRED}
    row = {name: value if name in required else missing for name, value in EXPORT_ROW.items()}
    if missing == "absent":
        row = {name: value for name, value in row.items() if name in required}
    (record,) = read(row)
    bare = CallRecord(
        record_id=RECORD.record_id,
        started_at=RECORD.started_at,
        duration_seconds=RECORD.duration_seconds,
        charge=RECORD.charge,
    )
    assert attrs.evolve(record, extra={}) == bare
    assert record.connection_fee == Money(0, "GBP")
    assert record.ended_at is None
    assert not record.uses_credits


@pytest.mark.parametrize("missing", [None, "", "  ", "no data"])
@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("names", REQUIRED)
def test_a_required_value_that_is_missing_is_refused_by_its_column(
    names: tuple[str, str], form: int, missing: str | None
) -> None:
    row = (EXPORT_ROW, GRAPH_ROW)[form]
    error = refused(row, row | {names[form]: missing})
    assert (error.row_number, error.column, error.value) == (2, names[form], missing)
    without = {name: value for name, value in row.items() if name != names[form]}
    error = refused(row, without)
    assert (error.row_number, error.column, error.value) == (2, names[form], None)


HUGE = 10**5000  # Python refuses to write this one out
NOT_MONEY = [
    *["abc", "1,234.56", "1e-5", "0,03", "--1", "$1", "0x10", "\uff11.\uff15", "\u0663", "0.0000000001", "9" * 5000],
    *["NaN", "Infinity", float("nan"), float("inf"), float("-inf"), 0.1 + 0.2, 1e-10, 1e300],
    *[Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), Decimal("1E-10")],
    *[Decimal("1E+999999"), Decimal("1E-999999"), HUGE, True, [1], {"value": 1}, b"1", (), 1 + 0j],
]
NOT_A_DURATION = [
    *["abc", "-1", "+1", "1.5", "61.0", "1e3", "\uff16\uff11", "\u00b2", "9" * 5000, "2147483648"],
    *["1:30", "00:60:00", "00:00:60", "1:2:3", "00:00:00:00", "-00:00:01", "99999999:00:00", "999999:00:00"],
    *["00:01:30\n1", -1, 2**31, HUGE, -HUGE, True, 1.5, 61.0, float("nan"), Decimal(61), [61], {}, b"61"],
]
NOT_A_TIME = [
    *["yesterday", "2024-01-15", "20240115T140211Z", "1/15/2024 2:02:11 PM", "2024-01-15T", "2024-01-15T\ud800"],
    *["2024-13-01T00:00:00Z", "2024-02-30T00:00:00Z", "2024-01-15T25:00:00Z", "2024-01-15T14:02:60Z"],
    *["2024-01-15T14:02:11+99:00", "\uff12\uff10\uff12\uff14-01-15T14:02:11Z", "2024-01-15T14:02:11Z" * 1000],
    *["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 1705327331, 1705327331.5, True],
    *[datetime(2024, 1, 15, tzinfo=UTC), ["2024-01-15T14:02:11Z"], {}, b"2024-01-15T14:02:11Z"],
]
NOT_A_CURRENCY = [
    *["usd", "US", "USDX", "XYZ", "$", "\uff35\uff33\uff24", "\ud800", "840"],
    *[840, True, ["USD"], {}, b"USD", float("nan")],
]
NOT_TEXT = [7, 7.5, True, float("nan"), ["x"], {"id": "x"}, b"x", Decimal(7)]
PARSED = {"Start Time", "End Time", "Duration Seconds", "Connection Fee", "Charge", "Currency"}


@pytest.mark.parametrize(
    ("column", "value"),
    [(column, value) for column in ("Charge", "Connection Fee") for value in NOT_MONEY]
    + [("Duration Seconds", value) for value in NOT_A_DURATION]
    + [(column, value) for column in ("Start Time", "End Time") for value in NOT_A_TIME]
    + [("Currency", value) for value in NOT_A_CURRENCY]
    + [(column, value) for column in EXPORT_ROW if column not in {*PARSED, *RECORD.extra} for value in NOT_TEXT],
    ids=lambda value: ascii(value)[:30] if not isinstance(value, int) else f"int of {value.bit_length()} bits",
)
def test_a_value_that_cannot_be_read_is_refused_with_its_number_column_and_value(column: str, value: object) -> None:
    error = refused(EXPORT_ROW, EXPORT_ROW, EXPORT_ROW | {column: value})
    assert (error.row_number, error.column) == (3, column)
    assert error.value is value
    assert isinstance(error, ValueError)
    assert isinstance(error, CommCreditsError)
    assert "row 3" in str(error)
    assert column in str(error)
    assert len(str(error)) < 600


def test_a_refused_row_names_the_column_as_the_row_does_less_marks_and_spaces() -> None:
    assert refused(GRAPH_ROW | {"charge": "x"}).column == "charge"
    assert refused(GRAPH_ROW | {"endDateTime": "x"}).column == "endDateTime"
    spaced = {f"\ufeff  {name} ": value for name, value in EXPORT_ROW.items()}
    assert refused(spaced | {"\ufeff  Charge ": "x"}).column == "Charge"
    assert refused({name.upper(): value for name, value in EXPORT_ROW.items()} | {"CHARGE": "x"}).column == "CHARGE"
    old = {name.replace("Microsoft Entra", "AAD"): value for name, value in EXPORT_ROW.items()}
    assert refused(old | {"AAD ObjectId": 7}).column == "AAD ObjectId"


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        ("0.03", "0.03"),
        (" 1.50 ", "1.5"),
        ("0.123456789", "0.123456789"),
        ("0.1000000000", "0.1"),
        ("-0.26", "-0.26"),
        (0.03, "0.03"),
        (0.1, "0.1"),
        (37.0, "37"),
        (1e-05, "0.00001"),
        (1e-09, "0.000000001"),
        (1e16, "10000000000000000"),
        (123456.789, "123456.789"),
        (Decimal("0.030"), "0.03"),
        (Decimal("1E-5"), "0.00001"),
        (Decimal("2E+2"), "200"),
        (0, "0"),
        (5, "5"),
        ("5", "5"),
    ],
)
def test_money_is_read_exactly_from_text_decimal_int_and_the_shortest_text_of_a_float(
    value: object, exact: str
) -> None:
    (record,) = read(export_row(Charge=value, Connection_Fee=value))
    assert record.charge == Money(exact, "GBP")
    assert record.connection_fee == Money(exact, "GBP")


class _OddFloat(float):
    def __repr__(self) -> str:
        return f"OddFloat({float(self)})"


def test_a_float_is_read_by_its_number_even_if_its_type_writes_itself_otherwise() -> None:
    assert read(export_row(Charge=_OddFloat(0.03)))[0].charge == Money("0.03", "GBP")


@given(st.lists(st.integers(0, 10**8), max_size=20), st.sampled_from(["text", "float", "decimal"]))
def test_any_cents_in_any_form_add_up_exactly(cents: list[int], form: str) -> None:
    texts = [f"{each // 100}.{each % 100:02d}" for each in cents]
    convert: Any = {"text": str, "float": float, "decimal": Decimal}[form]
    records = read(*(GRAPH_ROW | {"charge": convert(text), "connectionCharge": convert("0.05")} for text in texts))
    total = Money.total((record.cost for record in records), "GBP")
    assert total == Money.from_minor(sum(cents) + 5 * len(cents), "GBP")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-15T14:02:11.2589935Z", datetime(2024, 1, 15, 14, 2, 11, 258993, tzinfo=UTC)),
        ("2024-01-15T14:02:11.9999999Z", datetime(2024, 1, 15, 14, 2, 11, 999999, tzinfo=UTC)),
        ("2024-02-03T10:00:00Z", datetime(2024, 2, 3, 10, tzinfo=UTC)),
        ("2024-02-03T10:00:00.5+00:00", datetime(2024, 2, 3, 10, 0, 0, 500000, tzinfo=UTC)),
        ("2024-02-03T01:30:00+02:00", datetime(2024, 2, 2, 23, 30, tzinfo=UTC)),
        ("2024-02-03T10:00:00.2589935", datetime(2024, 2, 3, 10, 0, 0, 258993, tzinfo=UTC)),
        (" 2024-02-03 10:00 ", datetime(2024, 2, 3, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read_to_the_microsecond_and_are_utc_unless_they_say_otherwise(text: str, instant: datetime) -> None:
    (record,) = read(export_row(Start_Time=text, End_Time=text))
    assert (record.started_at, record.ended_at) == (instant, instant)
    assert record.started_at.tzinfo is UTC


@pytest.fixture
def clock_of_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("clock_of_tokyo")
def test_a_time_without_an_offset_is_utc_wherever_it_is_read() -> None:
    assert read(export_row(Start_Time="2024-02-03T10:00:00"))[0].started_at == datetime(2024, 2, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("007", 7),
        (" 61 ", 61),
        (0, 0),
        (219, 219),
        ("00:01:01", 61),
        ("1:00:05", 3605),
        ("100:00:00", 360_000),
        ("2147483647", 2**31 - 1),
        (2**31 - 1, 2**31 - 1),
    ],
)
def test_durations_are_whole_seconds_or_hours_minutes_and_seconds(value: object, seconds: int) -> None:
    assert read(export_row(Duration_Seconds=value))[0].duration_seconds == seconds


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff ", " \ufeff", ""])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_byte_order_mark_before_the_header_is_ignored_even_before_a_quote(mark: str, quote: str) -> None:
    header = ",".join(f"{quote}{name}{quote}" for name in EXPORT_ROW)
    text = mark + header + "\r\n" + ",".join(map(str, EXPORT_ROW.values())) + "\r\n"
    assert read(*csv.DictReader(io.StringIO(text, newline=""))) == [RECORD]


ALIASES = {
    "Conference ID": ["ConfID"],
    "Microsoft Entra ObjectId": ["AAD ObjectId", "userId"],
    "UPN": ["User ID", "Username", "userPrincipalName"],
    "User Display Name": ["Display name", "userDisplayName"],
    "Caller ID": ["Called from", "callerNumber"],
    "Destination Dialed": ["To country or region", "destinationName"],
    "Destination Number": ["Called to", "Phone number", "calleeNumber"],
    "Start Time": ["Time stamp (UTC)", "Start Time (UTC)", "startDateTime"],
    "End Time": ["endDateTime"],
    "Duration Seconds": ["Duration"],
    "UsageId": ["id"],
    "Call ID": ["callId"],
    "User Location": ["usageCountryCode"],
    "Call Type": ["callType"],
    "Number Type": ["inventoryType"],
    "Domestic/International": ["destinationContext"],
    "Connection Fee": ["connectionCharge"],
    "Capability": ["licenseCapability"],
}


@pytest.mark.parametrize(("name", "alias"), [(name, alias) for name, some in ALIASES.items() for alias in some])
def test_each_alias_of_a_column_is_read_like_it(name: str, alias: str) -> None:
    row = {alias if key == name else key: value for key, value in EXPORT_ROW.items()}
    assert read(row) == [RECORD]


@st.composite
def disguised(draw: st.DrawFn, row: Mapping[str, object]) -> dict[str, object]:
    """The row with its columns in another order, under other names and spellings, and with columns nobody knows."""
    renamed: dict[str, object] = {}
    for name, value in row.items():
        alias = draw(st.sampled_from([name, *ALIASES.get(name, [])]))
        spelling = draw(st.sampled_from([alias, alias.upper(), alias.lower()])) if name not in RECORD.extra else alias
        spaces = st.text(" \t\u00a0", max_size=2)
        renamed[draw(st.sampled_from(["", "\ufeff"])) + draw(spaces) + spelling + draw(spaces)] = value
    unknown = st.dictionaries(st.text("xyzäß_-", min_size=3, max_size=5), st.text(max_size=3), max_size=3)
    items = draw(st.permutations(list((renamed | draw(unknown)).items())))
    return dict(items)


@given(disguised(EXPORT_ROW))
def test_a_row_survives_column_order_aliases_letter_case_unknown_columns_and_marks(row: dict[str, object]) -> None:
    (record,) = read(row)
    assert attrs.evolve(record, extra=RECORD.extra) == RECORD
    assert len(record.extra) == len(row) - len(EXPORT_ROW) + len(RECORD.extra)
    assert RECORD.extra.items() <= record.extra.items()


def test_of_two_names_for_one_field_the_exports_own_wins_and_the_other_is_extra() -> None:
    (record,) = read(export_row(Username="someone.else@contoso.com", Duration="7"))
    assert (record.user_principal_name, record.duration_seconds) == ("tom.hughes@contoso.com", 130)
    assert (record.extra["Username"], record.extra["Duration"]) == ("someone.else@contoso.com", "7")


@pytest.mark.parametrize("twin", ["charge", " Charge", "CHARGE ", "\ufeffCharge"])
def test_two_columns_of_one_name_are_refused(twin: str) -> None:
    error = refused(EXPORT_ROW, EXPORT_ROW | {twin: "9.99"})
    assert (error.row_number, error.column, error.value) == (2, twin.strip("\ufeff "), "9.99")


def test_two_unknown_columns_of_one_name_are_refused_but_differ_by_letter_case() -> None:
    assert refused(export_row(Note="a") | {"Note ": "b"}).value == "b"
    assert dict(read(export_row(Note="a", note="b"))[0].extra).items() >= {"Note": "a", "note": "b"}.items()


@pytest.mark.parametrize("surplus", [["x"], [""], ["a", "b"]])
def test_surplus_cells_are_refused_since_a_stray_comma_may_have_moved_the_charge(surplus: list[str]) -> None:
    text = ",".join(EXPORT_ROW) + "\n" + ",".join([*map(str, EXPORT_ROW.values()), *surplus]) + "\n"
    error = refused(*csv.DictReader(io.StringIO(text)))
    assert (error.row_number, error.column, error.value) == (1, None, surplus)


def test_a_row_that_is_cut_short_is_refused_for_the_first_required_value_it_lost() -> None:
    text = ",".join(EXPORT_ROW) + "\n" + ",".join(map(str, list(EXPORT_ROW.values())[:19])) + "\n"
    error = refused(*csv.DictReader(io.StringIO(text)))
    assert (error.row_number, error.column, error.value) == (1, "Currency", None)


@pytest.mark.parametrize("key", [7, 1.5, b"Charge", ("Charge",), float("nan")])
def test_a_column_name_that_is_not_text_is_refused(key: object) -> None:
    error = refused(dict([*EXPORT_ROW.items(), (key, "x")]))
    assert (error.row_number, error.column, error.value) == (1, None, "x")


@pytest.mark.parametrize("row", [["a", "b"], "row", None, 7, ("UsageId", "a"), {"UsageId"}])
def test_a_row_that_is_no_mapping_is_refused_whole(row: object) -> None:
    error = refused(EXPORT_ROW, row)
    assert (error.row_number, error.column, error.value) == (2, None, row)


def test_a_bad_row_ends_the_reading_after_the_rows_before_it() -> None:
    reading = read_pstn_rows([EXPORT_ROW, export_row(Charge="x"), EXPORT_ROW])
    assert next(reading) == RECORD
    with pytest.raises(RowError):
        next(reading)
    assert list(reading) == []


def test_with_on_error_each_bad_row_is_handed_over_and_reading_goes_on() -> None:
    errors: list[RowError] = []
    rows: Any = [export_row(UsageId="a"), None, export_row(Charge="x"), export_row(UsageId="b"), export_row(UsageId="")]
    records = list(read_pstn_rows(rows, on_error=errors.append))
    assert [record.record_id for record in records] == ["a", "b"]
    assert [(error.row_number, error.column, error.value) for error in errors] == [
        (2, None, None),
        (3, "Charge", "x"),
        (5, "UsageId", ""),
    ]


def test_what_on_error_raises_passes_through() -> None:
    class EnoughError(Exception):
        pass

    def give_up(error: RowError) -> None:
        raise EnoughError from error

    with pytest.raises(EnoughError):
        list(read_pstn_rows([export_row(Charge="x")], on_error=give_up))


def test_what_the_source_of_rows_raises_passes_through_even_with_on_error() -> None:
    def broken() -> Iterator[dict[str, object]]:
        yield EXPORT_ROW
        raise csv.Error("line contains NUL")

    errors: list[RowError] = []
    with pytest.raises(csv.Error):
        list(read_pstn_rows(broken(), on_error=errors.append))
    assert errors == []


def test_rows_are_taken_one_at_a_time_as_records_are_wanted() -> None:
    taken = 0

    def endless() -> Iterator[dict[str, object]]:
        nonlocal taken
        while True:
            taken += 1
            yield EXPORT_ROW

    reading = read_pstn_rows(endless())
    assert taken == 0
    next(reading)
    next(reading)
    assert taken == 2


def test_a_row_that_comes_twice_is_yielded_twice_under_one_id() -> None:
    assert read(EXPORT_ROW, EXPORT_ROW) == [RECORD, RECORD]


@pytest.mark.parametrize("rows", ["usage.csv", b"usage.csv", {"value": [EXPORT_ROW]}, None, 7, Path("usage.csv")])
def test_rows_that_are_a_path_or_a_whole_response_are_refused_at_once(rows: object) -> None:
    with pytest.raises(WrongTypeError) as caught:
        read_pstn_rows(rows)  # type: ignore[arg-type]
    assert (caught.value.parameter, caught.value.value) == ("rows", rows)


def test_an_on_error_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(WrongTypeError) as caught:
        read_pstn_rows([], on_error="skip")  # type: ignore[arg-type]
    assert (caught.value.parameter, caught.value.value) == ("on_error", "skip")


def test_a_row_error_survives_pickling() -> None:
    error = refused(export_row(Charge="x"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), again.row_number, again.column, again.value, again.why) == (
        RowError,
        1,
        "Charge",
        "x",
        error.why,
    )
    assert str(again) == str(error)


def test_a_row_error_is_made_of_number_column_and_value() -> None:
    error = RowError(3, "Charge", "x")
    assert (error.row_number, error.column, error.value) == (3, "Charge", "x")
    assert str(error).startswith("row 3, column 'Charge': 'x'")


anything: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats()
    | st.decimals(allow_nan=True)
    | st.text()
    | st.text("0123456789.-+eE:TZ \uff10\u0663,_", max_size=25)
    | st.binary()
    | st.datetimes().map(datetime.isoformat)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def hostile_rows(draw: st.DrawFn) -> object:
    row = draw(st.sampled_from([EXPORT_ROW, GRAPH_ROW]))
    return row | draw(st.dictionaries(st.sampled_from([*row, "connectionCharge", "?"]), anything, max_size=3))


@given(st.lists(hostile_rows() | anything, max_size=3))
def test_whatever_the_rows_hold_each_gives_one_record_or_one_row_error(rows: list[Any]) -> None:
    errors: list[RowError] = []
    records = list(read_pstn_rows(rows, on_error=errors.append))
    assert len(records) + len(errors) == len(rows)
    for error in errors:
        row = rows[error.row_number - 1]
        assert error.value is row or error.value is None or any(error.value is value for value in row.values())
        str(error)


def test_importing_telephony_loads_nothing_that_opens_files_or_connections() -> None:
    program = "import sys, commcredits.telephony; print(*sys.modules)"
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=path)
    loaded = set(done.stdout.split())
    assert "commcredits.telephony.pstn" in loaded
    assert not loaded & {"asyncio", "csv", "phonenumbers", "rich", "socket", "sqlite3", "uuid"}
