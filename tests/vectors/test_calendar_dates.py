"""Months and their ends: when a period that began on a date is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dateutil.relativedelta import relativedelta
from vector_files import START, Facts, instant, run, usd

from commcredits import Ledger, Terms, WrongTypeError

FILE = "calendar_dates"

DUE_DAY = (
    "what is due every month is here a lot that lives so many months: due on a day is a life, begun at noon, that ends"
    " in the course of that day or with it; where a month is too short for the day, it ends with the month's last day"
)
NOT_RUN: dict[str, str] = {}
ADAPTED = {
    "lago-month-31": DUE_DAY,
    "lago-quarter-31": DUE_DAY,
    "lago-quarter-15-mar": DUE_DAY,
    "lago-year-29-feb": DUE_DAY,
    "lago-year-plain": DUE_DAY,
    "lago-month-plain": DUE_DAY,
    "lago-started-at": DUE_DAY + "; months count from when the lot starts, not from when the ledger was opened",
    "flex-expiry-table": "a number or a unit that is missing or unknown is no period at all: for ever",
    "flex-date-only-expiry": "a bare date is refused, and stands for the midnight in UTC at its start",
}
MONTHS = {"month": 1, "quarter": 3, "year": 12}
TABLES = ("flex-expiry-table", "flex-date-only-expiry")


def last_day(anchor: datetime, months: int, opened: datetime) -> datetime:
    """Noon of the day with which, or in the course of which, funds end that were bought at noon of the anchor."""
    ledger = Ledger.open("customer", Terms("USD", funds_valid_for=relativedelta(months=months)), at=opened)
    ledger.add_funds(usd("10"), at=anchor + timedelta(hours=12))
    (lot,) = ledger.lots
    assert lot.expires_at is not None
    moment = timedelta(microseconds=1)
    assert ledger.balance_at(lot.expires_at - moment) == usd("10")
    assert ledger.balance_at(lot.expires_at).is_zero
    last = (lot.expires_at - moment).replace(hour=12, minute=0, second=0, microsecond=0)
    assert lot.expires_at == (last if last.day == anchor.day else last + timedelta(hours=12))
    return last


@run(FILE, but=TABLES)
def test_a_period_ends_on_the_day_of_the_month_on_which_it_began_or_else_with_the_month(vector: Facts) -> None:
    anchor = datetime.fromisoformat(vector["setup"]["anchor"]).replace(tzinfo=UTC)
    opened = datetime.fromisoformat(vector["setup"].get("created", anchor.date().isoformat())).replace(tzinfo=UTC)
    due = []
    for command in vector["commands"]:
        assert command["op"] == "due_on"
        wanted = datetime.fromisoformat(command["date"]).replace(tzinfo=UTC) + timedelta(hours=12)
        days, periods = [anchor], 0
        while days[-1] < wanted:
            periods += 1
            days.append(last_day(anchor, periods * MONTHS[command["interval"]], opened))
        due.append(wanted == days[-1])
    expected = vector["expected"]["due"]
    assert due == (expected if isinstance(expected, list) else [expected])


@run(FILE, "flex-expiry-table")
def test_a_life_of_so_many_days_weeks_months_or_years_keeps_the_time_of_day(vector: Facts) -> None:
    now = instant(vector["setup"]["now"])
    vector.set_aside("commands")
    for case in vector["expected"]["cases"]:
        number, unit = case["n"], case["unit"]
        known = number is not None and unit in ("day", "week", "month", "year")
        period = relativedelta(**{f"{unit}s": number}) if known else None  # type: ignore[arg-type]
        ledger = Ledger.open("customer", Terms("USD", funds_valid_for=period), at=now)
        ledger.add_funds(usd("10"), at=now)
        expires = case["expires"]
        assert ledger.lots[0].expires_at == (None if expires is None else instant(expires)), case


@run(FILE, "flex-date-only-expiry")
def test_an_expiry_on_a_date_is_its_first_midnight(vector: Facts) -> None:
    vector.set_aside("setup")
    (command,) = vector["commands"]
    assert command["op"] == "add_funds"
    amount = usd(command["amount"])
    day = datetime.strptime(str(command["expires_date"]), "%Y%m%d").replace(tzinfo=UTC)
    ledger = Ledger.open("customer", Terms("USD"), at=START)
    with pytest.raises(WrongTypeError, match="expires_at"):
        ledger.grant(amount, at=START, expires_at=day.date())  # type: ignore[arg-type]
    ledger.grant(amount, at=START, expires_at=day)
    expires_at = instant(vector["expected"]["expires_at"])
    assert ledger.lots[0].expires_at == expires_at
    assert ledger.balance_at(expires_at - timedelta(microseconds=1)) == amount
    assert ledger.balance_at(expires_at).is_zero
