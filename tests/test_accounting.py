from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from beancount import loader
from beancount.core import data, realization
from hypothesis import given, settings

from build import T0, Step, all_terms, day, hour, ledger, play, usd
from build import histories as steps_of_histories
from commcredits import (
    CurrencyMismatchError,
    Event,
    FundsGranted,
    Ledger,
    Money,
    Paid,
    Terms,
    UnreadableRecordError,
)
from commcredits import events as e
from commcredits.accounting import (
    Account,
    ChartOfAccounts,
    Entry,
    Posting,
    RevenueTable,
    journal,
    to_beancount,
    to_ledger,
    trial_balance,
)
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.testing.strategies import histories

NAMES = attrs.asdict(ChartOfAccounts())


def posted(events: Any, account: Any = None) -> dict[str, str]:
    """The postings of the last of the events, as text."""
    (*_, entry) = journal(events)
    return {posting.account: str(posting.amount.amount) for posting in entry.postings}


def history(account: Ledger, *commands: tuple[Any, ...]) -> list[Event]:
    """All events of a ledger after commands, each a name, its arguments, and a day."""
    events = [account.opened]
    for name, *arguments, at in commands:
        events += getattr(account, name)(*arguments, at=day(at))
    return events


# Each event's postings


def test_funds_added_by_hand_are_received_at_the_bank_and_owed() -> None:
    assert posted(history(ledger(), ("add_funds", usd(10), 0))) == {"bank": "10.00", "prepaid": "-10.00"}


def test_funds_of_a_charge_are_received_by_the_payment_provider() -> None:
    account = ledger()
    events = [account.opened, *account.purchase(usd(10), at=T0)]
    events += account.record_outcome(account.pending_charges[0].charge_id, Paid(), at=T0)
    assert posted(events) == {"payment_provider": "10.00", "prepaid": "-10.00"}


def test_asking_for_a_charge_posts_nothing() -> None:
    account = ledger()
    assert list(journal([account.opened, *account.purchase(usd(10), at=T0)])) == []


def test_a_grant_costs_and_is_owed() -> None:
    account = ledger()
    assert posted([account.opened, *account.grant(usd(4), at=T0)]) == {"promotions": "4.00", "prepaid": "-4.00"}


def test_a_grant_for_later_is_owed_apart_until_it_starts() -> None:
    account = ledger()
    events = [account.opened, *account.grant(usd(4), at=T0, starts_at=day(3))]
    assert posted(events) == {"promotions": "4.00", "not_started": "-4.00"}
    assert posted([*events, *account.advance(at=day(3))]) == {"prepaid": "-4.00", "not_started": "4.00"}


def test_usage_earns_what_was_prepaid() -> None:
    events = history(ledger(), ("add_funds", usd(10), 0), ("consume", usd("2.000000001"), 1))
    assert posted(events) == {"usage": "-2.000000001", "prepaid": "2.000000001"}


def test_usage_beyond_the_funds_is_owed_by_the_customer_until_funds_repay_it() -> None:
    account = ledger(overdraft_limit=None)
    events = history(account, ("add_funds", usd(10), 0), ("consume", usd(13), 1))
    assert posted(events) == {"usage": "-13.00", "prepaid": "10.00", "overdraft": "3.00"}
    events += account.add_funds(usd(5), at=day(2))
    assert posted(events[:-2]) == {"bank": "5.00", "prepaid": "-5.00"}
    assert posted(events[:-1]) == {"prepaid": "3.00", "overdraft": "-3.00"}


def test_bought_funds_that_are_forfeited_are_revenue_and_granted_ones_cost_nothing_any_more() -> None:
    events = history(ledger(funds_valid_for=timedelta(days=5)), ("add_funds", usd(10), 0), ("advance", 5))
    assert posted(events) == {"breakage": "-10.00", "prepaid": "10.00"}
    account = ledger()
    events = [account.opened, *account.grant(usd(4), at=T0, expires_at=day(5)), *account.advance(at=day(5))]
    assert posted(events) == {"promotions": "-4.00", "prepaid": "4.00"}


