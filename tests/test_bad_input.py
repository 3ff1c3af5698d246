"""Bad input, to everything public: it is taken, or it raises an error of this library, and then nothing has changed.

Which error a command of the ledger raises stands in test_ledger.py, for a value in the file of its module; here is that
no way in was forgotten.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commcredits as cc
from build import T0, day, hour, usd
from commcredits import telephony
from commcredits.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**5000, -(10**30)]),
    st.floats(),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
    st.sampled_from([Decimal("1E+999999"), Decimal("1E-999999")]),
    st.text(max_size=3),
    st.sampled_from(["x" * 201, "a\0b", "\ud800", "1e5", "٣", "1,000", "10.50 USD", "USD", "EUR"]),
    st.binary(max_size=3),
    st.datetimes(),  # naive
    st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), T0, day(9), date(2026, 1, 1)]),
    st.timedeltas(),
    st.builds(object),
    st.sampled_from([object, len, usd]),
    st.sampled_from([usd(-1), usd(0), usd("0.001"), cc.Money(1, "EUR"), usd(1) * 10**30]),
    st.sampled_from([cc.Paid(), cc.Threshold(usd(1)), cc.Terms("EUR"), cc.Usage(5)]),  # type: ignore[arg-type]
    st.lists(st.none() | st.integers() | st.text(max_size=1), max_size=2),
    st.tuples(st.text(max_size=1), st.text(max_size=1)),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
)


class Card:
    def charge(self, charge: cc.Charge) -> cc.Outcome:
        return cc.Paid()


@dataclass
class House:
    """A service over a storage, and a ledger with a little of everything on it."""

    def __post_init__(self) -> None:
        self.storage = cc.InMemoryStorage()
        self.service = cc.LedgerService(self.storage, Card(), clock=lambda: T0)
        self.service.open("acme", cc.Terms("USD"))
        self.service.add_funds("acme", usd(100), reference="")
        self.service.consume("acme", usd(1), idempotency_key="usage")
        self.service.hold("acme", "hold", usd(5), expires_at=hour(5))
        charge = self.service.purchase("acme", usd(10)).events[0]
        assert isinstance(charge, cc.ChargeRequested)
        self.charge_id = charge.charge_id
        self.ledger = cc.Ledger.replay(self.events)

    @property
    def events(self) -> list[cc.Event]:
        return list(self.storage.history("acme"))


def anything_of(house: House) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Every public function that takes arguments, with arguments that it takes; but the commands of the ledger."""
    money, events, ledger = usd("10.50"), house.events, house.ledger
    row = {"UsageId": "1", "Start Time": "2026-01-01T00:00Z", "Duration Seconds": 1, "Charge": 1, "Currency": "USD"}
    about_time = {"at": T0}
    made: dict[Callable[..., Any], dict[str, Any]] = {
        cc.Money: {"amount": "1", "currency": "USD"},
        cc.Money.from_minor: {"minor_units": 1, "currency": "USD"},
        cc.Money.zero: {"currency": "USD"},
        cc.Money.parse: {"text": "1 USD"},
        cc.Money.total: {"items": [money], "currency": "USD"},
        money.scaled: {"factor": Fraction(1, 3), "rounding": "ROUND_UP"},
        money.rounded: {"digits": 1, "rounding": "ROUND_UP"},
        money.allocate: {"weights": [1, 2]},
        cc.Threshold: {"amount": money, "inclusive": True},
        cc.Threshold(money).is_crossed_by: {"balance": money},
        cc.RechargePolicy: {
            "threshold": money,
            "amount": money,
            "in_multiples": False,
            "limits": (),
            "retry": cc.RetryPolicy(),
            "recharge_to": None,
            "recharge_when_refused": False,
        },
        cc.RechargeLimit: {"amount": money, "count": 1, "per": "day"},
        cc.RetryPolicy: {"delays": (timedelta(hours=1),)},
        cc.Terms: dict.fromkeys(("minimum_purchase", "purchase_step", "overdraft_limit"))
        | {name: timedelta(hours=1) for name in ("late_usage_grace", "hold_valid_for", "clock_skew", "unknown_delay")}
        | {name: timedelta(hours=1) for name in ("funds_valid_for", "key_valid_for", "processing_for")}
        | {"currency": "USD", "time_zone": "UTC", "alert_thresholds": (), "expiry_notices": ()},
        cc.Terms.microsoft_teams: {"currency": "USD"},
        cc.Paid: {"reference": ""},
        cc.Declined: {"reason": "", "retryable": True},
        cc.Processing: {"reference": ""},
        cc.PaymentMethods: {"methods": {"card": Card()}},
        cc.Ledger.open: {"ledger_id": "new", "terms": cc.Terms("USD"), "at": T0, "payment_methods": ("card",)},
        cc.Ledger.replay: {"events": events, "until": T0},
        cc.Ledger.restore: {"state": ledger.state(), "events": ()},
        ledger.state().at: about_time,
        ledger.available_at: about_time,
        ledger.balance_at: about_time,
        ledger.expiring: {"before": T0},
        ledger.can_afford: {"amount": money, "at": T0},
        ledger.admits_new_usage: about_time,
        ledger.recharge_decision: about_time,
        ledger.due_charge: {"at": T0, "first": None},
        cc.InMemoryStorage: {"snapshot_every": 1},
        cc.AsyncInMemoryStorage: {"snapshot_every": 1},
        cc.Statement.of: {"events": events, "start": T0, "end": day(1), "time_zone": "UTC", "now": None},
        cc.LedgerService: {"storage": house.storage, "payment_method": Card(), "clock": len, "settles_inline": True},
        cc.AsyncLedgerService: {
            "storage": cc.AsyncInMemoryStorage(),
            "payment_method": Card(),
            "clock": len,
            "settles_inline": True,
        },
        telephony.CallRecord: {
            "record_id": "1",
            "started_at": T0,
            "duration_seconds": 1,
            "charge": money,
            "connection_fee": money,
            "ended_at": T0,
            "capability": "",
            "extra": {},
        },
        telephony.read_pstn_rows: {"rows": [row], "on_error": None},
    }
    return {function.__qualname__: (function, arguments) for function, arguments in made.items()} | {
        f"LedgerService.{name}": (getattr(house.service, name), arguments)
        for name, arguments in of_service(house).items()
    }


