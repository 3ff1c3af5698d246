from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from build import T0, day, hour, ledger, usd
from commcredits import (
    Charge,
    CurrencyMismatchError,
    Event,
    InvalidValueError,
    Ledger,
    Money,
    RechargeDecision,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Statement,
    Terms,
    Threshold,
    UnreadableRecordError,
    WrongTypeError,
)
from commcredits import notebook as shown
from commcredits.notebook import (
    load_ipython_extension,
    plot_balance,
    plot_costs,
    plot_lots,
    plot_trade_off,
    tables_of,
)
from commcredits.simulation import PolicyFigures, Suggestion, simulate

POLICY = RechargePolicy(
    Threshold(usd(20), inclusive=True),
    usd(50),
    limits=(RechargeLimit(count=3, per="day"), RechargeLimit(amount=usd(500), count=9, per="month")),
    recharge_when_refused=True,
)


@pytest.fixture(autouse=True)
def pictures_that_nobody_sees() -> Iterator[None]:
    mpl.use("Agg")
    yield
    plt.close("all")


def a_ledger() -> Ledger:
    """Two lots, a hold, and a charge that was asked for."""
    account = ledger(overdraft_limit=None)
    account.add_funds(usd(30), at=T0)
    account.grant(usd(5), at=T0, starts_at=day(2))
    account.hold("<call>", usd(12), at=T0, expires_at=hour(5))
    account.configure_auto_recharge(POLICY, at=T0)
    return account


def texts(thing: object) -> list[str]:
    return [line.rstrip() for table in tables_of(thing) for line in str(table).splitlines() if line.strip()]


# Tables


def test_a_ledger_is_shown_with_its_lots_holds_and_charges() -> None:
    assert texts(a_ledger()) == [
        "Ledger ledger",
        "as of                  2026-01-01 00:00",
        "balance                30.00 USD",
        "available              18.00 USD",
        "held                   12.00 USD",
        "automatic recharge     on",
        "at or below            20.00 USD",
        "add                    50.00 USD",
        "at most                3 times per day",
        "at most                9 times and 500.00 USD per month",
        "after a decline wait   1:00:00, 6:00:00, 1 day, 0:00:00",
        "when usage is refused  recharge too",
        "next due               2026-01-01 00:00",
        "Lots in the order in which they burn",
        "lot  amount (USD)  remaining (USD)  held (USD)  added             starts            expires           kind",
        "  2         30.00            18.00       12.00  2026-01-01 00:00                    2027-01-01 00:00  bought",
        "  3          5.00             5.00        0.00  2026-01-01 00:00  2026-01-03 00:00  never             granted",
        "Holds",
        "hold    amount (USD)  placed            expires",
        "<call>         12.00  2026-01-01 00:00  2026-01-01 05:00",
        "Charges",
        "requested         purpose   payment method  attempt  status     amount (USD)",
        "2026-01-01 00:00  recharge  default               1  requested         50.00",
    ]
    assert texts(a_ledger().state()) == texts(a_ledger())


def test_what_there_is_none_of_is_left_out() -> None:
    account = ledger()
    account.close(at=T0)
    assert texts(account) == [
        "Ledger ledger",
        "as of               2026-01-01 00:00",
        "balance             0.00 USD",
        "available           0.00 USD",
        "automatic recharge  closed",
        "closed              2026-01-01 00:00",
    ]


def test_policies_of_every_kind_are_shown_in_words() -> None:
    several = RechargePolicy(usd(20), usd(50), in_multiples=True, retry=RetryPolicy(()))
    assert texts(several)[1:] == [
        "below                       20.00 USD",
        "add as many as it takes of  50.00 USD",
        "after a decline wait        for a person",
    ]
    assert "up to                 90.00 USD" in texts(RechargePolicy(usd(20), recharge_to=usd(90)))


def test_decisions_are_shown_with_their_reason() -> None:
    account = ledger()
    assert texts(account.recharge_decision(T0)) == ["Recharge", "due      no", "because  off"]
    limit = RechargeLimit(count=1, per="day")
    decision = RechargeDecision(
        due=False, reason="limit_reached", limit=limit, until=day(1), amount=usd(5), payment_method="card", attempt=1
    )
    assert [line.split(maxsplit=1)[0] for line in texts(decision)[1:]] == [
        *("due", "because", "limit", "until", "amount", "payment", "attempt")
    ]
    suspended = RechargeDecision(due=False, reason="suspended", why="no_payment_method")
    assert "namely   no payment method" in texts(suspended)
    assert "due  yes" in texts(RechargeDecision(due=True))


def test_parts_of_a_ledger_are_shown_as_on_it() -> None:
    account = a_ledger()
    for part in (account.lots[0], account.holds[0], account.pending_charges[0]):
        assert {tuple(line.split()) for line in texts(part)} <= {tuple(line.split()) for line in texts(account)}


