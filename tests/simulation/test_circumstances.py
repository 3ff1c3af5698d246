from __future__ import annotations

from datetime import timedelta

from build import T0, usd
from commcredits import Terms
from commcredits.simulation.circumstances import Circumstances


def test_a_ledger_begins_with_what_is_on_it_at_first_and_nothing_is_funded_by_nothing() -> None:
    given = Circumstances(Terms("USD"), usd(5), timedelta(0), 0, 0)
    assert given.ledger(T0).balance == usd(5)
    assert Circumstances(Terms("USD"), usd(0), timedelta(0), 0, 0).ledger(T0).version == 1
