"""The services mirror the ledger's commands, and do each request once."""

from __future__ import annotations

import inspect
from datetime import timedelta, timezone
from typing import Any

import pytest

from build import T0, cents, day, hour, kinds, only, usd
from commcredits import (
    AsyncInMemoryStorage,
    AsyncLedgerService,
    ChargeRequested,
    Declined,
    FundsConsumed,
    IdempotencyConflictError,
    InMemoryStorage,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    LedgerExistsError,
    LedgerNotFoundError,
    LedgerService,
    Paid,
    Processing,
    Receipt,
    Statement,
    Terms,
    Usage,
    WrongTypeError,
)
from office import MINUTE, Hire, Office, recharging

# The mirror of the ledger


def commands_of(kind: type) -> dict[str, Any]:
    return {
        name: method
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if name[0] != "_" and "idempotency_key" in inspect.signature(method).parameters
    }


def taken_by(method: Any, *without: str) -> list[tuple[str, Any, Any, str]]:
    parameters = [p for p in inspect.signature(method).parameters.values() if p.name not in ("self", *without)]
    ordered = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    named = sorted((p for p in parameters if p.kind is p.KEYWORD_ONLY), key=lambda p: p.name)
    return [(p.name, p.kind, p.default, p.annotation) for p in ordered + named]


def test_every_command_of_the_ledger_is_a_method_of_both_services_but_those_that_settling_gives() -> None:
    given_by_settling = {"try_charge", "request_recharge"}
    mirrored = set(commands_of(Ledger)) - given_by_settling
    assert len(mirrored) == 20
    assert set(commands_of(LedgerService)) == set(commands_of(AsyncLedgerService)) == mirrored


@pytest.mark.parametrize("name", sorted(commands_of(LedgerService)))
def test_a_command_takes_the_ledgers_parameters_less_the_time(name: str) -> None:
    mirrored = taken_by(commands_of(AsyncLedgerService)[name])
    original = taken_by(commands_of(Ledger)[name], "at", "earlier")
    assert mirrored[0][0] == "ledger_id"
    if name == "add_funds":  # money from outside must name where it came from
        original = [(*one[:2], inspect.Parameter.empty, one[3]) if one[0] == "reference" else one for one in original]
    if name == "reverse_consumption":
        original[0] = ("idempotency_key_of_the_usage", original[0][1], original[0][2], "str")
    assert mirrored[1:] == original


def test_both_services_have_the_same_methods_with_the_same_parameters_and_docstrings() -> None:
    def methods(kind: type) -> dict[str, tuple[Any, str | None]]:
        found = {name: one for name, one in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}
        return {name: (list(inspect.signature(one).parameters.values()), one.__doc__) for name, one in found.items()}

    assert methods(LedgerService) == methods(AsyncLedgerService)
    others = {"open", "get", "consume_many", "settle", "settle_due", "history", "statement"}
    assert set(methods(LedgerService)) == set(commands_of(LedgerService)) | others
    made = [list(inspect.signature(kind).parameters.items())[2:] for kind in (LedgerService, AsyncLedgerService)]
    assert made[0] == made[1]


