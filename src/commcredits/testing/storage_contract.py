"""The rules of `Storage`, a short test for each, for whoever writes one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from commcredits.errors import DuplicateKeyError, VersionConflictError
from commcredits.events import values_of
from commcredits.ledger import Ledger
from commcredits.money import Money
from commcredits.payment import Paid
from commcredits.policy import RechargePolicy, Terms
from commcredits.storage import Head
from commcredits.testing.accounts import OPENED, Account, everything_in, restored
from commcredits.testing.comparison import compare_with_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from commcredits.events import Event
    from commcredits.state import LedgerState
    from commcredits.storage import Storage

_MANY = 130  # more than most storages keep events before they keep a snapshot
_MOMENT = timedelta(microseconds=1)
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _usd(amount: str | int) -> Money:
    return Money(amount, "USD")


def _names(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def _changed(event: Event, **values: Any) -> Event:
    return type(event)(**{**values_of(event), **values})


def _no_state() -> LedgerState:
    raise OSError


class StorageContract:
    """What every storage must do. Derive from it, and override the fixture `storage`; pytest does the rest.

    ```python
    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self, tmp_path):
            with MyStorage(tmp_path / "ledgers") as storage:
                yield storage
    ```
    """

    @pytest.fixture
    def storage(self) -> Any:
        """A storage without any ledger, new for each test. Override it."""
        raise NotImplementedError

    @pytest.fixture
    def tested(self, storage: Any) -> Storage:
        """The storage as the tests call it."""
        tested: Storage = storage
        return tested

    # load

    def test_a_ledger_that_nobody_opened_is_none(self, tested: Storage) -> None:
        assert tested.load("acme") is None
        Account(tested, "other")
        assert tested.load("acme") is None

    def test_what_is_loaded_makes_the_ledger_that_was_appended(self, tested: Storage) -> None:
        account = Account(tested)
        for number in range(_MANY):
            account.do("add_funds", _usd(number + 1))
            if number % 10 == 0:
                assert restored(tested) == account.ledger

    def test_what_is_loaded_are_the_events_after_the_snapshot(self, tested: Storage) -> None:
        account = Account(tested)
        for number in range(_MANY):
            account.do("add_funds", _usd(1))
            if number % 10 == 0:
                stored = tested.load("acme")
                assert stored is not None
                kept = 0 if stored.state is None else stored.state.version
                assert list(stored.events) == account.events[kept:]

    def test_what_was_loaded_does_not_change_by_later_appends(self, tested: Storage) -> None:
        account = Account(tested)
        stored = tested.load("acme")
        assert stored is not None
        before = (stored.state, tuple(stored.events))
        account.do("add_funds", _usd(5))
        assert (stored.state, tuple(stored.events)) == before

    def test_an_id_is_taken_as_it_is(self, tested: Storage) -> None:
        ids = ("acme", "ACME", "acme ", "a" * 200, "ac\u0301me", "\u00e9", "%", "a_b", "'; --", "\U0001f4de")
        for ledger_id in ids:
            assert tested.load(ledger_id) is None
            Account(tested, ledger_id)
        for ledger_id in ids:
            ledger = restored(tested, ledger_id)
            assert ledger is not None
            assert ledger.ledger_id == ledger_id

    def test_amounts_come_back_to_the_last_billionth_whatever_their_size(self, tested: Storage) -> None:
        account = Account(tested)
        amounts = ["0.000000001", "9223372036.854775808", "10000000000.000000001", "999999999999999999999999.99"]
        for amount in amounts:
            account.do("add_funds", _usd(amount))
        assert [values_of(event)["amount"] for event in tested.history("acme") if event.version > 1] == [
            _usd(amount) for amount in amounts
        ]
        assert restored(tested) == account.ledger

    def test_events_come_back_as_they_were(self, tested: Storage) -> None:
        account = Account(tested, alert_thresholds=[_usd(7)], overdraft_limit=None)
        account.now += _MOMENT
        account.do("configure_auto_recharge", RechargePolicy(_usd(10), _usd(20)), idempotency_key="on")
        account.do("consume", _usd("0.1"), kind="call", description="\u00e9\U0001f4de \"'\\\n\0%", idempotency_key="k")
        account.do("add_funds", _usd(50), reference="")
        ledger = account.copy()
        several = [("a NUL \0", "l"), ("half a pair \ud800", '"\\'), ('\\"', "\u00e9\U0001f4de")]
        account.append(
            [
                event
                for text, key in several
                for event in ledger.consume(
                    _usd("0.1"), at=account.now, kind=text, description=text, idempotency_key=key
                )
            ]
        )
        for read, event in zip(tested.history("acme"), account.events, strict=True):
            assert read == event
            assert values_of(read) == values_of(event)

    # append

    def test_a_new_ledger_is_expected_to_have_no_events(self, tested: Storage) -> None:
        account = Account(tested)
        with pytest.raises(VersionConflictError) as caught:
            account.try_append([account.ledger.opened], expected_version=0)
        assert (caught.value.ledger_id, caught.value.expected_version) == ("acme", 0)
        assert list(tested.history("acme")) == account.events

    @pytest.mark.parametrize("expected", [0, 1, 2, 4, 100])
    def test_an_append_onto_any_other_version_is_refused_and_nothing_is_added(
        self, tested: Storage, expected: int
    ) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(5))
        account.do("add_funds", _usd(5), idempotency_key="first")
        before = everything_in(tested)
        events = account.decide("add_funds", _usd(7), idempotency_key="second")
        with pytest.raises(VersionConflictError) as caught:
            account.try_append(events, expected_version=expected)
        assert (caught.value.ledger_id, caught.value.expected_version) == ("acme", expected)
        assert everything_in(tested) == before
        assert dict(tested.find("acme", ["second"])) == {}
        account.append(events)

    def test_a_ledger_that_is_not_there_has_no_version_but_zero(self, tested: Storage) -> None:
        ledger = Ledger.open("acme", Terms("USD"), at=OPENED)
        events = ledger.add_funds(_usd(5), at=OPENED)
        with pytest.raises(VersionConflictError):
            tested.append("acme", events, expected_version=1, head=Head.of(ledger), state=ledger.state)
        assert tested.load("acme") is None
        assert list(tested.due(OPENED + 999 * _DAY, limit=9)) == []

    def test_of_two_who_decided_on_the_same_version_the_first_wins(self, tested: Storage) -> None:
        account = Account(tested)
        one, two = account.decide("add_funds", _usd(5)), account.decide("add_funds", _usd(7))
        account.append(one)
        with pytest.raises(VersionConflictError):
            account.try_append(two, expected_version=1)
        assert list(tested.history("acme")) == [account.ledger.opened, *one]

    def test_an_idempotency_key_is_taken_once_on_a_ledger_for_ever(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(5), idempotency_key="order 7")
        for _ in range(_MANY):
            account.do("add_funds", _usd(1))
        before = everything_in(tested)
        with pytest.raises(DuplicateKeyError) as caught:
            account.try_append(account.decide("consume", _usd(1), idempotency_key="order 7"))
        error = caught.value
        assert (error.ledger_id, error.key, error.namespace) == ("acme", "order 7", "idempotency_key")
        assert everything_in(tested) == before

    def test_a_key_taken_by_the_last_of_many_events_refuses_them_all(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(50), idempotency_key="taken")
        before = everything_in(tested)
        ledger = account.copy()
        events = [
            *ledger.consume(_usd(1), at=OPENED, idempotency_key="new 1"),
            *ledger.hold("call", _usd(1), at=OPENED, expires_at=OPENED + _HOUR),
            *ledger.consume(_usd(1), at=OPENED, idempotency_key="taken"),
        ]
        with pytest.raises(DuplicateKeyError):
            account.try_append(events)
        assert everything_in(tested) == before
        assert dict(tested.find("acme", ["new 1"])) == {}
        assert list(tested.about("acme", "call")) == []
        account.append(events[:2])

    def test_a_key_given_twice_in_one_append_is_refused(self, tested: Storage) -> None:
        account = Account(tested)
        before = everything_in(tested)
        ledger = account.copy()
        events = [
            *ledger.add_funds(_usd(1), at=OPENED, idempotency_key="k"),
            *ledger.add_funds(_usd(1), at=OPENED, idempotency_key="k"),
        ]
        with pytest.raises(DuplicateKeyError) as caught:
            account.try_append(events)
        assert (caught.value.key, caught.value.namespace) == ("k", "idempotency_key")
        assert everything_in(tested) == before

    def test_a_refused_append_takes_no_key(self, tested: Storage) -> None:
        account = Account(tested)
        events = account.decide("add_funds", _usd(5), idempotency_key="k")
        with pytest.raises(VersionConflictError):
            account.try_append(events, expected_version=9)
        account.append(events)
        assert dict(tested.find("acme", ["k"])) == {"k": events[0]}

    def test_each_ledger_has_its_own_keys_and_hold_ids(self, tested: Storage) -> None:
        for ledger_id in ("acme", "other"):
            account = Account(tested, ledger_id)
            account.do("add_funds", _usd(5), idempotency_key="k")
            account.do("hold", "call", _usd(1), expires_at=OPENED + _HOUR)
        assert [event.idempotency_key for event in tested.history("other")] == [None, "k", None]

    def test_a_hold_id_is_taken_once_on_a_ledger_for_ever(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(5))
        (first,) = account.do("hold", "call", _usd(1), expires_at=OPENED + _HOUR)
        account.do("release", "call")
        for _ in range(_MANY):
            account.do("add_funds", _usd(1))
        before = everything_in(tested)
        with pytest.raises(DuplicateKeyError) as caught:
            account.try_append([_changed(first, version=account.ledger.version + 1)])
        error = caught.value
        assert (error.ledger_id, error.key, error.namespace) == ("acme", "call", "hold_id")
        assert everything_in(tested) == before

    def test_a_hold_id_given_twice_in_one_append_is_refused(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(5))
        (held,) = account.decide("hold", "call", _usd(1), expires_at=OPENED + _HOUR)
        before = everything_in(tested)
        with pytest.raises(DuplicateKeyError) as caught:
            account.try_append([held, _changed(held, version=4)])
        assert (caught.value.key, caught.value.namespace) == ("call", "hold_id")
        assert everything_in(tested) == before

    def test_only_placing_a_hold_takes_its_id(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(5))
        account.do("hold", "call", _usd(1), expires_at=OPENED + _HOUR)
        account.do("extend_hold", "call", add=_usd(1))
        account.do("capture", "call", _usd(1), final=False)
        account.do("capture", "call")
        assert list(tested.history("acme")) == account.events

    def test_keys_and_hold_ids_have_namespaces_of_their_own(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(5), idempotency_key="call")
        account.do("hold", "call", _usd(1), expires_at=OPENED + _HOUR, idempotency_key="hold")
        account.do("hold", "hold", _usd(1), expires_at=OPENED + _HOUR)
        assert set(tested.find("acme", ["call", "hold"])) == {"call", "hold"}

    def test_a_key_is_taken_as_it_is(self, tested: Storage) -> None:
        account = Account(tested)
        keys = ["k", "K", " k", "k ", "k\n", "\u00e9", "e\u0301", "%", "_", "'", "k" * 200, "\U0001f4de"]
        for key in keys:
            account.do("add_funds", _usd(1), idempotency_key=key)
        found = tested.find("acme", keys)
        assert set(found) == set(keys)
        assert all(event.idempotency_key == key for key, event in found.items())

    def test_the_state_is_asked_for_at_most_once_an_append(self, tested: Storage) -> None:
        account = Account(tested)
        for _ in range(_MANY):
            asked: list[int] = []

            def state(asked: list[int] = asked) -> LedgerState:
                asked.append(1)
                return account.ledger.state()

            events = account.ledger.add_funds(_usd(1), at=OPENED)
            account.try_append(events, state=state)
            account.events += events
            assert len(asked) <= 1

    def test_the_state_of_a_refused_append_is_not_kept(self, tested: Storage) -> None:
        account = Account(tested)
        for number in range(_MANY):
            after = account.copy()
            events = after.add_funds(_usd(7), at=OPENED)
            with pytest.raises(VersionConflictError):
                account.try_append(events, expected_version=len(account.events) + 1, after=after)
            account.do("add_funds", _usd(1))
            if number % 10 == 9:
                assert restored(tested) == account.ledger

    def test_an_append_whose_state_cannot_be_made_adds_nothing_or_does_not_ask_for_it(self, tested: Storage) -> None:
        account = Account(tested)
        for _ in range(_MANY):
            events = account.ledger.add_funds(_usd(1), at=OPENED)
            try:
                account.try_append(events, state=_no_state)
            except OSError:
                assert list(tested.history("acme")) == account.events
                account.try_append(events)
            account.events += events
        assert list(tested.history("acme")) == account.events
        assert restored(tested) == account.ledger

    def test_the_sequence_that_was_appended_is_not_kept(self, tested: Storage) -> None:
        account = Account(tested)
        events = list(account.ledger.add_funds(_usd(1), at=OPENED))
        account.try_append(events)
        given_up = list(events)
        events.clear()
        assert list(tested.history("acme")) == [account.ledger.opened, *given_up]

    def test_it_says_whether_appends_wait_for_a_commit_of_the_callers(self, tested: Storage) -> None:
        assert tested.in_caller_transaction in (True, False)
        assert isinstance(tested.in_caller_transaction, bool)

    # history

    def test_history_is_all_events_in_order_or_those_after_a_version(self, tested: Storage) -> None:
        account = Account(tested)
        for _ in range(_MANY):
            account.do("add_funds", _usd(1))
        for after in (0, 1, 64, 99, 100, 101, _MANY, _MANY + 1, 500):
            assert list(tested.history("acme", after_version=after)) == account.events[after:]
        assert list(tested.history("acme")) == account.events

    def test_the_history_of_a_ledger_that_nobody_opened_is_empty(self, tested: Storage) -> None:
        Account(tested, "other")
        assert list(tested.history("acme")) == []
        assert list(tested.history("acme", after_version=5)) == []

    def test_history_gives_one_event_after_the_other(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(1))
        history = tested.history("acme")
        assert next(history) == account.events[0]
        assert next(history) == account.events[1]
        with pytest.raises(StopIteration):
            next(history)

    # find

    def test_find_gives_the_event_that_has_a_key_and_leaves_out_the_keys_nobody_used(self, tested: Storage) -> None:
        account = Account(tested)
        (one,) = account.do("add_funds", _usd(1), idempotency_key="one")
        account.do("add_funds", _usd(1))
        (two,) = account.do("consume", _usd(1), idempotency_key="two")
        assert dict(tested.find("acme", ["two", "three", "one"])) == {"one": one, "two": two}
        assert dict(tested.find("acme", iter(["one", "one"]))) == {"one": one}
        assert dict(tested.find("acme", [])) == {}
        assert tested.find("acme", ["one"])["one"].digest == one.digest

    def test_find_gives_the_first_event_of_a_command_of_many(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("configure_auto_recharge", RechargePolicy(_usd(10), _usd(20)), idempotency_key="on")
        assert _names(tested.find("acme", ["on"]).values()) == ["AutoRechargeConfigured"]

    def test_nothing_is_found_on_another_ledger(self, tested: Storage) -> None:
        Account(tested).do("add_funds", _usd(1), idempotency_key="one")
        Account(tested, "other")
        assert dict(tested.find("other", ["one"])) == dict(tested.find("nobody", ["one"])) == {}

    # about

    def test_about_a_charge_are_all_its_events_and_the_funds_it_brought(self, tested: Storage) -> None:
        account = Account(tested)
        charge_id = account.do("purchase", _usd(20))[0].charge_id  # type: ignore[attr-defined]
        account.do("purchase", _usd(30))
        account.do("try_charge", charge_id)
        account.do("record_outcome", charge_id, Paid("one"))
        told = _names(tested.about("acme", charge_id))
        assert told == ["ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]

    def test_about_a_lot_are_its_funding_and_what_became_of_it_as_a_whole(self, tested: Storage) -> None:
        account = Account(tested)
        (added,) = account.do("add_funds", _usd(20))
        account.do("add_funds", _usd(30))
        account.do("refund", added.version, _usd(1))
        account.do("claw_back", added.version, _usd(2))
        account.do("reinstate", added.version, _usd(2))
        account.now += 400 * _DAY
        account.do("advance")
        assert _names(tested.about("acme", added.version)) == [
            *("FundsAdded", "FundsRefunded", "FundsClawedBack", "FundsReinstated"),
            *("FundsExpiring", "FundsExpiring", "FundsExpired"),
        ]

    def test_about_usage_are_its_cost_and_its_reversals(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(20))
        (usage,) = account.do("consume", _usd(5))
        account.do("consume", _usd(6))
        account.do("reverse_consumption", usage, _usd(1))
        account.do("reverse_consumption", usage, _usd(2))
        told = _names(tested.about("acme", usage.version))
        assert told == ["FundsConsumed", "ConsumptionReversed", "ConsumptionReversed"]

    def test_about_a_hold_are_all_its_events_and_the_usage_that_it_paid(self, tested: Storage) -> None:
        account = Account(tested)
        account.do("add_funds", _usd(20))
        account.do("hold", "call 1", _usd(5), expires_at=OPENED + _HOUR)
        account.do("hold", "call 2", _usd(5), expires_at=OPENED + _HOUR)
        account.do("extend_hold", "call 1", add=_usd(1))
        account.do("capture", "call 1", _usd(2))
        told = _names(tested.about("acme", "call 1"))
        assert told == ["FundsHeld", "HoldExtended", "FundsConsumed", "HoldReleased"]

    def test_a_number_and_a_text_of_the_same_digits_are_two_subjects(self, tested: Storage) -> None:
        account = Account(tested)
        (added,) = account.do("add_funds", _usd(20))
        (held,) = account.do("hold", "2", _usd(5), expires_at=OPENED + _HOUR)
        assert list(tested.about("acme", 2)) == [added]
        assert list(tested.about("acme", "2")) == [held]

    def test_about_what_nobody_knows_is_nothing(self, tested: Storage) -> None:
        assert list(tested.about("acme", 1)) == []
        Account(tested)
        for subject in (0, 1, 77, "call", ""):
            assert list(tested.about("acme", subject)) == []

    def test_about_tells_of_one_ledger_only(self, tested: Storage) -> None:
        Account(tested).do("add_funds", _usd(1))
        (granted,) = Account(tested, "other").do("grant", _usd(2))
        assert list(tested.about("other", 2)) == [granted]

    # due

    def test_a_ledger_is_due_from_the_very_instant_on(self, tested: Storage) -> None:
        account = Account(tested, expiry_notices=[])
        account.do("add_funds", _usd(1), reference="a year")
        due = account.ledger.next_due
        assert due is not None
        assert list(tested.due(due - _MOMENT, limit=9)) == []
        assert list(tested.due(due, limit=9)) == ["acme"]
        assert list(tested.due(due + 99 * _DAY, limit=9)) == ["acme"]

    def test_the_most_overdue_come_first_and_no_more_than_asked_for(self, tested: Storage) -> None:
        for number in (3, 1, 4, 2):
            Account(tested, f"ledger {number}", OPENED + number * _MINUTE).do("purchase", _usd(20))
        everyone = [f"ledger {number}" for number in (1, 2, 3, 4)]
        for limit in (1, 2, 3, 4, 99):
            assert list(tested.due(OPENED + _DAY, limit=limit)) == everyone[:limit]
        assert list(tested.due(OPENED + 2 * _MINUTE, limit=99)) == everyone[:2]

    def test_a_ledger_with_nothing_to_do_is_never_due(self, tested: Storage) -> None:
        Account(tested, funds_valid_for=None).do("add_funds", _usd(1))
        assert list(tested.due(OPENED + 99_999 * _DAY, limit=9)) == []

    def test_the_latest_append_says_when_a_ledger_is_due(self, tested: Storage) -> None:
        account = Account(tested, funds_valid_for=None)
        charge_id = account.do("purchase", _usd(20))[0].charge_id  # type: ignore[attr-defined]
        assert list(tested.due(OPENED, limit=9)) == ["acme"]
        account.do("try_charge", charge_id)
        assert list(tested.due(OPENED + 5 * _MINUTE - _MOMENT, limit=9)) == []
        assert list(tested.due(OPENED + 5 * _MINUTE, limit=9)) == ["acme"]
        account.do("record_outcome", charge_id, Paid())
        assert list(tested.due(OPENED + 9999 * _DAY, limit=9)) == []

    # All of it together

    def test_it_does_whatever_the_storage_in_memory_does(self, tested: Storage) -> None:
        compare_with_memory(tested)