def test_funds_that_lapse_are_owed_apart_until_they_are_used_late_or_forfeited() -> None:
    account = ledger(funds_valid_for=timedelta(days=5), late_usage_grace=timedelta(days=2))
    events = history(account, ("add_funds", usd(10), 0), ("advance", 5))
    assert posted(events) == {"prepaid": "10.00", "lapsed": "-10.00"}
    events += account.consume(usd(4), at=day(6), occurred_at=day(4))
    assert posted(events) == {"usage": "-4.00", "lapsed": "4.00"}
    events += account.advance(at=day(7))
    assert posted(events) == {"breakage": "-6.00", "lapsed": "6.00"}


def test_a_hold_moves_nothing_and_its_capture_is_usage() -> None:
    account = ledger()
    events = history(account, ("add_funds", usd(10), 0))
    events += account.hold("call", usd(4), at=day(1), expires_at=hour(25))
    assert len(list(journal(events))) == 1
    events += account.capture("call", usd(3), at=day(1))
    assert [(entry.event.version, len(entry.postings)) for entry in journal(events)] == [(2, 2), (4, 2)]


def test_usage_undone_is_revenue_undone() -> None:
    events = history(ledger(), ("add_funds", usd(10), 0), ("consume", usd(2), 1))
    account = Ledger.replay(events)
    assert posted([*events, *account.reverse_consumption(events[-1], usd(1), at=day(2))]) == {
        "usage": "1.00",
        "prepaid": "-1.00",
    }


def test_refunds_and_charge_backs_take_cash_and_what_was_prepaid() -> None:
    events = history(ledger(), ("add_funds", usd(10), 0), ("refund", 2, usd(2), 1))
    assert posted(events) == {"refunds": "-2.00", "prepaid": "2.00"}
    account = ledger()
    events = history(account, ("add_funds", usd(10), 0), ("consume", usd(9), 1), ("claw_back", 2, usd(4), 2))
    clawed_back = next(entry for entry in journal(events) if isinstance(entry.event, e.FundsClawedBack))
    assert clawed_back.postings == (("charge_backs", usd(-4)), ("prepaid", usd(1)), ("overdraft", usd(3)))
    events += account.reinstate(2, usd(4), at=day(3))
    reinstated = next(entry for entry in journal(events) if isinstance(entry.event, e.FundsReinstated))
    assert reinstated.postings == (("charge_backs", usd(4)), ("prepaid", usd(-1)), ("overdraft", usd(-3)))


# Laws


@settings(max_examples=60)
@given(histories())
def test_each_entry_adds_up_to_zero_and_prepaid_less_overdraft_is_the_balance_at_every_moment(
    events: tuple[Event, ...],
) -> None:
    entries = {entry.event.version: entry for entry in journal(events)}
    owed = 0
    for number, event in enumerate(events, 1):
        for account, amount in entries[event.version].postings if event.version in entries else ():
            assert amount.amount
            owed -= amount._billionths if account in ("prepaid", "overdraft") else 0
        amounts = [p.amount._billionths for p in entries[event.version].postings] if event.version in entries else []
        assert sum(amounts) == 0
        assert owed == Ledger.replay(events[:number]).balance._billionths


@given(steps_of_histories(), all_terms())
def test_the_accounts_come_to_what_the_events_themselves_tell(steps: list[Step], terms: dict[str, Any]) -> None:
    events = play(ledger(**terms), steps).events
    told: dict[str, Decimal] = {}

    def add(account: Account, amount: Decimal) -> None:
        told[account] = told.get(account, Decimal(0)) + amount

    granted = {event.lot_id for event in events if isinstance(event, FundsGranted)}
    for event in events:
        match event:
            case e.FundsAdded():
                add("bank", event.amount.amount)
            case e.FundsGranted():
                add("promotions", event.amount.amount)
            case e.FundsConsumed():
                add("usage", -event.amount.amount)
            case e.ConsumptionReversed():
                add("usage", event.amount.amount)
            case e.FundsExpired():
                add("promotions" if event.lot_id in granted else "breakage", -event.amount.amount)
            case e.FundsRefunded():
                add("refunds", -event.amount.amount)
            case e.FundsClawedBack():
                add("charge_backs", -event.amount.amount)
            case e.FundsReinstated():
                add("charge_backs", event.amount.amount)
            case _:
                pass
    found = {name: money.amount for name, money in trial_balance(journal(events)).items()}
    names = ("bank", "promotions", "usage", "breakage", "refunds", "charge_backs")
    assert {name: found.get(name, Decimal(0)) for name in names} == {name: told.get(name, Decimal(0)) for name in names}
    assert sum(found.values()) == 0