def of_service(house: House) -> dict[str, dict[str, Any]]:
    usage = {"occurred_at": None, "kind": "", "description": ""}
    commands: dict[str, dict[str, Any]] = {
        "add_funds": {"amount": usd(1), "reference": ""},
        "purchase": {"amount": usd(1), "payment_method": None, "reference": ""},
        "grant": {"amount": usd(1), "starts_at": None, "expires_at": None, "priority": 0},
        "consume": {"amount": usd(1), **usage},
        "hold": {"hold_id": "new", "amount": usd(1), "expires_at": hour(1)},
        "extend_hold": {"hold_id": "hold", "add": usd(1), "expires_at": hour(6)},
        "capture": {"hold_id": "hold", "amount": usd(1), "final": True, **usage},
        "release": {"hold_id": "hold"},
        "configure_auto_recharge": {"policy": cc.RechargePolicy(usd(1), usd(1))},
        "disable_auto_recharge": {},
        "resume_auto_recharge": {},
        "change_payment_methods": {},
        "record_outcome": {"charge_id": house.charge_id, "outcome": cc.Paid()},
        "reverse_consumption": {"idempotency_key_of_the_usage": "usage", "amount": usd(1)},
        "refund": {"lot_id": 2, "amount": usd(1)},
        "claw_back": {"lot_id": 2, "amount": usd(1)},
        "reinstate": {"lot_id": 2, "amount": usd(1)},
        "change_terms": {"terms": cc.Terms("USD", overdraft_limit=usd(5))},
        "advance": {},
        "close": {},
    }
    others = {
        "consume_many": {"usages": [cc.Usage(usd(1))], "refused": "raise"},
        "get": {},
        "settle": {},
        "history": {"after_version": 0},
        "statement": {"start": T0, "end": day(1), "time_zone": None},
    }
    commands = {name: arguments | {"idempotency_key": "k"} for name, arguments in commands.items()}
    about = {name: {"ledger_id": "acme"} | arguments for name, arguments in (commands | others).items()}
    return about | {
        "open": {"ledger_id": "new", "terms": cc.Terms("USD"), "payment_methods": ("card",)},
        "settle_due": {"limit": 1},
    }


NAMES = sorted(anything_of(House()))
# Values that the library makes, or that are looked at where they are used.
MADE_BY_US = {
    *{"Charge", "Draw", "Head", "Hold", "LedgerState", "Lot", "Movement", "Receipt", "RechargeDecision", "Stored"},
    *{"Totals", "Usage", "Statement", "Ledger", "Table"},
}


def refusal(function: Callable[..., Any], arguments: dict[str, Any]) -> cc.CommCreditsError | None:
    try:
        answer = function(**arguments)
        if inspect.isgenerator(answer):
            list(answer)
    except cc.CommCreditsError as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(data=st.data())
def test_what_is_not_taken_is_refused_by_name_and_changes_nothing(name: str, data: st.DataObject) -> None:
    house = House()
    events, ledger = house.events, house.ledger.state()
    for parameter in anything_of(house)[name][1]:
        function, arguments = anything_of(house)[name]
        value = data.draw(HOSTILE, label=parameter)
        error = refusal(function, arguments | {parameter: value})
        assert house.ledger.state() == ledger
        if house.events != events:
            assert error is None
            house = House()
        if isinstance(error, cc.WrongTypeError) and not isinstance(value, Iterable):
            assert error.value is value
            assert shown(value) in str(error)


def test_nothing_public_is_forgotten() -> None:
    things = vars(cc)
    functions = {
        name
        for name in cc.__all__
        if not (isinstance(things[name], type) and issubclass(things[name], cc.Event | cc.CommCreditsError))
        and not getattr(things[name], "_is_protocol", False)
    }
    for kind in (cc.LedgerService, cc.LedgerState, cc.Money):
        methods = inspect.getmembers(kind, inspect.isroutine)
        functions |= {method.__qualname__ for name, method in methods if name[0] != "_"}
    tried = {name.replace("AsyncLedgerService.", "LedgerService.") for name in NAMES}
    functions = {name.replace("AsyncLedgerService.", "LedgerService.") for name in functions}
    assert functions - tried == MADE_BY_US | {"Outcome", "LedgerReads.check"}