def test_what_is_not_of_a_ledger_has_no_table() -> None:
    with pytest.raises(WrongTypeError, match="thing"):
        tables_of("ledger")


def test_loaded_into_a_notebook_values_are_shown_as_html_without_markup_of_a_caller() -> None:
    display = DisplayFormatter()
    load_ipython_extension(SimpleNamespace(display_formatter=display, display_pub=None))
    page = display.format(a_ledger())[0]["text/html"]
    assert "&lt;call&gt;" in page
    assert "<call>" not in page
    assert display.format(usd("1234.5"))[0]["text/html"] == "<span>1,234.50 USD</span>"
    account = a_ledger()
    for thing in (account.state(), account.lots[0], account.holds[0], account.pending_charges[0], POLICY):
        assert "<td" in display.format(thing)[0]["text/html"]
    assert isinstance(account.pending_charges[0], Charge)
    assert "text/html" not in display.format(5)[0]


def test_loaded_into_a_notebook_simulations_are_shown_as_a_table_and_a_picture() -> None:
    published: list[dict[str, str]] = []
    display = DisplayFormatter()
    load_ipython_extension(
        SimpleNamespace(display_formatter=display, display_pub=SimpleNamespace(publish=published.append))
    )
    for thing in (simulate([(T0, usd(7))], POLICY, terms=Terms("USD"), opening=usd(50)), a_suggestion()):
        published.clear()
        assert display.format(thing) == ({}, {})
        table, picture = published
        assert (table["text/plain"], table["text/html"]) == (str(thing), thing._repr_html_())
        assert b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert not plt.get_fignums()


def test_loaded_into_a_terminal_values_are_shown_as_text() -> None:
    display = DisplayFormatter()
    display.active_types = ["text/plain"]
    load_ipython_extension(SimpleNamespace(display_formatter=display, display_pub=None))
    for thing in (simulate([(T0, usd(7))], POLICY, terms=Terms("USD"), opening=usd(50)), a_suggestion()):
        assert display.format(thing)[0] == {"text/plain": str(thing)}
    account = a_ledger()
    shown_as = display.format(account)[0]["text/plain"]
    assert shown_as.startswith("Ledger ledger\n\nas of   ")
    assert "\n\nLots in the order in which they burn\n\nlot  amount (USD)" in shown_as
    statement = Statement.of([account.opened], T0, day(1))
    assert display.format(statement)[0] == {"text/plain": str(statement)}


# Pictures


def a_suggestion() -> Suggestion:
    """Suggests 20 dollars, of the thresholds of 10, 20 and 1,500, with a promise of 0.2 percent."""
    figures = [
        PolicyFigures(usd(threshold), usd(80), share, 3.5, usd(threshold + 40))
        for threshold, share in ((10, 0.01), (20, 0.0015), (1500, 0.0))
    ]
    return Suggestion(
        policy=RechargePolicy(usd(20), usd(80)),
        charge_delay=timedelta(hours=1),
        out_of_credit_at_most=0.002,
        recharges_per_month_at_most=4,
        in_sample=figures[1],
        out_of_sample=PolicyFigures(usd(20), usd(80), 0.003, 3, usd(62)),
        out_of_credit_bound=0.004,
        confidence=0.4,
        days=30,
        held_out=10,
        curve=tuple(figures),
        amount_curve=(figures[1],),
    )


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_simulation_is_drawn_with_all_that_happened() -> None:
    policy = RechargePolicy(usd(40), usd(20), retry=RetryPolicy((timedelta(hours=1),)))
    usage = [(hour(n), usd(7)) for n in range(60)]
    terms = Terms("USD", funds_valid_for=timedelta(days=1))
    trajectory = simulate(usage, policy, terms=terms, opening=usd(50), decline_probability=0.6, seed=4)
    axes = plot_balance(trajectory)
    names = {type(event).__name__ for event in trajectory.events}
    assert {"FundsAdded", "ChargeDeclined", "FundsExpired"} <= names
    told = [label.split(" (")[0] for label in labels(axes)]
    assert told == ["balance", "threshold", "funds added", "decline", "expiry", "usage refused"]
    balance, threshold = axes.lines[:2]
    assert balance.get_ydata()[0] == 50
    assert set(threshold.get_ydata()) == {40.0}
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("balance in USD", "time (UTC)")


def test_a_statement_is_drawn_with_a_threshold_that_is_given() -> None:
    events: list[Event] = [(account := ledger()).opened, *account.add_funds(usd(10), at=day(1))]
    events += account.consume(usd(4), at=day(2))
    axes = plot_balance(Statement.of(events, T0, day(9)), threshold=usd(5))
    assert labels(axes) == ["balance", "threshold", "funds added (1)"]
    assert list(axes.lines[0].get_ydata()) == [0.0, 10.0, 6.0, 6.0]
    assert set(axes.lines[1].get_ydata()) == {5.0}
    _, own = plt.subplots()
    assert plot_balance(Statement.of(events, T0, day(9)), axes=own) is own