# One of each command, with every argument given; what is under "charge_id" is the first charge's.
USAGE = {"occurred_at": T0 - MINUTE, "kind": "call", "description": "to Oslo"}
STORY: list[tuple[str, dict[str, Any]]] = [
    ("add_funds", {"amount": usd(100), "reference": "wire 1"}),
    ("grant", {"amount": usd(20), "starts_at": day(1), "expires_at": day(30), "priority": -1}),
    ("consume", {"amount": usd(5), **USAGE}),
    ("hold", {"hold_id": "session", "amount": usd(10), "expires_at": hour(5)}),
    ("extend_hold", {"hold_id": "session", "add": usd(1), "expires_at": hour(6)}),
    ("capture", {"hold_id": "session", "amount": usd(3), "final": False, **USAGE}),
    ("release", {"hold_id": "session"}),
    ("configure_auto_recharge", {"policy": recharging(5)}),
    ("purchase", {"amount": usd(60), "payment_method": "default", "reference": "order 1"}),
    ("record_outcome", {"charge_id": "", "outcome": Processing("later")}),
    ("reverse_consumption", {"amount": usd(2)}),
    ("refund", {"lot_id": 2, "amount": usd(4)}),
    ("claw_back", {"lot_id": 2, "amount": usd(6)}),
    ("reinstate", {"lot_id": 2, "amount": usd(1)}),
    ("resume_auto_recharge", {}),
    ("disable_auto_recharge", {}),
    ("change_payment_methods", {"0": "card", "1": "bank"}),
    ("change_terms", {"terms": Terms("USD", expiry_notices=(), overdraft_limit=usd(1))}),
    ("close", {}),
]
OTHERS: dict[str, Any] = {
    "amount": usd("6.01"),
    "reference": "another",
    "starts_at": day(2),
    "expires_at": day(31),
    "priority": 1,
    "occurred_at": T0 - 2 * MINUTE,
    "kind": "sms",
    "description": "to Rome",
    "hold_id": "another",
    "add": usd(2),
    "final": True,
    "policy": recharging(6),
    "payment_method": "another",
    "charge_id": "another",
    "outcome": Paid("later"),
    "lot_id": 3,
    "0": "cash",
    "1": "cash",
    "terms": Terms("USD", expiry_notices=()),
}


def given_in_story(desk: Office, place: int, **changed: Any) -> Any:
    """Give the command at that place of the story, at its minute, with its key."""
    name, arguments = STORY[place]
    arguments = {**arguments, **changed}
    if arguments.get("charge_id") == "":
        arguments["charge_id"] = only(desk.events, ChargeRequested).charge_id
    if name == "change_payment_methods":
        return desk.do(name, *arguments.values(), idempotency_key=f"key {place}")
    if name == "reverse_consumption":
        return desk.do(name, "key 2", **arguments, idempotency_key=f"key {place}")
    return desk.do(name, **arguments, idempotency_key=f"key {place}")


def told(hire: Hire) -> tuple[Office, list[Receipt]]:
    """The office after the whole story, and its receipts."""
    desk = hire(settles_inline=False)
    receipts = []
    for place in range(len(STORY)):
        desk.clock.now = T0 + place * MINUTE
        receipts.append(given_in_story(desk, place))
    return desk, receipts


def test_a_command_records_what_the_ledgers_command_records_at_the_clocks_time(hire: Hire) -> None:
    desk, receipts = told(hire)
    account = Ledger.open("acme", Terms("USD", expiry_notices=()), at=T0)
    for place, ((name, given), receipt) in enumerate(zip(STORY, receipts, strict=True)):
        arguments, ordered = dict(given), []
        if name == "change_payment_methods":
            arguments, ordered = {}, list(given.values())
        if name == "reverse_consumption":
            ordered = [receipts[2].events[0]]
        if name == "record_outcome":
            arguments["charge_id"] = receipts[8].events[0].charge_id
        events = getattr(account, name)(*ordered, **arguments, at=T0 + place * MINUTE, idempotency_key=f"key {place}")
        assert receipt == Receipt(events, account.balance, account.available, account.pending_charges)
        assert events
    assert desk.events == [account.opened, *(event for receipt in receipts for event in receipt.events)]
    assert desk.provider.asked == []


def test_a_known_key_answers_before_rules_time_and_closing_whatever_the_command(hire: Hire) -> None:
    desk, receipts = told(hire)
    events = desk.events
    for now in (day(400), T0 - day(9).resolution):
        desk.clock.now = now
        for place, receipt in enumerate(receipts):
            replay = given_in_story(desk, place)
            assert (replay.events, replay.replayed) == (receipt.events[:1], True)
            assert replay.balance == (usd(0) if now > T0 else receipts[-1].balance)
    assert desk.events == events


