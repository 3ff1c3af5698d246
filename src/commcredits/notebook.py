"""Notebooks: the library's values as tables, and pictures of them where looking beats reading.

After `%load_ext commcredits.notebook` a notebook shows money, ledgers, lots, holds, charges, policies and decisions as
tables, and trajectories and suggestions as a table and a picture; statements and whatever else has a table of its own
need no extension. Pictures are drawn with matplotlib (extra `notebook`) on a clear background, in colours that can be
told apart on light and on dark pages and by people who see few colours (those of Okabe and Ito, "Color Universal
Design", 2008).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from commcredits.accounting import RevenueTable
from commcredits.changes import apply
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.events import ChargeDeclined, FundsAdded, FundsExpired
from commcredits.ledger import Ledger, books_of, in_order
from commcredits.lots import Hold, Lot
from commcredits.money import BILLION, Money
from commcredits.payment import Charge
from commcredits.policy import RechargePolicy, Threshold
from commcredits.recharge import RechargeDecision
from commcredits.simulation import Demand, Suggestion, Trajectories, Trajectory
from commcredits.state import LedgerReads, LedgerState
from commcredits.statement import Statement
from commcredits.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from matplotlib.axes import Axes

    from commcredits.events import Event
    from commcredits.policy import RechargeLimit

__all__ = ["load_ipython_extension", "plot_balance", "plot_costs", "plot_lots", "plot_trade_off", "tables_of"]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#767676"
"""As far from white as from black."""

_SIZE = (9, 3.6)  # inches


def load_ipython_extension(ipython: Any) -> None:
    """What `%load_ext commcredits.notebook` does: show our values as HTML from now on, and in a terminal as text."""
    formatters = ipython.display_formatter.formatters
    formatter = formatters["text/html"]
    formatter.for_type(Money, lambda money: f"<span>{escape(f'{money:,f} {money.currency}')}</span>")
    kind: type
    for kind in (Ledger, LedgerState, Lot, Hold, Charge, RechargePolicy, RechargeDecision):
        formatter.for_type(kind, lambda thing: "".join(table._repr_html_() for table in tables_of(thing)))
        formatters["text/plain"].for_type(
            kind, lambda thing, printer, _: printer.text("\n\n".join(map(str, tables_of(thing))))
        )
    for kind in (Statement, Table, RevenueTable, Demand, Trajectory, Trajectories, Suggestion):
        formatters["text/plain"].for_type(kind, lambda thing, printer, _: printer.text(str(thing)))
    if formatter.enabled:  # a terminal shows no pictures
        shown = ipython.display_formatter.ipython_display_formatter
        shown.for_type(Trajectory, partial(_show, ipython.display_pub, plot_balance))
        shown.for_type(Suggestion, partial(_show, ipython.display_pub, plot_trade_off))


def _show(publisher: Any, plot: Callable[..., Axes], thing: Trajectory | Suggestion) -> None:
    """A table, and a picture below it."""
    # Loaded only to draw, so that tables need no matplotlib.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(_SIZE, layout="constrained", facecolor="none")
    plot(thing, axes=figure.subplots())
    picture = BytesIO()
    figure.savefig(picture, format="png")
    publisher.publish({"text/plain": str(thing), "text/html": thing._repr_html_()})
    publisher.publish({"text/plain": f"{figure}", "image/png": b64encode(picture.getvalue()).decode()})


# --- tables


def tables_of(thing: object) -> tuple[Table, ...]:
    """What a notebook shows of a ledger or its state, a lot, a hold, a charge, a policy or a decision.

    Raises: WrongTypeError for anything else.
    """
    match thing:
        case LedgerReads():
            return tuple(table for table in _of_ledger(thing) if table.rows)
        case Lot():
            return (_of_lots([thing]),)
        case Hold():
            return (_of_holds([thing]),)
        case Charge():
            return (_of_charges([thing]),)
        case RechargePolicy():
            return (_facts("Automatic recharge", _of_policy(thing)),)
        case RechargeDecision():
            return (_facts("Recharge", _of_decision(thing)),)
        case _:
            raise WrongTypeError("thing", thing, "a ledger, or something that belongs to one")


def _facts(title: str, facts: Iterator[tuple[str, object]]) -> Table:
    return Table(("", ""), tuple((name, value) for name, value in facts if value is not None), title)


def _of_ledger(ledger: LedgerReads) -> Iterator[Table]:
    yield _facts(f"Ledger {ledger.ledger_id}", _balances(ledger))
    yield _of_lots(list(ledger.lots))
    yield _of_holds(list(ledger.holds))
    yield _of_charges(list(ledger.pending_charges))


def _balances(ledger: LedgerReads) -> Iterator[tuple[str, object]]:
    yield "as of", ledger.as_of
    yield "balance", ledger.balance
    yield "available", ledger.available
    for name, money in (("held", ledger.held), ("overdraft", ledger.overdraft), ("lapsed", ledger.lapsed)):
        yield name, None if money.is_zero else money
    yield "automatic recharge", ledger.auto_recharge_status
    if ledger.recharge_policy is not None:
        yield from _of_policy(ledger.recharge_policy)
    yield "next due", ledger.next_due
    yield "closed", ledger.closed_at


def _of_lots(lots: list[Lot]) -> Table:
    headings = ("lot", "amount", "remaining", "held", "added", "starts", "expires", "kind")
    rows = (
        (
            lot.lot_id,
            lot.amount,
            lot.remaining,
            lot.held,
            lot.added_at,
            lot.starts_at if lot.starts_at > lot.added_at else None,
            lot.expires_at or "never",
            "bought" if lot.purchased else "granted",
        )
        for lot in lots
    )
    return Table(headings, tuple(rows), "Lots in the order in which they burn")


def _of_holds(holds: list[Hold]) -> Table:
    rows = ((hold.hold_id, hold.amount, hold.placed_at, hold.expires_at) for hold in holds)
    return Table(("hold", "amount", "placed", "expires"), tuple(rows), "Holds")


def _of_charges(charges: list[Charge]) -> Table:
    rows = (
        (charge.requested_at, charge.purpose, charge.payment_method, charge.attempt, charge.status, charge.amount)
        for charge in charges
    )
    return Table(("requested", "purpose", "payment method", "attempt", "status", "amount"), tuple(rows), "Charges")


def _of_policy(policy: RechargePolicy) -> Iterator[tuple[str, object]]:
    yield ("at or below" if policy.threshold.inclusive else "below"), policy.threshold.amount
    yield ("add as many as it takes of" if policy.in_multiples else "add"), policy.amount
    yield "up to", policy.recharge_to
    for limit in policy.limits:
        yield "at most", _limit(limit)
    yield "after a decline wait", ", ".join(map(str, policy.retry.delays)) or "for a person"
    yield "when usage is refused", "recharge too" if policy.recharge_when_refused else None


def _limit(limit: RechargeLimit) -> str:
    bounds = [None if limit.count is None else f"{limit.count} times", limit.amount]
    return f"{' and '.join(str(bound) for bound in bounds if bound is not None)} per {limit.per}"


def _of_decision(decision: RechargeDecision) -> Iterator[tuple[str, object]]:
    yield "due", "yes" if decision.due else "no"
    yield "because", None if decision.reason is None else decision.reason.replace("_", " ")
    yield "namely", None if decision.why is None else decision.why.replace("_", " ")
    yield "limit", None if decision.limit is None else _limit(decision.limit)
    yield "until", decision.until
    yield "amount", decision.amount
    yield "payment method", decision.payment_method
    yield "attempt", decision.attempt


# --- pictures


def plot_balance(
    what: Trajectory | Statement, *, threshold: Threshold | Money | None = None, axes: Axes | None = None
) -> Axes:
    """The balance over time, with the threshold, and where funds came, were declined, expired or did not suffice.

    `threshold`: that of the policy if not given; a statement knows none. `axes`: of matplotlib; None makes new ones.

    Raises: WrongTypeError for what is neither a simulation nor a statement.
    """
    if isinstance(what, Trajectory):
        times, levels = list(what.times), list(what.levels)
        events: Iterable[Event] = what.events
        refused = [at for at, _ in what.refused]
        threshold = what.policy.threshold if threshold is None and what.policy is not None else threshold
    elif isinstance(what, Statement):
        times = [what.start, *(movement.event.at for movement in what.movements)]
        levels = [what.opening_balance._billionths, *(movement.after._billionths for movement in what.movements)]
        events = [movement.event for movement in what.movements]
        refused = []
    else:
        raise WrongTypeError("what", what, "a Trajectory or a Statement")
    times.append(what.end)
    levels.append(levels[-1])
    picture = _axes(axes, f"balance in {what.currency}")
    picture.step(times, _units(levels), where="post", color=BLUE, linewidth=1.2, label="balance")
    if threshold is not None:
        amount = threshold.amount if isinstance(threshold, Threshold) else threshold
        picture.axhline(_units([amount._billionths])[0], color=ORANGE, linestyle="--", linewidth=1.2, label="threshold")
    marks = {"funds added": (FundsAdded, "^", GREEN), "decline": (ChargeDeclined, "x", RED)}
    marks |= {"expiry": (FundsExpired, "v", PURPLE)}
    levels_at = dict(zip(times, levels, strict=True))
    for label, (kind, marker, color) in marks.items():
        _mark(picture, [event.at for event in events if isinstance(event, kind)], levels_at, label, marker, color)
    _mark(picture, refused, levels_at, "usage refused", "|", RED)
    _date_axis(picture)
    _legend(picture)
    return picture  # type: ignore[no-any-return]


def plot_lots(events: Iterable[Event], *, axes: Axes | None = None) -> Axes:
    """How the lots of a history burnt down: what was left in each, the first to burn at the bottom.

    Raises: as `Ledger.replay`; InvalidValueError for a history without lots.
    """
    history = in_order(events)
    books = books_of(next(history, None))
    times: list[datetime] = []
    left: list[dict[int, int]] = []
    for event in history:
        apply(books, event)
        times.append(event.at)
        left.append({lot.lot_id: lot.free + lot.held + lot.lapsed for lot in books.lots.values()})
    lots = list(dict.fromkeys(lot_id for levels in left for lot_id in levels))
    if not lots:
        raise InvalidValueError("events", len(times), "a history in which no funds came")
    picture = _axes(axes, f"left in {books.currency}")
    columns = [_units([levels.get(lot_id, 0) for levels in left]) for lot_id in lots]
    colors = [(BLUE, ORANGE, GREEN, PURPLE, SKY, RED)[place % 6] for place in range(len(lots))]
    picture.stackplot(times, *columns, step="post", colors=colors, labels=[f"lot {lot_id}" for lot_id in lots])
    picture.set_ylim(bottom=0)
    _date_axis(picture)
    if len(lots) <= 12:
        _legend(picture)
    return picture  # type: ignore[no-any-return]


def plot_costs(costs: Mapping[str, Money], *, most: int = 12, axes: Axes | None = None) -> Axes:
    """What usage cost, by destination, kind or whatever the names are: the `most` largest, and the rest as one.

    Raises: WrongTypeError for what is no mapping of names to Money, InvalidValueError for an empty one,
        CurrencyMismatchError for more than one currency.
    """
    if not isinstance(costs, Mapping) or not all(isinstance(cost, Money) for cost in costs.values()):
        raise WrongTypeError("costs", costs, "a mapping of names to Money")
    if not costs:
        raise InvalidValueError("costs", costs, "there are none")
    ranked = sorted(costs.items(), key=lambda item: item[1], reverse=True)
    shown, rest = ranked[:most], [cost for _, cost in ranked[most:]]
    currency = ranked[0][1].currency
    if rest:
        shown.append((f"{len(rest)} others", Money.total(rest, currency)))
    picture = _axes(axes, "")
    names = [name or "(none)" for name, _ in reversed(shown)]
    bars = picture.barh(names, _units([cost._billionths for _, cost in reversed(shown)]), color=BLUE)
    picture.bar_label(bars, [f"{cost:,.2f}" for _, cost in reversed(shown)], padding=4, color=GREY, fontsize=9)
    picture.set_xlabel(f"cost in {currency}", color=GREY)
    picture.grid(visible=False, axis="y")
    picture.margins(x=0.12)
    return picture  # type: ignore[no-any-return]


def plot_trade_off(suggestion: Suggestion, *, axes: Axes | None = None) -> Axes:
    """What credit costs: time without it against idle funds, threshold by threshold, with the promise and the choice.

    Raises: WrongTypeError for what is no suggestion.
    """
    if not isinstance(suggestion, Suggestion):
        raise WrongTypeError("suggestion", suggestion, "a Suggestion")
    promise = suggestion.out_of_credit_at_most
    picture = _axes(axes, "time out of credit")
    idle = _units(figures.idle_average._billionths for figures in suggestion.curve)
    shares = [figures.out_of_credit for figures in suggestion.curve]
    label = f"{suggestion.amount}, thresholds as written"
    picture.plot(idle, shares, color=BLUE, linewidth=1.2, marker="o", markersize=4, label=label)
    for figures, place, share in zip(suggestion.curve, idle, shares, strict=True):
        if figures.threshold == suggestion.threshold:
            continue  # is in the legend
        where = {"xytext": (-8, -1), "textcoords": "offset points", "ha": "right", "va": "center"}
        picture.annotate(f"{figures.threshold:,f}", (place, share), **where, color=GREY, fontsize=9)
    picture.axhline(promise, color=ORANGE, linestyle="--", linewidth=1.2, label=f"promised: {100 * promise:g} %")
    for figures, name, marker, color in (
        (suggestion.in_sample, f"suggested: below {suggestion.threshold}", "D", GREEN),
        (suggestion.out_of_sample, "its days held out", "s", PURPLE),
    ):
        (place,) = _units([figures.idle_average._billionths])
        picture.plot([place], [figures.out_of_credit], marker, markersize=8, color=color, label=name)
    # Each threshold brings it down manifold, in the end to nothing, which a logarithm cannot show.
    picture.set_yscale("symlog", linthresh=promise / 10)
    picture.set_ylim(bottom=-promise / 40)
    picture.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    picture.set_xlabel(f"idle funds on average in {suggestion.amount.currency}", color=GREY)
    picture.margins(x=0.1)
    _legend(picture)
    return picture  # type: ignore[no-any-return]


def _units(billionths: Iterable[int]) -> list[float]:
    """Major units, near enough to be drawn."""
    return [number / BILLION for number in billionths]


def _axes(axes: Axes | None, label: str) -> Any:  # as its stubs know no times
    if axes is None:
        from matplotlib import pyplot as plt  # noqa: PLC0415  # see `_show`

        _, axes = plt.subplots(figsize=_SIZE, layout="constrained", facecolor="none")
    axes.set_facecolor("none")
    axes.set_ylabel(label, color=GREY)
    axes.tick_params(colors=GREY, labelcolor=GREY)
    axes.grid(visible=True, color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GREY)
    return axes


def _date_axis(axes: Any) -> None:
    from matplotlib import dates  # noqa: PLC0415  # see `_show`

    untyped: Any = dates
    locator = untyped.AutoDateLocator(minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    axes.xaxis.get_offset_text().set_color(GREY)
    axes.set_xlabel("time (UTC)", color=GREY)


def _legend(axes: Any) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=GREY, fontsize=9)


def _mark(axes: Any, at: list[datetime], levels: dict[datetime, int], label: str, marker: str, color: str) -> None:
    if at:
        heights = _units(levels.get(moment, 0) for moment in at)
        axes.plot(at, heights, linestyle="none", marker=marker, markersize=7, color=color, label=f"{label} ({len(at)})")