def test_the_trial_balance_of_nothing_is_empty_and_currencies_do_not_mix() -> None:
    assert dict(trial_balance([])) == {}
    euros = Ledger.open("euros", Terms("EUR"), at=T0)
    other = [euros.opened, *euros.add_funds(Money(1, "EUR"), at=T0)]
    entries = [*journal(history(ledger(), ("add_funds", usd(10), 0))), *journal(other)]
    with pytest.raises(CurrencyMismatchError):
        trial_balance(entries)
    with pytest.raises(CurrencyMismatchError):
        RevenueTable.of(entries)


def test_a_history_that_is_not_whole_is_refused() -> None:
    events = history(ledger(), ("add_funds", usd(10), 0), ("consume", usd(2), 1))
    with pytest.raises(UnreadableRecordError, match="version 1 comes next, not 2"):
        list(journal(events[1:]))
    with pytest.raises(UnreadableRecordError, match="begins with LedgerOpened"):
        list(journal([]))
    with pytest.raises(UnreadableRecordError, match="version 2 comes next, not 3"):
        list(journal([events[0], events[2]]))


# The chart


def test_every_account_can_be_renamed_and_two_may_be_one() -> None:
    chart = ChartOfAccounts(**dict.fromkeys(NAMES, "Assets:All:Here"))
    assert {chart[account] for account in get_args(Account)} == {"Assets:All:Here"}
    assert set(get_args(Account)) == set(NAMES)
    assert ChartOfAccounts(bank="assets:my bank 2").bank == "assets:my bank 2"


@pytest.mark.parametrize(
    "name", ["", " ", "Assets:", ":Bank", "Assets::Bank", "Assets:Bank  x", "Assets:Bank ;x", "A\nB", "Assets: Bank"]
)
def test_what_is_no_name_of_an_account_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="bank"):
        ChartOfAccounts(bank=name)


def test_an_account_is_named_by_text() -> None:
    with pytest.raises(WrongTypeError, match="usage"):
        ChartOfAccounts(usage=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["assets:Bank", "Assets", "Assets:bank", "Assets:My Bank", "Cash:Bank", "Assets:B_1"])
def test_beancount_is_given_no_name_that_it_does_not_take(name: str) -> None:
    entries = list(journal(history(ledger(), ("add_funds", usd(10), 0))))
    assert loader.load_string(f"2020-01-01 open {name}")[1] or name == "Assets"
    with pytest.raises(InvalidValueError, match=re.escape(repr(name))):
        list(to_beancount(entries, accounts=ChartOfAccounts(bank=name)))


# Text


def test_the_text_for_beancount() -> None:
    events = history(ledger(), ("add_funds", usd(10), 0), ("consume", usd("2.5"), 1))
    assert "".join(to_beancount(journal(events))).splitlines() == [
        "2026-01-01 open Assets:Bank",
        "2026-01-01 open Liabilities:Prepaid",
        '2026-01-01 * "Funds added"',
        '  ledger: "ledger"',
        "  version: 2",
        "    Assets:Bank  10.00 USD",
        "    Liabilities:Prepaid  -10.00 USD",
        "",
        "2026-01-02 open Income:Usage",
        '2026-01-02 * "Funds consumed"',
        '  ledger: "ledger"',
        "  version: 3",
        "    Income:Usage  -2.50 USD",
        "    Liabilities:Prepaid  2.50 USD",
        "",
    ]