@pytest.mark.parametrize(
    ("place", "changed"),
    [(place, name) for place, (_, arguments) in enumerate(STORY) for name in arguments],
    ids=lambda value: STORY[value][0] if isinstance(value, int) else value,
)
def test_a_known_key_with_any_argument_changed_is_a_conflict(hire: Hire, place: int, changed: str) -> None:
    desk, receipts = told(hire)
    events = desk.events
    with pytest.raises(IdempotencyConflictError) as caught:
        given_in_story(desk, place, **{changed: OTHERS[changed]})
    error = caught.value
    assert (error.ledger_id, error.idempotency_key) == ("acme", f"key {place}")
    assert error.recorded == receipts[place].events[0].version
    assert desk.events == events


def test_a_known_key_of_another_command_is_a_conflict_whatever_both_commands_are(hire: Hire) -> None:
    desk, _ = told(hire)
    for place in range(len(STORY)):
        for name, arguments in (("release", {"hold_id": "session"}), ("close", {}), ("disable_auto_recharge", {})):
            if STORY[place][0] != name:
                desk.refusal(IdempotencyConflictError, name, **arguments, idempotency_key=f"key {place}")


def test_commands_are_compared_by_value_and_by_instant(desk: Office) -> None:
    first = desk.do("consume", usd(5), occurred_at=T0, idempotency_key="k")
    oslo = timezone(timedelta(hours=1))
    again = desk.do("consume", cents(500), occurred_at=T0.astimezone(oslo), kind="", idempotency_key="k")
    assert (again.events, again.replayed) == (first.events, True)
    desk.refusal(IdempotencyConflictError, "consume", usd(5), idempotency_key="k")


def test_what_no_command_can_have_recorded_is_another_command(desk: Office) -> None:
    desk.do("consume", usd(5), idempotency_key="k")
    desk.refusal(IdempotencyConflictError, "consume", 5.0, idempotency_key="k")
    desk.refusal(WrongTypeError, "consume", 5.0, idempotency_key="new")


# Opening and reading


def test_opening_records_one_event_and_nothing_else(hire: Hire) -> None:
    desk = hire()
    terms = Terms("EUR", overdraft_limit=None)
    receipt = desk.run(desk.service.open("other", terms, payment_methods=["card", "bank"]))
    opened = Ledger.open("other", terms, at=T0, payment_methods=("card", "bank"))
    assert receipt == Receipt((opened.opened,), opened.balance, opened.available, ())
    assert list(desk.inner.history("other")) == [opened.opened]
    assert desk.run(desk.service.get("other")) == opened.state()


def test_what_exists_is_not_opened_again(desk: Office) -> None:
    events = desk.events
    error = desk.refusal(LedgerExistsError, "open", Terms("EUR"))
    assert error.ledger_id == "acme"
    assert desk.events == events


def test_bad_arguments_of_open_are_refused_and_nothing_is_stored(hire: Hire) -> None:
    desk = hire()
    for ledger_id, terms in (("", Terms("USD")), (5, Terms("USD")), ("new", "USD")):
        with pytest.raises((WrongTypeError, InvalidValueError)):
            desk.run(desk.service.open(ledger_id, terms))
    assert desk.run(desk.service.open("new", Terms("USD"))).events[0].version == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get", ()),
        ("settle", ()),
        ("statement", (T0, day(1))),
        ("consume", (usd(5),)),
        ("consume_many", ([],)),
        ("reverse_consumption", ("key",)),
        ("close", ()),
    ],
)
def test_a_ledger_that_nobody_opened_is_not_found(hire: Hire, name: str, arguments: tuple[Any, ...]) -> None:
    desk = hire()
    with pytest.raises(LedgerNotFoundError) as caught:
        desk.run(getattr(desk.service, name)("nobody", *arguments))
    assert caught.value.ledger_id == "nobody"


