from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import T0, all_terms, day, histories, hour, ledger, play, usd
from commcredits import (
    InvalidValueError,
    Ledger,
    Money,
    Paid,
    RechargePolicy,
    Statement,
    Terms,
    UnreadableRecordError,
    WrongTypeError,
)


def a_month() -> list:
    """Funds, usage of two kinds, a recharge, a hold, a reversal and an expiry, in January."""
    account = ledger(funds_valid_for=timedelta(days=20), alert_thresholds=(usd(1),))
    events = [account.opened, *account.add_funds(usd(100), at=day(0))]
    events += account.configure_auto_recharge(RechargePolicy(usd(20), usd(50)), at=day(0))
    events += account.consume(usd("85.5"), at=day(1), kind="user_out")
    charge = account.pending_charges[0]
    events += account.try_charge(charge.charge_id, at=day(2))
    events += account.record_outcome(charge.charge_id, Paid("receipt"), at=day(2))
    events += account.hold("call", usd(5), at=day(3), expires_at=day(3.5))
    events += account.capture("call", usd("1.005"), at=day(3.1), kind="conf_out")
    usage = account.consume(usd(2), at=day(4), kind="user_out")
    events += usage
    events += account.reverse_consumption(usage[0], at=day(5))
    events += account.advance(at=day(25))
    return events


def test_a_statement_tells_opening_changes_and_closing() -> None:
    statement = Statement.of(a_month(), T0, day(31))
    assert statement.opening_balance == usd(0)
    # 100 were added on day 0 and 50 recharged on day 2; 85.5 + 1.005 burnt the first lot, whose rest expired on day 20,
    # and the second expired on day 22.
    assert statement.changes == {
        "added": usd(100),
        "consumed": usd("-88.505"),
        "recharged": usd(50),
        "reversed": usd(2),
        "expired": usd("-63.495"),
    }
    assert statement.closing_balance == usd(0)


def test_usage_is_told_by_kind_with_captures_and_without_reversals_taken_off() -> None:
    assert Statement.of(a_month(), T0, day(31)).usage == {"conf_out": (1, usd("1.005")), "user_out": (2, usd("87.5"))}


def test_the_start_belongs_to_the_period_and_the_end_does_not() -> None:
    events = a_month()
    assert [m.kind for m in Statement.of(events, day(1), day(2)).movements] == ["consumed"]
    assert [m.kind for m in Statement.of(events, day(2), day(3)).movements] == ["recharged"]


def test_charges_are_told_as_they_stood_at_the_end() -> None:
    events = a_month()
    assert [c.status for c in Statement.of(events, day(1), day(2)).charges] == ["requested"]
    assert [c.status for c in Statement.of(events, day(1), day(3)).charges] == ["paid"]
    assert Statement.of(events, day(5), day(6)).charges == ()


def test_a_purchase_is_told_apart_from_a_recharge() -> None:
    account = ledger()
    events = [account.opened, *account.purchase(usd(10), at=T0)]
    events += account.record_outcome(account.pending_charges[0].charge_id, Paid(), at=T0)
    assert dict(Statement.of(events, T0, day(1)).changes) == {"purchased": usd(10)}


def test_what_is_left_is_told_by_expiry_and_what_never_expires_last() -> None:
    account = ledger()
    events = [account.opened]
    events += account.grant(usd(3), at=T0)
    events += account.grant(usd(2), at=T0, expires_at=day(9), priority=5)
    events += account.grant(usd(1), at=T0, expires_at=day(40))
    left = Statement.of(events, T0, day(1)).lots_left
    assert left == ((day(9), usd(2)), (day(40), usd(1)), (None, usd(3)))


def test_late_usage_paid_by_lapsed_funds_costs_but_leaves_the_balance() -> None:
    account = ledger(late_usage_grace=timedelta(days=2))
    events = [account.opened, *account.grant(usd(5), at=T0, expires_at=day(1))]
    events += account.consume(usd(3), at=day(2), occurred_at=day(0.5))
    statement = Statement.of(events, T0, day(3))
    assert statement.changes == {"granted": usd(5), "lapsed": usd(-5), "consumed": usd(0)}
    assert statement.usage == {"": (1, usd(3))}