def test_the_text_for_ledger_and_hledger() -> None:
    events = history(ledger(), ("add_funds", usd(10), 0))
    assert "".join(to_ledger(journal(events))).splitlines() == [
        "commodity USD",
        "    format 1000.000000000 USD",
        "",
        "2026-01-01 * Funds added",
        "    ; ledger: ledger",
        "    ; version: 2",
        "    Assets:Bank  10.00 USD",
        "    Liabilities:Prepaid  -10.00 USD",
        "",
    ]


def test_the_day_is_that_of_the_time_zone() -> None:
    events = history(ledger(at=day(-1)), ("add_funds", usd(10), -0.01))
    assert next(to_beancount(journal(events))).startswith("2025-12-31 ")
    assert next(to_beancount(journal(events), time_zone="Asia/Tokyo")).startswith("2026-01-01 ")
    assert "2026-01-01 *" in "".join(to_ledger(journal(events), time_zone="Asia/Tokyo"))
    with pytest.raises(InvalidValueError):
        list(to_ledger(journal(events), time_zone="Mars"))


def by_beancount(text: str) -> dict[str, Decimal]:
    """What beancount itself makes of a file: the balance of each account, without those at zero."""
    entries, errors, _ = loader.load_string(text)
    assert not errors, errors
    found = {}
    for account in realization.iter_children(realization.realize(data.sorted(entries))):
        for position in account.balance:
            found[account.account] = position.units.number
    return found


def by_program(program: str, text: str) -> dict[str, Decimal]:
    """What Ledger or hledger makes of a journal: the balance of each account without those below it."""
    own = {
        "ledger": ["--balance-format", '"%(account)","%(quantity(scrub(amount)))"\n'],
        "hledger": ["--output-format", "csv"],
    }
    run = [program, "-f", "-", "balance", "--flat", "--no-total", *own[program]]
    told = subprocess.run(run, input=text, capture_output=True, text=True, check=True).stdout
    rows = [row for row in csv.reader(told.splitlines()) if row and row[0] != "account"]
    numbers = {name: Decimal(number.partition(" ")[0].replace(",", "")) for name, number in rows}
    return {name: number for name, number in numbers.items() if number}