def test_reading_shows_what_fell_due_and_records_nothing(hire: Hire) -> None:
    desk = hire(funds=40, funds_valid_for=timedelta(days=2))
    desk.do("grant", usd(7), starts_at=day(1), expires_at=day(9))
    desk.do("hold", "session", usd(10), expires_at=hour(3))
    stored = desk.events
    seen = []
    for now in (hour(2), hour(3), day(1), day(2)):
        desk.clock.now = now
        state = desk.do("get")
        seen.append((state.available, state.held, state.as_of == now, state.version == len(stored)))
    assert seen == [
        (usd(30), usd(10), True, True),
        (usd(40), usd(0), True, True),
        (usd(47), usd(0), True, True),
        (usd(7), usd(0), True, True),
    ]
    assert desk.events == stored


def test_reading_requests_no_charge_though_one_is_due(desk: Office) -> None:
    desk.provider.answers = [Declined("no funds")]
    desk.do("configure_auto_recharge", recharging())
    desk.do("consume", usd(95))
    stored = desk.events
    desk.clock.now = hour(2)
    state = desk.do("get")
    assert state.pending_charges == ()
    assert state.recharge_decision(hour(2)).due
    assert desk.events == stored


def test_reading_with_a_clock_that_is_behind_shows_the_ledger_as_it_was_left(desk: Office) -> None:
    desk.clock.now = T0 - timedelta(days=1)
    assert desk.do("get") == desk.ledger.state()


def test_history_gives_the_events_after_a_version_in_order(desk: Office) -> None:
    desk.do("consume", usd(5))

    async def listed(ledger_id: str, **named: Any) -> list[Any]:
        return [event async for event in desk.service.history(ledger_id, **named)]

    def history(ledger_id: str, **named: Any) -> list[Any]:
        if desk.is_async:
            return desk.run(listed(ledger_id, **named))
        return list(desk.service.history(ledger_id, **named))

    assert history("acme") == desk.events
    assert history("acme", after_version=2) == desk.events[2:]
    assert kinds(history("acme", after_version=2)) == ["FundsConsumed"]
    assert history("nobody") == []


def test_a_statement_counts_what_fell_due_by_now_and_shows_the_ledgers_time_zone(hire: Hire) -> None:
    desk = hire(funds=40, funds_valid_for=timedelta(days=2), time_zone="Pacific/Apia")
    desk.do("consume", usd(15), kind="call")
    stored = desk.events
    desk.clock.now = day(3)
    statement = desk.do("statement", T0, day(5))
    assert statement == Statement.of(stored, T0, day(5), "Pacific/Apia", now=day(3))
    assert (statement.opening_balance, statement.closing_balance) == (usd(0), usd(0))
    assert statement.changes == {"added": usd(40), "consumed": usd(-15), "expired": usd(-25)}
    assert desk.do("statement", T0, day(2)).closing_balance == usd(25)
    assert desk.do("statement", T0, day(2), time_zone="Asia/Tokyo").time_zone == "Asia/Tokyo"
    desk.refusal(InvalidValueError, "statement", day(2), T0)
    desk.refusal(InvalidValueError, "statement", T0, day(2), time_zone="")
    desk.refusal(WrongTypeError, "statement", T0, day(2), time_zone=0)
    assert desk.events == stored


def test_advancing_records_what_fell_due_and_what_follows_from_it_once(hire: Hire) -> None:
    desk = hire(funds=40, funds_valid_for=timedelta(days=2), settles_inline=False)
    desk.do("configure_auto_recharge", recharging())
    assert desk.do("advance", idempotency_key="k") == Receipt((), usd(40), usd(40), ())
    desk.clock.now = day(3)
    receipt = desk.do("advance", idempotency_key="k")
    assert kinds(receipt.events) == ["FundsExpired", "BalanceDepleted", "ChargeRequested"]
    again = desk.do("advance", idempotency_key="k")
    assert (again.replayed, again.events) == (True, receipt.events[1:2])
    assert desk.do("advance").events == ()


# Doing it once


def test_a_command_without_a_key_is_done_as_often_as_it_is_given(desk: Office) -> None:
    assert [desk.do("consume", usd(5)).replayed for _ in range(3)] == [False] * 3
    assert desk.costs == [5, 5, 5]


