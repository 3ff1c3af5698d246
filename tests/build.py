"""What the tests of the ledger build with: amounts, days, ledgers, and histories of random commands."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from commcredits import CommCreditsError, Event, FundsConsumed, Ledger, Money, Terms

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
CENT = 10_000_000

_E = TypeVar("_E", bound=Event)


def usd(amount: str | int) -> Money:
    return Money(amount, "USD")


def cents(amount: int) -> Money:
    return Money.from_minor(amount, "USD")


def in_cents(money: Money) -> int:
    return money.minor_units


def day(number: float) -> datetime:
    return T0 + timedelta(days=number)


def hour(number: float) -> datetime:
    return T0 + timedelta(hours=number)


def ledger(*, at: datetime = T0, **terms: Any) -> Ledger:
    """An empty ledger in USD, under terms that announce no expiry unless told to."""
    return Ledger.open("ledger", Terms("USD", **({"expiry_notices": ()} | terms)), at=at)


def lot(account: Ledger, amount: str | int, *, at: datetime, **granted: Any) -> int:
    """The id of a new lot: granted if anything is said about it, else bought."""
    events = account.grant(usd(amount), at=at, **granted) if granted else account.add_funds(usd(amount), at=at)
    return events[0].version


def kinds(events: tuple[Event, ...] | list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def only(events: tuple[Event, ...] | list[Event], kind: type[_E]) -> _E:
    """The one event of that kind."""
    (event,) = (event for event in events if isinstance(event, kind))
    return event


def drawn(event: Event) -> list[tuple[int, Money]]:
    return [(lot_id, money) for lot_id, money in event.draws]  # type: ignore[attr-defined]


def left(account: Ledger) -> dict[int, Money]:
    """What is left in each lot that is shown, by its id."""
    return {one.lot_id: one.remaining for one in account.lots}


class Step(NamedTuple):
    """One command of a random history, `wait` after the one before; `pick` chooses among lots, usages or holds."""

    wait: timedelta
    command: str
    amount: Money
    pick: int
    length: timedelta


COMMANDS = (
    "add_funds",
    "grant",
    "grant_later",
    "consume",
    "consume_late",
    "hold",
    "extend_hold",
    "capture",
    "capture_part",
    "release",
    "reverse_consumption",
    "refund",
    "claw_back",
    "reinstate",
    "advance",
)

_HOURS = st.sampled_from([0, 0, 1, 1, 6, 24]).map(lambda number: timedelta(hours=number))


def histories(max_size: int = 30) -> st.SearchStrategy[list[Step]]:
    """Commands in any order, sensible or not; amounts and waits are of a few sizes, so that they often meet exactly."""
    amounts = st.sampled_from([1, 5, 10, 10, 20, 50, 100]).map(usd)
    lengths = st.sampled_from([1, 1, 6, 24, 25]).map(lambda number: timedelta(hours=number))
    steps = st.builds(Step, _HOURS, st.sampled_from(COMMANDS), amounts, st.integers(0, 9), lengths)
    return st.lists(steps, max_size=max_size)


def all_terms() -> st.SearchStrategy[dict[str, Any]]:
    """Terms for `ledger`, with everything short enough to run out in a history of a day or two."""
    return st.fixed_dictionaries(
        {
            "funds_valid_for": st.sampled_from([timedelta(hours=24), timedelta(hours=6), None]),
            "overdraft_limit": st.sampled_from([usd(0), usd(10), None]),
            "late_usage_grace": st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(hours=24)]),
            "expiry_notices": st.sampled_from([(), (timedelta(hours=1), timedelta(hours=6))]),
        }
    )


class Played(NamedTuple):
    """What came of a history: the ledger, its events from the first on, and the time reached."""

    account: Ledger
    events: list[Event]
    at: datetime


def play(account: Ledger, history: list[Step], at: datetime = T0) -> Played:
    """Carry out a history; what is refused must leave the ledger as it was."""
    events: list[Event] = [account.opened]
    for step in history:
        at += step.wait
        before = copy(account)
        try:
            events += _carry_out(account, step, at, events)
        except CommCreditsError:
            assert account == before
    return Played(account, events, at)


def _carry_out(account: Ledger, step: Step, at: datetime, events: list[Event]) -> tuple[Event, ...]:
    usages = [event for event in events if isinstance(event, FundsConsumed)]
    funded = [event.version for event in events if type(event).__name__ in ("FundsAdded", "FundsGranted")]
    placed = [event.hold_id for event in events if type(event).__name__ == "FundsHeld"]
    amount, ends = step.amount, at + step.length
    match step.command:
        case "grant":
            return account.grant(amount, at=at, expires_at=ends, priority=step.pick % 3 - 1)
        case "grant_later":
            return account.grant(amount, at=at, starts_at=ends, expires_at=ends + step.length)
        case "consume_late":
            return account.consume(amount, at=at, occurred_at=at - step.length)
        case "hold":
            return account.hold(f"hold {len(placed)}", amount, at=at, expires_at=ends)
        case "extend_hold" if placed:
            return account.extend_hold(placed[-1 - step.pick % len(placed)], at=at, add=amount, expires_at=ends)
        case "capture" if placed:
            return account.capture(placed[-1 - step.pick % len(placed)], at=at)
        case "capture_part" if placed:
            return account.capture(placed[-1 - step.pick % len(placed)], amount, at=at, final=step.pick % 2 == 0)
        case "release" if placed:
            return account.release(placed[-1 - step.pick % len(placed)], at=at)
        case "reverse_consumption" if usages:
            usage = usages[-1 - step.pick % len(usages)]
            return account.reverse_consumption(usage, None if step.pick % 2 else amount, at=at, earlier=events)
        case "refund" | "claw_back" | "reinstate" if funded:
            lot_id = funded[-1 - step.pick % len(funded)]
            return getattr(account, step.command)(lot_id, amount, at=at, earlier=events)
        case "add_funds" | "consume":
            return getattr(account, step.command)(amount, at=at)
        case _:
            return account.advance(at=at)