def expected(entries: list[Entry], names: dict[str, str]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for entry in entries:
        for account, amount in entry.postings:
            found[names[account]] = found.get(names[account], Decimal(0)) + amount.amount
    return {name: amount for name, amount in found.items() if amount}


PROGRAMS = [program for program in ("ledger", "hledger") if shutil.which(program)]


@settings(max_examples=25)
@given(histories())
def test_beancount_ledger_and_hledger_come_to_the_same_balances(events: tuple[Event, ...]) -> None:
    entries = list(journal(events))
    assert by_beancount("".join(to_beancount(entries))) == expected(entries, NAMES)
    for program in PROGRAMS:
        assert by_program(program, "".join(to_ledger(entries))) == expected(entries, NAMES)


def test_bean_check_and_a_query_of_beancount_agree_on_a_file(tmp_path: Path) -> None:
    account = ledger(overdraft_limit=None, funds_valid_for=timedelta(days=9))
    events = history(
        account,
        ("add_funds", usd(10), 0),
        ("consume", usd("10.000000001"), 1),
        ("add_funds", Money("1000000000000000000", "USD"), 2),
        ("advance", 30),
    )
    file = tmp_path / "books.beancount"
    file.write_text("".join(to_beancount(journal(events))))
    programs = Path(sys.executable).parent
    subprocess.run([programs / "bean-check", file], check=True)
    query = "SELECT account, number(only('USD', sum(position))) AS number GROUP BY account"
    told = subprocess.run(
        [programs / "bean-query", "-f", "csv", "-m", file, query], capture_output=True, text=True, check=True
    ).stdout
    found = {row["account"]: Decimal(row["number"].strip()) for row in csv.DictReader(told.splitlines())}
    assert {name: number for name, number in found.items() if number} == expected(list(journal(events)), NAMES)


def test_bean_check_refuses_books_with_a_billionth_missing(tmp_path: Path) -> None:
    entries = list(journal(history(ledger(), ("add_funds", usd(10), 0))))
    wrong = attrs.evolve(entries[0], postings=(Posting("bank", usd("10.000000001")), entries[0].postings[1]))
    assert loader.load_string("".join(to_beancount([wrong])))[1]


@pytest.mark.parametrize("ledger_id", ['a"b', "a\\", "a\n2020-01-01 open Assets:X", "; x", "a\u2028b", "é, b: c", "\t"])
def test_no_id_can_write_into_the_books(ledger_id: str) -> None:
    account = Ledger.open(ledger_id, Terms("USD"), at=T0)
    entries = list(journal([account.opened, *account.add_funds(usd(10), at=T0)]))
    text = "".join(to_beancount(entries))
    loaded, errors, _ = loader.load_string(text)
    assert not errors
    (transaction,) = (entry for entry in loaded if isinstance(entry, data.Transaction))
    assert transaction.meta["ledger"] == "".join(c if c.isprintable() else repr(c)[1:-1] for c in ledger_id)
    assert len(loaded) == 3
    for program in PROGRAMS:
        assert by_program(program, "".join(to_ledger(entries))) == expected(entries, NAMES)


# Revenue by month


def test_revenue_is_recognised_month_by_month_and_what_is_deferred_carries_over() -> None:
    account = ledger(overdraft_limit=None, funds_valid_for=timedelta(days=70), late_usage_grace=timedelta(days=1))
    events = history(
        account,
        ("add_funds", usd(100), 0),
        ("grant", usd(5), 1),
        ("consume", usd(30), 20),
        ("refund", 2, usd(10), 32),
        ("advance", 120),
    )
    table = RevenueTable.of(journal(events))
    assert [month.month for month in table.months] == [date(2026, number, 1) for number in (1, 2, 3)]
    january, february, march = table.months
    assert attrs.astuple(january, recurse=False)[1:] == tuple(map(usd, (0, 100, 5, 30, 0, 0, 0, 75)))
    assert attrs.astuple(february, recurse=False)[1:] == tuple(map(usd, (75, 0, 0, 0, 0, 10, 0, 65)))
    assert attrs.astuple(march, recurse=False)[1:] == tuple(map(usd, (65, 0, 0, 0, 60, 0, 0, 5)))


def test_months_in_which_nothing_happened_are_there_and_none_where_nothing_ever_did() -> None:
    events = history(ledger(), ("add_funds", usd(100), 0), ("consume", usd(1), 70))
    table = RevenueTable.of(journal(events))
    assert [str(month.month)[:7] for month in table.months] == ["2026-01", "2026-02", "2026-03"]
    assert table.months[1].usage == usd(0)
    assert RevenueTable.of([]).months == ()
    assert str(RevenueTable.of([])).startswith("month  opening")


@given(histories())
def test_each_month_closes_where_the_next_opens_and_the_last_is_what_is_owed(events: tuple[Event, ...]) -> None:
    table = RevenueTable.of(reversed(list(journal(events))))
    opening = Decimal(0)
    for month in table.months:
        gained = month.funded.amount + month.granted.amount - month.usage.amount - month.breakage.amount
        assert month.opening.amount == opening
        opening += gained - month.refunded.amount - month.charged_back.amount
        assert month.closing.amount == opening
    totals = Ledger.replay(events).totals
    owed = totals.free + totals.held + totals.lapsed + totals.not_started - totals.overdraft
    assert opening == owed.amount


def test_months_are_those_of_the_time_zone() -> None:
    events = history(ledger(at=day(-1)), ("add_funds", usd(10), -0.01))
    assert RevenueTable.of(journal(events)).months[0].month == date(2025, 12, 1)
    assert RevenueTable.of(journal(events), time_zone="Asia/Tokyo").months[0].month == date(2026, 1, 1)


def test_the_table_of_revenue_can_be_looked_at() -> None:
    table = RevenueTable.of(journal(history(ledger(), ("add_funds", usd(100), 0), ("consume", usd(1), 2))))
    assert str(table).splitlines()[1].split() == ["2026-01", *"0.00 100.00 0.00 1.00 0.00 0.00 0.00 99.00".split()]
    assert "<td" in table._repr_html_()
    assert table.table().to_records()[0]["usage"] == usd(1)