def test_a_replay_has_the_recorded_event_and_the_balances_of_now(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=timedelta(days=2))
    first = desk.do("consume", usd(5), idempotency_key="k")
    desk.do("hold", "session", usd(20), expires_at=hour(20))
    desk.clock.now = hour(1)
    again = desk.do("consume", usd(5), idempotency_key="k")
    assert again == Receipt(first.events, usd(95), usd(75), (), replayed=True)
    desk.clock.now = day(3)
    assert desk.do("consume", usd(5), idempotency_key="k") == Receipt(first.events, usd(0), usd(0), (), replayed=True)
    assert desk.costs == [5]


def test_a_replay_shows_only_the_event_that_has_the_key(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=timedelta(days=2))
    desk.clock.now = day(1)
    desk.do("add_funds", usd(10), reference="")
    desk.clock.now = day(2)
    first = desk.do("consume", usd(10), idempotency_key="k")
    assert kinds(first.events) == ["FundsExpired", "FundsConsumed", "BalanceDepleted"]
    assert desk.do("consume", usd(10), idempotency_key="k").events == first.events[1:2]


def test_keys_are_one_ledgers_own(desk: Office) -> None:
    desk.open_another("other")
    desk.do("add_funds", usd(5), reference="", idempotency_key="k")
    receipt = desk.run(desk.service.add_funds("other", usd(6), reference="", idempotency_key="k"))
    assert (receipt.replayed, receipt.balance) == (False, usd(6))


def test_a_refused_command_does_not_use_up_its_key(desk: Office) -> None:
    error = desk.refusal(InsufficientFundsError, "consume", usd(101), idempotency_key="k")
    assert (error.amount, error.shortfall, error.index) == (usd(101), usd(1), None)
    desk.do("add_funds", usd(50), reference="")
    assert not desk.do("consume", usd(102), idempotency_key="k").replayed
    assert desk.costs == [102]


@pytest.mark.parametrize(
    ("key", "error"),
    [("", InvalidValueError), ("k" * 201, InvalidValueError), ([], WrongTypeError), (7, WrongTypeError)],
)
def test_what_is_no_key_is_refused_before_anything_is_asked(desk: Office, key: Any, error: type[Exception]) -> None:
    calls = dict(desk.plan.calls)
    desk.refusal(error, "consume", usd(5), idempotency_key=key)
    desk.refusal(error, "close", idempotency_key=key)
    assert dict(desk.plan.calls) == calls
    assert desk.do("consume", usd(5), idempotency_key="k" * 200).balance == usd(95)


@pytest.mark.parametrize("ledger_id", [[], "", 7, "x" * 201])
def test_what_is_no_ledger_id_is_refused_by_commands(hire: Hire, ledger_id: Any) -> None:
    desk = hire()
    for name, arguments in (("consume", (usd(5),)), ("consume_many", ([],)), ("settle", ()), ("close", ())):
        with pytest.raises((WrongTypeError, InvalidValueError), match="ledger_id"):
            desk.run(getattr(desk.service, name)(ledger_id, *arguments))


@pytest.mark.parametrize("ledger_id", [[], {}])
def test_what_is_no_ledger_id_is_refused_by_reads(hire: Hire, ledger_id: Any) -> None:
    desk = hire()
    for name, arguments in (("get", ()), ("statement", (T0, day(1))), ("reverse_consumption", ("key",))):
        with pytest.raises((WrongTypeError, LedgerNotFoundError)):
            desk.run(getattr(desk.service, name)(ledger_id, *arguments))


def test_what_is_no_key_of_a_usage_is_refused(desk: Office) -> None:
    for key in ([], 7, ""):
        desk.refusal((WrongTypeError, InvalidValueError), "reverse_consumption", key)
    desk.refusal(WrongTypeError, "reverse_consumption", "unknown", idempotency_key=[])


def test_what_changes_nothing_and_has_a_known_key_is_answered_by_that_key(desk: Office) -> None:
    desk.do("add_funds", usd(5), reference="", idempotency_key="funds")
    first = desk.do("configure_auto_recharge", recharging(), idempotency_key="k")
    again = desk.do("configure_auto_recharge", recharging(), idempotency_key="k")
    assert (again.events, again.replayed) == (first.events, True)
    desk.refusal(IdempotencyConflictError, "configure_auto_recharge", recharging(), idempotency_key="funds")