def test_only_balances_are_drawn_as_balances() -> None:
    with pytest.raises(WrongTypeError, match="what"):
        plot_balance([1, 2, 3])  # type: ignore[arg-type]


def test_lots_are_drawn_on_top_of_each_other_as_they_burn_down() -> None:
    account = ledger()
    events: list[Event] = [account.opened, *account.add_funds(usd(10), at=day(0))]
    events += account.add_funds(usd(5), at=day(1))
    events += account.consume(usd(12), at=day(2))
    axes = plot_lots(events)
    assert labels(axes) == ["lot 2", "lot 3"]
    assert axes.dataLim.y1 == 15
    tops = [max(path.vertices[:, 1]) for area in axes.collections for path in area.get_paths()]
    assert tops == [10, 15]
    assert axes.get_ylabel() == "left in USD"


def test_many_lots_have_no_legend_and_none_are_not_drawn() -> None:
    account = ledger()
    events: list[Event] = [account.opened]
    for number in range(13):
        events += account.add_funds(usd(1), at=day(number))
    assert plot_lots(events).get_legend() is None
    with pytest.raises(InvalidValueError, match="no funds came"):
        plot_lots(events[:1])
    with pytest.raises(UnreadableRecordError):
        plot_lots(events[1:])


def test_costs_are_drawn_the_largest_on_top_and_the_rest_as_one() -> None:
    axes = plot_costs({"": usd(2), "DE": usd("1234.5"), "FR": usd(3), "CH": usd(1)}, most=2)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2 others", "FR", "DE"]
    assert [bar.get_width() for bar in axes.patches] == [3, 3, 1234.5]
    assert [text.get_text() for text in axes.texts] == ["3.00", "3.00", "1,234.50"]
    assert axes.get_xlabel() == "cost in USD"
    names = plot_costs({"": usd(2), "DE": usd(1)}).get_yticklabels()
    assert [label.get_text() for label in names] == ["DE", "(none)"]


@pytest.mark.parametrize(
    ("costs", "error"),
    [
        ({}, InvalidValueError),
        ({"DE": 5}, WrongTypeError),
        ([usd(1)], WrongTypeError),
        ({"DE": usd(1), "FR": Money(1, "EUR")}, CurrencyMismatchError),
    ],
)
def test_what_are_no_costs_is_refused(costs: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        plot_costs(costs)


def test_a_suggestion_is_drawn_with_its_promise_and_what_each_threshold_costs() -> None:
    axes = plot_trade_off(a_suggestion())
    assert labels(axes) == [
        "80.00 USD, thresholds as written",
        "promised: 0.2 %",
        "suggested: below 20.00 USD",
        "its days held out",
    ]
    curve, promise, *points = axes.lines
    assert list(zip(curve.get_xdata(), curve.get_ydata(), strict=True)) == [(50, 0.01), (60, 0.0015), (1540, 0)]
    assert set(promise.get_ydata()) == {0.002}
    assert [(*point.get_xdata(), *point.get_ydata()) for point in points] == [(60, 0.0015), (62, 0.003)]
    assert [text.get_text() for text in axes.texts] == ["10.00", "1,500.00"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("idle funds on average in USD", "time out of credit")
    assert axes.yaxis.get_major_formatter()(0.002, 0) == "0.2 %"
    _, own = plt.subplots()
    assert plot_trade_off(a_suggestion(), axes=own) is own


def test_only_suggestions_are_drawn_as_trade_offs() -> None:
    with pytest.raises(WrongTypeError, match="suggestion"):
        plot_trade_off(POLICY)  # type: ignore[arg-type]


def test_every_colour_can_be_told_from_a_white_and_from_a_black_page() -> None:
    def brightness(color: str) -> float:
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    # The contrast ratio of the Web Content Accessibility Guidelines 2.1: at least 4.5 for text, and some for areas.
    grey = brightness(shown.GREY)
    assert min(1.05 / (grey + 0.05), (grey + 0.05) / 0.05) >= 4.5
    for name in ("BLUE", "ORANGE", "GREEN", "RED", "PURPLE", "SKY"):
        light = brightness(getattr(shown, name))
        assert min(1.05 / (light + 0.05), (light + 0.05) / 0.05) >= 2.1, name


def test_a_picture_has_no_background_of_its_own() -> None:
    axes = plot_costs({"DE": usd(1)})
    assert axes.figure.get_facecolor()[3] == 0
    assert axes.get_facecolor()[3] == 0