def test_what_fell_due_unrecorded_counts_until_now_and_not_beyond() -> None:
    account = ledger()
    events = [account.opened, *account.grant(usd(5), at=T0, expires_at=day(3))]
    assert Statement.of(events, T0, day(31)).closing_balance == usd(5)
    assert Statement.of(events, T0, day(31), now=day(2)).closing_balance == usd(5)
    assert Statement.of(events, T0, day(31), now=day(3)).closing_balance == usd(0)
    assert Statement.of(events, T0, day(3), now=day(9)).closing_balance == usd(5)


@given(histories(), all_terms(), st.lists(st.integers(0, 60), min_size=2, max_size=5, unique=True).map(sorted))
def test_the_closing_of_one_statement_is_the_opening_of_the_next_and_changes_add_up(
    steps: list, terms: dict, hours: list[int]
) -> None:
    history = play(ledger(**terms), steps).events
    statements = [Statement.of(history, hour(a), hour(b)) for a, b in pairwise(hours)]
    for statement in statements:
        # Independent of how the statement adds: the ledger as it was at the boundaries.
        changes = [movement.after.amount - movement.before.amount for movement in statement.movements]
        assert statement.opening_balance.amount + sum(changes) == statement.closing_balance.amount
        assert sum(money.amount for money in statement.changes.values()) == sum(changes)
        assert sum(money.amount for money in statement.totals.values()) == sum(changes)
        assert statement.closing_balance == _balance_just_before(history, statement.end)
    for one, following in pairwise(statements):
        assert one.closing_balance == following.opening_balance


def _balance_just_before(history: list, moment: datetime) -> Money:
    earlier = [event for event in history if event.at < moment]
    return Ledger.replay(earlier).balance if earlier else usd(0)


def test_the_text_shows_every_part_aligned() -> None:
    text = str(Statement.of(a_month(), T0, day(31), "Europe/Berlin"))
    assert text.splitlines() == [
        "Statement of ledger, 2026-01-01 01:00 to 2026-02-01 01:00 (Europe/Berlin)",
        "",
        "                 times  amount (USD)",
        "Opening balance                0.000",
        "  added              1       100.000",
        "  consumed           3       -88.505",
        "  recharged          1        50.000",
        "  reversed           1         2.000",
        "  expired            2       -63.495",
        "Closing balance                0.000",
        "",
        "Usage by kind",
        "",
        "kind      times  cost (USD)",
        "conf_out      1       1.005",
        "user_out      2      87.500",
        "",
        "Charges",
        "",
        "requested         purpose   payment method  outcome    amount (USD)",
        "2026-01-02 01:00  recharge  default         paid              50.00",
        "2026-01-26 01:00  recharge  default         requested         50.00",
    ]


def test_in_a_notebook_it_shows_the_same_parts_and_nothing_of_a_caller_is_markup() -> None:
    account = Ledger.open("<b>&", Terms("USD"), at=T0)
    events = [account.opened, *account.add_funds(usd(10), at=T0)]
    events += account.consume(usd(1), at=T0, kind="<script>")
    page = Statement.of(events, T0, day(31))._repr_html_()
    assert page.count("<table") == 3
    assert "Statement of &lt;b&gt;&amp;, 2026-01-01 00:00 to" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_the_totals_sum_the_changes_up_and_lead_from_the_opening_to_the_closing_balance() -> None:
    statement = Statement.of(a_month(), T0, day(31))
    assert statement.totals == {
        "funded": usd(150),
        "granted": usd(0),
        "consumed": usd("-88.505"),
        "reversed": usd(2),
        "expired": usd("-63.495"),
        "refunded": usd(0),
        "clawed_back": usd(0),
    }


def test_lapsed_funds_count_as_expired_and_reinstated_ones_as_not_clawed_back() -> None:
    account = ledger(late_usage_grace=timedelta(days=2), funds_valid_for=timedelta(days=5))
    events = [account.opened, *account.add_funds(usd(10), at=T0)]
    events += account.claw_back(2, usd(4), at=day(1))
    events += account.reinstate(2, usd(3), at=day(2))
    events += account.advance(at=day(6))
    totals = Statement.of(events, T0, day(31)).totals
    assert (totals["clawed_back"], totals["expired"]) == (usd(-1), usd(-9))