def test_what_changes_nothing_does_not_use_up_its_key(desk: Office) -> None:
    desk.do("configure_auto_recharge", recharging())
    nothing = desk.do("configure_auto_recharge", recharging(), idempotency_key="k")
    assert nothing == Receipt((), usd(100), usd(100), ())
    assert not desk.do("consume", usd(5), idempotency_key="k").replayed


def test_a_replay_of_refusable_usage_asks_for_no_recharge(hire: Hire) -> None:
    desk = hire(funds=30)
    desk.do("configure_auto_recharge", recharging(5, recharge_when_refused=True))
    desk.do("consume", usd(20), idempotency_key="k")
    assert desk.do("consume", usd(20), idempotency_key="k").replayed
    assert desk.provider.asked == []


def test_a_usage_takes_what_consume_takes(desk: Office) -> None:
    given = {"occurred_at": T0 - MINUTE, "kind": "call", "description": "to Oslo", "idempotency_key": "k"}
    (receipt,) = desk.do("consume_many", [Usage(usd(5), **given)])
    event = only(receipt.events, FundsConsumed)
    assert {name: getattr(event, name) for name in given} == given
    assert desk.do("consume", usd(5), **given) == Receipt((event,), usd(95), usd(95), (), replayed=True)
    parameters = taken_by(Ledger.consume, "at")
    assert sorted(one[0] for one in parameters) == sorted(name for name in inspect.signature(Usage).parameters)


def test_a_naive_time_is_no_repetition_of_an_aware_one(desk: Office) -> None:
    at = T0 - MINUTE
    desk.do("consume", usd(1), occurred_at=at, idempotency_key="k")
    assert desk.do("consume", usd(1), occurred_at=at, idempotency_key="k").replayed
    desk.refusal(IdempotencyConflictError, "consume", usd(1), occurred_at=at.replace(tzinfo=None), idempotency_key="k")


@pytest.mark.parametrize(("name", "arguments"), [("get", ("acme",)), ("settle_due", ()), ("consume", ("acme", usd(1)))])
def test_a_clock_that_tells_a_naive_time_is_refused(desk: Office, name: str, arguments: tuple[Any, ...]) -> None:
    desk.clock.now = T0.replace(tzinfo=None)
    with pytest.raises(InvalidValueError, match="naive"):
        desk.run(getattr(desk.service, name)(*arguments))


@pytest.mark.parametrize(
    ("ledger_id", "after_version"), [([], 0), ("", 0), ("acme", "x"), ("acme", -1), ("acme", True)]
)
def test_a_history_of_what_is_no_ledger_or_version_is_refused(desk: Office, ledger_id: Any, after_version: Any) -> None:
    with pytest.raises((WrongTypeError, InvalidValueError)):
        desk.service.history(ledger_id, after_version=after_version)


def test_parts_that_are_none_are_refused_by_name() -> None:
    class Card:
        def charge(self, charge: object) -> None: ...

    with pytest.raises(WrongTypeError, match="storage"):
        LedgerService(None, Card())
    with pytest.raises(WrongTypeError, match="payment_method"):
        LedgerService(InMemoryStorage(), None)
    with pytest.raises(WrongTypeError, match="clock"):
        LedgerService(InMemoryStorage(), Card(), clock=5)
    with pytest.raises(WrongTypeError, match="storage"):
        LedgerService([], Card())  # which can append, and nothing else
    for flag in (None, 0, 1, "no"):
        with pytest.raises(WrongTypeError, match="settles_inline"):
            LedgerService(InMemoryStorage(), Card(), settles_inline=flag)
    with pytest.raises(WrongTypeError, match="storage"):
        AsyncLedgerService(None, Card())
    with pytest.raises(WrongTypeError, match="payment_method"):
        AsyncLedgerService(AsyncInMemoryStorage(), None)
