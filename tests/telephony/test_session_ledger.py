"""Rules of what a session sees of its ledger: the same, whether it is bare or kept by a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from build import T0, kinds, ledger, usd
from commcredits import FundsConsumed, IdempotencyConflictError, InsufficientFundsError
from commcredits.stepping import stepped
from commcredits.telephony.session_ledger import OnLedger, OnService
from office import Office


@pytest.fixture(params=["bare", "kept"])
def seen(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A ledger of 10 dollars."""
    if request.param == "bare":
        account = ledger()
        account.add_funds(usd(10), at=T0)
        yield OnLedger(account, T0, ())
    else:
        with closing(Office("blocking", funds=10)) as office:
            yield OnService(office.service._stepped, office.LEDGER)


def test_commands_are_carried_out_and_tell_what_is_available(seen: Any) -> None:
    assert stepped(seen.do("hold", "h", usd(4), expires_at=T0 + timedelta(hours=1))) == usd(6)
    assert stepped(seen.do("consume", usd(1), key="k")) == usd(5)
    assert kinds(seen.events) == ["FundsHeld", "FundsConsumed"]
    state = stepped(seen.state())
    assert (state.available, state.held, state.as_of) == (usd(5), usd(4), T0)


def test_what_a_key_stands_for_is_found(seen: Any) -> None:
    stepped(seen.do("consume", usd(1), key="k"))
    event = stepped(seen.find("k"))
    assert isinstance(event, FundsConsumed)
    assert event.amount == usd(1)
    assert stepped(seen.find("l")) is None


def test_a_known_key_is_not_obeyed_again(seen: Any) -> None:
    stepped(seen.do("consume", usd(1), key="k"))
    with pytest.raises(IdempotencyConflictError) as caught:
        stepped(seen.do("consume", usd(2), key="k"))
    assert caught.value.idempotency_key == "k"
    assert stepped(seen.state()).available == usd(9)


def test_what_is_refused_records_nothing(seen: Any) -> None:
    with pytest.raises(InsufficientFundsError):
        stepped(seen.do("consume", usd(11), key="k"))
    assert seen.events == []
    assert stepped(seen.find("k")) is None


def test_what_a_service_recorded_before_is_not_told_again() -> None:
    with closing(Office("blocking", funds=10)) as office:
        seen = OnService(office.service._stepped, office.LEDGER)
        for _ in range(2):
            assert stepped(seen.do("consume", usd(1), key="k")) == usd(9)
        assert kinds(seen.events) == ["FundsConsumed"]


def test_a_bare_ledger_remembers_what_it_is_reminded_of() -> None:
    account = ledger()
    account.add_funds(usd(10), at=T0)
    recorded = account.consume(usd(1), at=T0, idempotency_key="k")
    assert not OnLedger(account, T0, ()).remembers
    reminded = OnLedger(account, T0, recorded)
    assert reminded.remembers
    assert stepped(reminded.find("k")) == recorded[0]
    with pytest.raises(IdempotencyConflictError):
        stepped(reminded.do("consume", usd(1), key="k"))


def test_a_bare_ledger_forgives_a_clock_that_is_a_little_behind() -> None:
    account = ledger(at=T0 + timedelta(minutes=1))
    account.add_funds(usd(10), at=T0)
    assert stepped(OnLedger(account, T0, ()).state()).as_of == T0 + timedelta(minutes=1)
