"""The forms of usage reports beyond the export: admin centers' tables, Skype's; and rows written from records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits.currencies import MINOR_DIGITS
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.telephony import PSTN_COLUMNS, CallRecord, RowError, read_pstn_rows, write_pstn_rows

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "docs" / "examples" / "data"

# A row of the report of Skype for Business Online: 15 columns, none of them an id of the row.
SKYPE_ROW: dict[str, object] = {
    "Call ID": "2169857713_000000130@203.0.113.28",
    "User ID": "tom.hughes@contoso.com",
    "Phone number": "+448441234567",
    "User location": "GB",
    "Caller ID": "+442079460101",
    "Call type": "user_out",
    "Domestic/International": "Domestic",
    "Destination dialed": "United Kingdom",
    "Number type": "Subscriber",
    "Start Time (UTC)": "2018-01-23 10:00:05",
    "Duration": "00:02:10",
    "ConfID": "no data",
    "Charge": "0.26",
    "Currency": "GBP",
    "Capability": "MCOPSTNPP",
}
SKYPE_RECORD = CallRecord(
    record_id="2169857713_000000130@203.0.113.28/2018-01-23T10:00:05.0000000Z/+442079460101/+448441234567",
    call_id="2169857713_000000130@203.0.113.28",
    started_at=datetime(2018, 1, 23, 10, 0, 5, tzinfo=UTC),
    duration_seconds=130,
    charge=Money("0.26", "GBP"),
    user_principal_name="tom.hughes@contoso.com",
    callee_number="+448441234567",
    caller_number="+442079460101",
    usage_country="GB",
    call_type="user_out",
    destination_context="Domestic",
    destination_name="United Kingdom",
    number_type="Subscriber",
    capability="MCOPSTNPP",
)


def read(*rows: object, **options: Any) -> list[CallRecord]:
    return list(read_pstn_rows(cast("tuple[dict[str, object], ...]", rows), **options))


def refused(*rows: object) -> RowError:
    with pytest.raises(RowError) as caught:
        read(*rows)
    return caught.value


def export_rows(name: str = "pstn_usage_sample.csv") -> list[dict[str, str]]:
    with (EXAMPLES / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def graph_rows() -> list[dict[str, object]]:
    return list(json.loads((HERE / "data" / "pstn_call_log_rows.json").read_text(encoding="utf-8"))["value"])


# --- tables without ids


def test_a_row_of_skypes_report_is_read_and_named_by_what_it_tells() -> None:
    assert read(SKYPE_ROW) == [SKYPE_RECORD]


@pytest.mark.parametrize(
    "change",
    [
        {"Call ID": "other"},
        {"Start Time (UTC)": "2018-01-23 10:00:06"},
        {"Caller ID": "+442079460102"},
        {"Phone number": "+448441234568"},
    ],
)
def test_the_legs_of_one_call_have_names_of_their_own(change: dict[str, object]) -> None:
    first, again, other = read(SKYPE_ROW, SKYPE_ROW, SKYPE_ROW | change)
    assert first.record_id == again.record_id != other.record_id


def test_a_row_of_the_teams_admin_center_is_read_and_named_in_the_same_way() -> None:
    names = {
        "Start Time (UTC)": "Time stamp (UTC)",
        "User ID": "Username",
        "Phone number": "Called to",
        "Caller ID": "Called from",
        "Destination dialed": "To country or region",
        "ConfID": "Conference ID",
        "Duration": "Duration",
    }
    row = {names.get(name, name): value for name, value in SKYPE_ROW.items() if name != "User location"}
    more = {"Phone number": "+442079460101", "From country or region": "United Kingdom", "Display name": "Tom Hughes"}
    (record,) = read(row | more)
    assert attrs.evolve(record, extra={}) == attrs.evolve(
        SKYPE_RECORD, usage_country="", user_display_name="Tom Hughes"
    )
    assert dict(record.extra) == {"Phone number": "+442079460101", "From country or region": "United Kingdom"}


def test_a_row_of_skypes_cmdlet_is_read() -> None:
    row = {
        "SipUri": "sip:tom.hughes@contoso.com",
        "DateTimeOfCall": "2018-01-23T10:00:05",
        "TelephoneNumber": "+448441234567",
        "CallID": "7",
        "CallType": "user_out",
        "Location": "GB",
        "CallDuration": "00:02:10",
        "Currency": "GBP",
        "CallCharge": "0.26",
    }
    (record,) = read(row)
    assert record.record_id == "7/2018-01-23T10:00:05.0000000Z//+448441234567"
    assert (record.duration_seconds, record.charge) == (130, Money("0.26", "GBP"))
    assert record.user_principal_name == "sip:tom.hughes@contoso.com"
    assert dict(record.extra) == {"Location": "GB"}


def test_a_row_that_has_an_id_is_named_by_it_whatever_its_start_is_called() -> None:
    assert read(SKYPE_ROW | {"UsageId": "a"})[0].record_id == "a"


@pytest.mark.parametrize("column", ["Call ID", "Start Time (UTC)", "Duration", "Charge", "Currency"])
def test_what_a_table_must_have_is_refused_by_its_column_when_missing(column: str) -> None:
    error = refused(SKYPE_ROW, SKYPE_ROW | {column: "no data"})
    assert (error.row_number, error.column, error.value) == (2, column, "no data")


# --- the two wordings of the caller's number


def test_who_called_is_not_told_where_the_callers_number_is_said_to_be_the_one_that_was_called() -> None:
    row = export_rows()[2]
    (record,) = read(row)
    assert (record.caller_number, record.callee_number) == ("+14255550101", "+12065550188")
    (record,) = read(row | {"Caller ID": "+12065550188"}, caller_number="callee")
    assert (record.caller_number, record.callee_number) == ("", "+12065550188")
    assert record.extra["Caller ID"] == "+12065550188"


@pytest.mark.parametrize("name", ["Caller ID", "callerNumber", "Called from"])
def test_the_callers_number_is_the_callees_where_that_is_asked_for_and_there_is_no_other(name: str) -> None:
    row = {column: value for column, value in export_rows()[2].items() if column != "Destination Number"}
    value = row.pop("Caller ID")
    (record,) = read(row | {name: value}, caller_number="callee")
    assert (record.caller_number, record.callee_number) == ("", "+14255550101")
    assert name not in record.extra


@pytest.mark.parametrize("wrong", ["called", "", None, True])
def test_another_wording_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        read_pstn_rows([], caller_number=wrong)
    assert (caught.value.parameter, caught.value.value) == ("caller_number", wrong)


def test_columns_that_are_null_are_in_no_record() -> None:
    row = export_rows()[0] | {"Note": None, "External Country": None}
    assert read(row)[0].extra.keys() == {"Source of Call Duration", "Administrative Units"}


# --- writing


@pytest.mark.parametrize("rows", [export_rows(), export_rows("pstn_usage_export.csv"), graph_rows(), [SKYPE_ROW]])
def test_records_that_were_read_are_written_and_read_again_as_they_were(rows: list[dict[str, object]]) -> None:
    records = read(*rows)
    assert read(*write_pstn_rows(records)) == records


def test_what_is_written_of_an_export_is_the_export_less_the_seventh_digit_of_its_seconds() -> None:
    def cut(row: dict[str, Any]) -> dict[str, Any]:
        times = {name: row[name].removesuffix("Z")[:26].removesuffix(".000000") for name in ("Start Time", "End Time")}
        return row | times

    rows = export_rows("pstn_usage_export.csv")
    written = list(write_pstn_rows(read(*rows)))
    assert [list(row) for row in written] == [list(PSTN_COLUMNS)] * len(rows)
    assert [cut(row) for row in written] == [cut(row) for row in rows]
    assert written[0]["Start Time"] == rows[0]["Start Time"].replace("5Z", "0Z")


def test_a_csv_file_that_is_written_reads_as_the_records() -> None:
    records = read(*export_rows())
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, PSTN_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(write_pstn_rows(records))
    file.seek(0)
    assert read(*csv.DictReader(file)) == records


texts = st.text(min_size=1, max_size=8).filter(lambda text: text == text.strip() and text.lower() != "no data")
# Hypothesis takes the bounds without a time zone.
times = st.datetimes(datetime(1901, 1, 2), datetime(7998, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001


@st.composite
def amounts(draw: st.DrawFn, currency: str) -> Money:
    return Money.from_minor(draw(st.integers(-(10**9), 10**9)), currency).scaled(
        draw(st.sampled_from([1, 10**6])), "ROUND_DOWN"
    ) + Money(draw(st.sampled_from(["0", "0.000000001", "0.125"])), currency)


@st.composite
def call_records(draw: st.DrawFn) -> CallRecord:
    currency = draw(st.sampled_from(sorted(MINOR_DIGITS)))
    fields = [field.name for field in attrs.fields(CallRecord) if field.type in (str, "str")]
    told = {field: draw(st.just("") | texts) for field in fields}
    # Neither a name of a field's column nor one that reading would tidy up, nor None, which reading leaves out.
    names = st.sampled_from(["External Country", "Administrative Units", "Username", "tenantCountryCode", "é", "Note"])
    return CallRecord(
        **told
        | {
            "record_id": draw(texts),
            "started_at": draw(times),
            "ended_at": draw(st.none() | times),
            "duration_seconds": draw(st.integers(0, 2**31 - 1)),
            "charge": draw(amounts(currency)),
            "connection_fee": draw(amounts(currency)),
            "extra": draw(
                st.dictionaries(names, st.text(max_size=3) | st.integers() | st.lists(st.integers()), max_size=4)
            ),
        }
    )


@given(st.lists(call_records(), max_size=3))
def test_whatever_the_records_they_are_read_again_as_they_were_written(records: list[CallRecord]) -> None:
    rows = list(write_pstn_rows(records))
    assert read(*rows) == records
    assert all(tuple(row)[:25] == PSTN_COLUMNS for row in rows)


def test_amounts_have_two_decimals_or_as_many_as_they_need() -> None:
    record = read(export_rows()[0])[0]
    for amount, text in (("37", "37.00"), ("0.5", "0.50"), ("-0.000000001", "-0.000000001"), ("0.0150", "0.015")):
        (row,) = write_pstn_rows([attrs.evolve(record, charge=Money(amount, "USD"))])
        assert row["Charge"] == text
    (row,) = write_pstn_rows([attrs.evolve(record, charge=Money(37, "JPY"), connection_fee=Money(0, "JPY"))])
    assert (row["Charge"], row["Connection Fee"], row["Currency"]) == ("37.00", "0.00", "JPY")


def test_what_the_record_does_not_tell_is_empty_and_columns_nobody_knows_come_last() -> None:
    bare = CallRecord(
        record_id="a",
        started_at=datetime(2024, 1, 2, tzinfo=UTC),
        duration_seconds=0,
        charge=Money(1, "USD"),
        extra={"Note": 7},
    )
    (row,) = write_pstn_rows([bare])
    assert list(row) == [*PSTN_COLUMNS, "Note"]
    assert {value for name, value in row.items() if name in ("UPN", "End Time", "Operator", "Call Direction")} == {""}
    assert [row[name] for name in ("External Country", "Source of Call Duration", "Administrative Units")] == [None] * 3
    assert (row["Start Time"], row["Note"]) == ("2024-01-02T00:00:00.0000000Z", 7)


def test_a_caller_read_as_the_callee_is_put_back_where_it_stood() -> None:
    row = export_rows()[2]
    (record,) = read(row, caller_number="callee")
    (written,) = write_pstn_rows([record])
    assert written["Caller ID"] == row["Caller ID"]
    assert read(written, caller_number="callee") == [record]


@pytest.mark.parametrize("name", ["UPN", "charge", "START TIME", 7])
def test_an_extra_column_in_the_place_of_a_fields_own_is_refused(name: Any) -> None:
    record = attrs.evolve(read(export_rows()[2])[0], extra={name: "x"})
    rows = write_pstn_rows([attrs.evolve(record, extra={}), record])
    next(rows)
    with pytest.raises(InvalidValueError) as caught:
        next(rows)
    assert (caught.value.parameter, caught.value.value) == ("extra", name)


@pytest.mark.parametrize("records", [None, 7, SKYPE_RECORD])
def test_what_is_no_iterable_of_records_is_refused_at_once(records: Any) -> None:
    with pytest.raises(WrongTypeError) as caught:
        write_pstn_rows(records)
    assert (caught.value.parameter, caught.value.value) == ("records", records)


def test_what_is_no_record_is_refused_in_its_turn() -> None:
    rows = write_pstn_rows(cast("list[CallRecord]", [SKYPE_RECORD, SKYPE_ROW]))
    next(rows)
    with pytest.raises(WrongTypeError) as caught:
        next(rows)
    assert caught.value.value == SKYPE_ROW


def test_records_are_written_one_at_a_time() -> None:
    taken = 0

    def endless() -> Iterator[CallRecord]:
        nonlocal taken
        while True:
            taken += 1
            yield SKYPE_RECORD

    rows = write_pstn_rows(endless())
    next(rows)
    assert taken == 1