def test_recharges_are_told_with_their_outcomes() -> None:
    events = a_month()
    assert [(c.amount, c.status) for c in Statement.of(events, T0, day(31)).recharges] == [
        (usd(50), "paid"),
        (usd(50), "requested"),
    ]
    account = ledger()
    events = [account.opened, *account.purchase(usd(10), at=T0)]
    assert Statement.of(events, T0, day(1)).recharges == ()


def test_funds_about_to_expire_are_told_the_soonest_first() -> None:
    account = ledger()
    events = [account.opened]
    events += account.grant(usd(3), at=T0)
    events += account.grant(usd(1), at=T0, expires_at=day(40), priority=-1)
    events += account.grant(usd(2), at=T0, expires_at=day(9))
    statement = Statement.of(events, T0, day(1))
    assert statement.expiring(day(40)) == ((day(9), usd(2)), (day(40), usd(1)))
    assert statement.expiring(day(39.9)) == ((day(9), usd(2)),)
    with pytest.raises(InvalidValueError):
        statement.expiring(datetime(2026, 3, 1))  # noqa: DTZ001


def test_the_table_has_a_row_for_each_movement() -> None:
    account = ledger()
    events = [account.opened, *account.add_funds(usd(10), at=T0, idempotency_key="order 1")]
    events += account.consume(usd("1.5"), at=day(1), kind="call", description="to Paris")
    one, two = Statement.of(events, T0, day(31), "Europe/Berlin").table().to_records()
    assert one["at"].isoformat() == "2026-01-01T01:00:00+01:00"
    assert (one["kind"], one["change"], one["version"], one["idempotency_key"]) == ("added", usd(10), 2, "order 1")
    assert {**two, "at": None} == {
        "at": None,
        "kind": "consumed",
        "usage": "call",
        "description": "to Paris",
        "change": usd("-1.5"),
        "before": usd(10),
        "after": usd("8.5"),
        "version": 3,
        "idempotency_key": None,
    }


def test_a_statement_of_nothing_is_one_of_zeros() -> None:
    statement = Statement.of([ledger().opened], day(1), day(2))
    assert (statement.opening_balance, statement.closing_balance, statement.movements) == (usd(0), usd(0), ())
    assert "Usage" not in str(statement)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([], T0, day(1)), UnreadableRecordError),
        ((None, day(1), T0), InvalidValueError),
        ((None, T0, T0), InvalidValueError),
        ((None, datetime(2026, 1, 1), day(1)), InvalidValueError),  # noqa: DTZ001
        ((None, "2026-01-01", day(1)), WrongTypeError),
        ((None, T0, day(1), "Europe/Atlantis"), InvalidValueError),
    ],
)
def test_bad_periods_and_histories_are_refused(arguments: tuple, error: type[Exception]) -> None:
    events, *rest = arguments
    with pytest.raises(error):
        Statement.of([ledger(at=datetime(2020, 1, 1, tzinfo=UTC)).opened] if events is None else events, *rest)


def test_a_history_with_gaps_or_of_what_is_no_event_is_unreadable() -> None:
    events: list = a_month()
    for broken in (
        events[1:],
        [*events[:3], *events[4:]],
        [*events, events[-1]],
        [events[0], events[0]],
        [events[0], 5],
    ):
        with pytest.raises(UnreadableRecordError):
            Statement.of(broken, T0, day(31))
    for nothing in (None, 5):
        with pytest.raises(WrongTypeError, match="events"):
            Statement.of(nothing, T0, day(31))  # type: ignore[arg-type]


def test_movements_are_a_sequence_like_any_other() -> None:
    movements = Statement.of(a_month(), T0, day(31)).movements
    listed = list(movements)
    assert len(movements) == len(listed) == 8
    assert [movements[place] for place in range(-8, 8)] == [*listed, *listed]
    assert (movements[2:4], movements[::-1][0]) == (tuple(listed[2:4]), listed[-1])
    with pytest.raises(IndexError):
        movements[8]
    assert movements == Statement.of(a_month(), T0, day(31)).movements
    assert hash(movements) == hash(Statement.of(a_month(), T0, day(31)).movements)
    assert movements != listed[1:]
    assert movements != 8
    assert repr(movements) == "<8 movements>"
    assert [(m.before, m.after) for m in movements][:2] == [(usd(0), usd(100)), (usd(100), usd("14.5"))]
