"""Replay a month of phone calls: a Teams PSTN usage report burns down a prepaid balance that recharges itself.

Takes the cost of each call off a ledger, in the order in which the calls ended, and lets a card be charged whenever the
balance falls below the threshold. Prints a statement and the mails that the customer would get, and draws the balance.
The card is a pretended one: no money moves, and nothing leaves this machine.

What a call costs is what the report says; or, with --rates, what a rate card and a plan's minutes make of it, beside
what the report says.

    python docs/examples/replay_usage_report.py                          # the report that comes with the example
    python docs/examples/replay_usage_report.py mine.csv --threshold 100 --amount 200
    python docs/examples/replay_usage_report.py --decline-every 2        # a card that is often declined
    python docs/examples/replay_usage_report.py --rates --plan-minutes 300
"""

from __future__ import annotations

import argparse
import csv
from bisect import bisect_right
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from matplotlib import dates
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from commcredits import (
    AlertRaised,
    AutoRechargeResumed,
    AutoRechargeSuspended,
    BalanceDepleted,
    BalanceRestored,
    ChargeDeclined,
    ChargePaid,
    CommCreditsError,
    Declined,
    FundsExpired,
    FundsExpiring,
    IdempotencyConflictError,
    InMemoryStorage,
    LedgerService,
    Money,
    Paid,
    RechargeLimit,
    RechargeLimitReached,
    RechargePolicy,
    Terms,
    Threshold,
)
from commcredits.telephony import (
    Allowance,
    AllowanceState,
    BilledCall,
    CallingPlan,
    CallRecord,
    CallRefusedError,
    RateCard,
    Reconciliation,
    RowError,
    bill,
    read_pstn_rows,
    reconcile,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from commcredits import Charge, Event, Outcome, Statement
    from commcredits.telephony import Bill

DATA = Path(__file__).parent / "data"
SAMPLE = DATA / "pstn_usage_export.csv"
RATES = DATA / "rates.csv"
LEDGER = "replay"
BAD_ROWS_SHOWN = 10
DISCREPANCIES_SHOWN = 10
PLAN_MINUTES_MAX = 1_000_000
RECHARGES_MAX = 100  # each recharge is a charge of its own, so a threshold far away would take long to reach
CALL_TYPES = {
    "user_in": "calls to users",
    "user_out": "calls by users",
    "user_out_conf": "people added to a call",
    "user_out_forwarding": "forwarded calls",
    "user_out_transfer": "transferred calls",
    "conf_in": "dial-in to conferences",
    "conf_out": "dial-out from conferences",
    "fmc_in": "calls to mobile dialers",
    "fmc_out": "calls from mobile dialers",
    "ucap_in": "calls to attendants and queues",
    "ucap_out": "calls by attendants and queues",
    "ucap_out_conf": "people added by a bot",
}
PAYERS = {
    "allowance": "covered by the plan's minutes",
    "credits": "paid by credits",
    "nobody": "free, such as calls to users",
}


# --- the replay: what an application does with the library


class ReplayClock:
    """The clock of the service: it stands still until it is set, so a month goes by in a second."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        """The time that it was set to."""
        return self.time


class PretendedCard:
    """A payment method that always pays, or declines every so many recharges.

    A real one hands `charge.charge_id` to the payment provider as its idempotency key.
    """

    def __init__(self, decline_every: int) -> None:
        self._decline_every = decline_every
        self._recharges = 0

    def charge(self, charge: Charge) -> Outcome:
        """Pay, or decline."""
        if charge.purpose == "recharge":
            self._recharges += 1
            if self._decline_every and self._recharges % self._decline_every == 0:
                return Declined("not enough money on the card")
        return Paid(f"receipt of {charge.charge_id}")


@attrs.frozen
class Report:
    """The calls of a report that a ledger of one currency pays for, by their ends, and what else there is."""

    calls: list[CallRecord] = attrs.Factory(list)
    covered: list[CallRecord] = attrs.Factory(list)
    other_currencies: Counter[str] = attrs.Factory(Counter)
    below_zero: list[CallRecord] = attrs.Factory(list)
    bad_rows: list[RowError] = attrs.Factory(list)


def read_report(path: Path, currency: str) -> Report:
    """Read a CSV file and sort its rows by what is to become of them; the library itself reads no file."""
    report = Report()
    with path.open(encoding="utf-8-sig", newline="") as file:
        for call in read_pstn_rows(csv.DictReader(file), on_error=report.bad_rows.append):
            if call.cost.currency != currency and call.uses_credits:
                report.other_currencies[call.cost.currency] += 1
            elif not call.uses_credits:
                report.covered.append(call)
            elif call.cost.is_negative:
                report.below_zero.append(call)
            else:
                report.calls.append(call)
    report.calls.sort(key=ended_at)
    return report


def ended_at(call: CallRecord) -> datetime:
    """When the call's cost was known."""
    return max(call.started_at, call.ended_at or call.started_at + timedelta(seconds=call.duration_seconds))


def replay(service: LedgerService, clock: ReplayClock, calls: Iterable[CallRecord]) -> tuple[int, list[str]]:
    """Take the cost of each call off the ledger.

    Returns how many came a second time, and the ids of those that were unlike their first time; neither is paid twice.
    """
    repeated, conflicts = 0, []
    for call in calls:
        settle_until(service, clock, ended_at(call))
        try:
            receipt = service.consume(
                LEDGER,
                call.cost,
                occurred_at=call.started_at,
                kind=call.call_type,
                description=call.destination_name,
                idempotency_key=call.record_id,
            )
        except IdempotencyConflictError:
            conflicts.append(call.record_id)
        else:
            repeated += receipt.replayed
    return repeated, conflicts


@attrs.frozen
class RatedMonth:
    """What a rate card and a plan make of the calls of a report."""

    bill: Bill
    refused: list[CallRefusedError]
    reconciliation: Reconciliation


def rate(
    service: LedgerService, clock: ReplayClock, calls: Sequence[CallRecord], card: RateCard, plan_minutes: int
) -> RatedMonth:
    """Rate each call, let the plan's minutes cover what they cover, and take the rest off the ledger."""
    pools = [Allowance(plan=CallingPlan("plan", plan_minutes), name="plan")] if plan_minutes else []
    billed: list[BilledCall] = []
    refused: list[CallRefusedError] = []

    def played() -> Iterator[CallRecord]:
        for call in track(calls, "Rating", console=Console(highlight=False)):
            settle_until(service, clock, ended_at(call))
            yield call

    # In batches of one, so that each call is paid for when it ended.
    total = bill(
        service,
        LEDGER,
        played(),
        card,
        AllowanceState(pools),
        batch_size=1,
        on_billed=billed.append,
        on_refused=refused.append,
    )
    return RatedMonth(total, refused, reconcile(calls, billed))


def settle_until(service: LedgerService, clock: ReplayClock, until: datetime) -> None:
    """Do what a worker does all day: settle when something falls due, such as the retry of a declined charge."""
    while (due := service.get(LEDGER).next_due) is not None and due <= until:
        clock.time = max(clock.time, due)
        service.settle(LEDGER)
    clock.time = max(clock.time, until)


def mails(events: Iterable[Event]) -> Iterator[tuple[datetime, str, str]]:
    """What an application would write to its customer: when, the subject, and the text."""
    for event in events:
        match event:
            case ChargePaid():
                yield event.at, "Charge paid", f"{event.amount} from {event.payment_method}"
            case ChargeDeclined():
                then = f"next try {when(event.retry_at)}" if event.retry_at else "not tried again"
                yield event.at, "Charge declined", f"{event.amount}, {then}"
            case AutoRechargeSuspended():
                yield event.at, "Recharge suspended", f"{event.reason.replace('_', ' ')}: please see to your card"
            case AutoRechargeResumed():
                yield event.at, "Recharge resumed", event.reason.replace("_", " ")
            case RechargeLimitReached():
                yield event.at, "Recharge limit", f"no recharge before {when(event.until)}"
            case BalanceDepleted():
                yield event.at, "Balance used up", str(event.balance)
            case BalanceRestored():
                yield event.at, "Balance restored", str(event.balance)
            case AlertRaised():
                yield event.at, "Balance is low", f"{event.available}, {event.threshold}"
            case FundsExpiring():
                yield event.at, "Funds will expire", f"{event.amount} on {when(event.expires_at)}"
            case FundsExpired():
                yield event.at, "Funds expired", str(event.amount)


# --- what is shown of it


def report_table(path: Path, report: Report, currency: str, *, is_rated: bool) -> Table:
    """What became of the rows of the report."""
    table = plain_table(f"The report {path.name}")
    table.add_column("rows", justify="right")
    table.add_column("")
    table.add_row(
        str(len(report.calls)), f"calls in {currency} that draw on credits: {'rated' if is_rated else 'replayed'}"
    )
    covered = "calls covered by a calling plan, or free"
    table.add_row(
        str(len(report.covered)),
        f"{covered}: rated, too, if of the same days" if is_rated else f"{covered}: left aside",
    )
    if report.other_currencies:
        codes = ", ".join(sorted(report.other_currencies))
        table.add_row(str(report.other_currencies.total()), f"calls in {codes}: left aside (--currency replays them)")
    if report.below_zero:
        table.add_row(str(len(report.below_zero)), "calls of a cost below zero, which is no usage: left aside")
    if report.bad_rows:
        table.add_row(str(len(report.bad_rows)), "rows that cannot be read: left aside (see below)", style="red")
    return table


def show_bad_rows(console: Console, errors: Sequence[RowError], path: Path) -> None:
    """Say what is wrong with the rows that cannot be read; all of them stand in a file if they are many."""
    for error in errors[:BAD_ROWS_SHOWN]:
        console.print(str(error), style="red", markup=False)
    if len(errors) > BAD_ROWS_SHOWN:
        path.write_text("".join(f"{error}\n" for error in errors), encoding="utf-8")
        console.print(f"and {len(errors) - BAD_ROWS_SHOWN} more, all of them in {path}", style="red", markup=False)


def statement_table(statement: Statement) -> Table:
    """The statement, from the opening balance to the closing one."""
    table = plain_table(f"Statement from {statement.start:%Y-%m-%d} up to {statement.end:%Y-%m-%d}")
    table.add_column("")
    table.add_column("times", justify="right")
    table.add_column(statement.currency, justify="right")
    times = Counter(movement.kind for movement in statement.movements)
    nothing = Money.zero(statement.currency)
    changes = [statement.changes.get(kind, nothing) for kind in ("consumed", "recharged", "expired")]
    usage = sorted(statement.usage.items(), key=lambda item: item[1][1], reverse=True)
    opening, closing = statement.opening_balance, statement.closing_balance
    digits = most_digits([opening, closing, *changes, *(cost for _, (_, cost) in usage)])
    consumed, recharged, expired = (signed(change, digits) for change in changes)
    table.add_row("Opening balance", "", f"{opening:,.{digits}f}", style="bold", end_section=True)
    for kind, (calls, cost) in usage:
        table.add_row(CALL_TYPES.get(kind, kind or "usage of no kind"), str(calls), signed(-cost, digits))
    table.add_row("All usage", str(times["consumed"]), consumed, style="bold", end_section=True)
    table.add_row("Recharges", str(times["recharged"]), recharged)
    table.add_row("Expiries", str(times["expired"]), expired, end_section=True)
    table.add_row("Closing balance", "", f"{closing:,.{digits}f}", style="bold")
    return table


def payers_table(total: Bill) -> Table:
    """Who paid for how many calls and minutes."""
    table = plain_table("Who pays, by the rate card and the plan's minutes")
    table.add_column("")
    for name in ("calls", "minutes", total.currency):
        table.add_column(name, justify="right")
    for (payer,), (calls, seconds, cost) in total.by("payer").items():
        table.add_row(PAYERS[payer], f"{calls:,}", f"{seconds / 60:,.0f}", f"{cost:,f}" if payer == "credits" else "")
    return table


def discrepancies_table(reconciliation: Reconciliation) -> Table:
    """How the report and the rate card compare, with the first of the calls that differ."""
    found = reconciliation.discrepancies
    table = plain_table(
        f"The report beside the rate card: {reconciliation.agreeing:,} calls agree, {len(found):,} do not"
    )
    for name, justify in (("call", "left"), ("", "left"), ("report", "right"), ("rate card", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for one in found[:DISCREPANCIES_SHOWN]:
        call = one.reported or (one.rated.call if one.rated else None)
        told = f"{CALL_TYPES.get(call.call_type, call.call_type)}, {call.destination_name}" if call else one.record_id
        sides = (f"{cost:,f}" if cost is not None else "–" for cost in (one.reported_cost, one.rated_cost))
        table.add_row(told, one.kind.replace("_", " "), *sides)
    if len(found) > DISCREPANCIES_SHOWN:
        table.add_row(f"and {len(found) - DISCREPANCIES_SHOWN:,} more", "", "", "")
    return table


def mails_table(events: Iterable[Event]) -> Table:
    """The mails, in the order in which they would be sent."""
    table = plain_table("Mails that the customer would get")
    table.add_column("at (UTC)", no_wrap=True)
    table.add_column("subject", no_wrap=True)
    table.add_column("")
    for at, subject, text in mails(events):
        bad = subject in ("Charge declined", "Recharge suspended", "Recharge limit", "Balance used up")
        table.add_row(when(at), subject, text, style="red" if bad else "")
    return table


def plain_table(title: str) -> Table:
    """A table with a title and one line under its head."""
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE)


def draw(statement: Statement, events: Iterable[Event], policy: RechargePolicy, path: Path) -> None:
    """Draw the balance over time, with the threshold, the recharges, the declines and the expiries."""
    times, balances = [statement.start], [statement.opening_balance.amount]
    for movement in statement.movements:
        times += [movement.event.at, movement.event.at]
        balances += [movement.before.amount, movement.after.amount]
    times.append(statement.end)
    balances.append(statement.closing_balance.amount)
    threshold = policy.threshold.amount
    recharged = [(m.event.at, m.after.amount) for m in statement.movements if m.kind == "recharged"]
    expired = [(m.event.at, m.after.amount) for m in statement.movements if m.kind == "expired"]
    declined = [
        (event.at, balances[bisect_right(times, event.at) - 1]) for event in events if isinstance(event, ChargeDeclined)
    ]

    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(times, [float(balance) for balance in balances], color="tab:blue", alpha=0.12, linewidth=0)
    axes.plot(times, balances, color="tab:blue", label="balance")
    axes.axhline(threshold.amount, color="tab:orange", linestyle="--", label=f"threshold, {threshold}")
    for points, marker, colour, label in (
        (recharged, "^", "tab:green", "recharge"),
        (declined, "x", "tab:red", "charge declined"),
        (expired, "v", "tab:purple", "funds expired"),
    ):
        if points:
            counted = f"{label}, {len(points)} ×"
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=9, label=counted, zorder=3)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.margins(x=0.01, y=0.1)
    if min(balances) >= 0:
        axes.set_ylim(bottom=0)
    axes.set_title(f"The balance, recharged by {policy.amount} whenever it falls below {threshold}", loc="left")
    axes.set_ylabel(f"balance in {statement.currency}")
    axes.set_xlabel(f"{statement.start:%Y-%m-%d} up to {statement.end:%Y-%m-%d} (UTC)")
    locator = axes.xaxis.get_major_locator()
    formats = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, formats=formats, show_offset=False))
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=130)


def most_digits(amounts: Iterable[Money]) -> int:
    """How many decimals it takes to show all the amounts exactly, one below the other."""
    return max(len(f"{money:f}".partition(".")[2]) for money in amounts)


def signed(money: Money, digits: int) -> str:
    """An amount with its sign, without its currency."""
    return f"{money:,.{digits}f}" if money.is_zero else f"{money:+,.{digits}f}"


def when(at: datetime) -> str:
    """A time as it is shown."""
    return f"{at:%Y-%m-%d %H:%M}"


# --- the command line


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, replay, print and draw; a bad option ends with its name and exit code 2."""
    parser = option_parser()
    options = parser.parse_args(arguments)
    terms, opening, policy = rules(parser, options)
    card = read_card(parser, options)
    with blaming(parser, "report"):
        report = read_report(options.report, options.currency)
    with blaming(parser, "--output"):
        options.output.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    console.print(report_table(options.report, report, options.currency, is_rated=card is not None))
    show_bad_rows(console, report.bad_rows, options.output / "bad_rows.txt")
    if not report.calls:
        others = ", ".join(sorted(report.other_currencies)) or "other currencies neither"
        parser.error(f"argument --currency: no call in {options.currency} draws on credits; there are: {others}")

    dearest = max(costs(report.calls, card), default=opening)
    if policy.amount is not None and dearest > policy.amount * RECHARGES_MAX:
        parser.error(
            f"argument --amount: a call of {dearest} is more than {RECHARGES_MAX} recharges of {policy.amount}"
        )

    # The funds are bought the day before, so that the statement opens with them.
    start = ended_at(report.calls[0]).replace(hour=0, minute=0, second=0, microsecond=0)
    end = ended_at(report.calls[-1]).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    clock = ReplayClock(start - timedelta(hours=12))
    service = LedgerService(InMemoryStorage(), PretendedCard(options.decline_every), clock=clock)
    open_ledger(parser, service, terms, opening, policy)
    if card is None:
        month = None
        repeated, conflicts = replay(service, clock, track(report.calls, "Replaying", console=console))
    else:
        covered = [call for call in report.covered if call.cost.currency == options.currency]
        calls = report.calls + [call for call in covered if start <= ended_at(call) < end]
        with blaming(parser, "--rates"):
            month = rate(service, clock, sorted(calls, key=ended_at), card, options.plan_minutes)
        repeated, conflicts = month.bill.repeated, []
    with blaming(parser, "report"):
        settle_until(service, clock, end)
    service.get(LEDGER).check()  # raises if a single billionth went astray

    statement = service.statement(LEDGER, start, end)
    events = list(service.history(LEDGER))
    picture = options.output / "balance.png"
    with blaming(parser, "--output"):
        draw(statement, events, policy, picture)
    if month is not None:
        console.print(payers_table(month.bill), discrepancies_table(month.reconciliation))
    console.print(statement_table(statement), mails_table(events))
    if repeated:
        console.print(f"{repeated} rows came a second time; each call was paid for once.")
    for record_id in conflicts:
        console.print(f"Left aside: a second row with the id {record_id}, unlike the first.", style="red", markup=False)
    for error in month.refused if month else ():
        console.print(f"Left aside: {error}", style="red", markup=False)
    print(f"The picture of the balance is in {picture}")


def open_ledger(
    parser: argparse.ArgumentParser, service: LedgerService, terms: Terms, opening: Money, policy: RechargePolicy
) -> None:
    """Open the ledger, with the funds and the policy that the options ask for."""
    with blaming(parser, "report"):
        service.open(LEDGER, terms)
    with blaming(parser, "--opening"):
        service.purchase(LEDGER, opening)
    with blaming(parser, "--amount"):
        service.configure_auto_recharge(LEDGER, policy)


def costs(calls: Iterable[CallRecord], card: RateCard | None) -> Iterator[Money]:
    """What each call costs by the report, or by the card where it has a rate."""
    for call in calls:
        if card is None:
            yield call.cost
        else:
            with suppress(CommCreditsError):  # it is told of when the call is billed
                yield card.rate_call(call).cost


def read_card(parser: argparse.ArgumentParser, options: argparse.Namespace) -> RateCard | None:
    """The rate card that the options ask for; None: the costs are the report's."""
    if not 0 <= options.plan_minutes <= PLAN_MINUTES_MAX:
        parser.error(f"argument --plan-minutes: must be from 0 to {PLAN_MINUTES_MAX:,}")
    if options.rates is None:
        if options.plan_minutes:
            parser.error("argument --plan-minutes: needs --rates, by which the calls that it does not cover are rated")
        return None
    with blaming(parser, "--rates"), options.rates.open(encoding="utf-8-sig", newline="") as file:
        return RateCard.read_rows(csv.DictReader(file), currency=options.currency, name=options.rates.name)


def option_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Replay a Teams PSTN usage report through a prepaid balance that recharges itself."
    )
    parser.add_argument(
        "report", nargs="?", type=Path, default=SAMPLE, help="a CSV export (default: the one beside this example)"
    )
    parser.add_argument("--currency", type=str.upper, default="USD", help="the calls to replay (default: %(default)s)")
    parser.add_argument("--opening", default="100", help="funds bought before the first call (default: %(default)s)")
    parser.add_argument(
        "--threshold", default="50", help="recharge when the balance is below it (default: %(default)s)"
    )
    parser.add_argument("--amount", default="50", help="how much a recharge adds (default: %(default)s)")
    parser.add_argument("--monthly-limit", help="the most that recharges come to in a month (default: no limit)")
    parser.add_argument("--alert", help="a mail when the balance falls below it (default: none)")
    parser.add_argument("--valid-days", type=int, help="days until bought funds expire (default: 12 months)")
    parser.add_argument(
        "--decline-every", type=int, default=0, metavar="N", help="the card declines every Nth recharge (default: none)"
    )
    parser.add_argument(
        "--rates",
        nargs="?",
        type=Path,
        const=RATES,
        metavar="CARD",
        help="rate the calls by a card, a CSV file (without a name: the one beside this example)",
    )
    parser.add_argument(
        "--plan-minutes",
        type=int,
        default=0,
        metavar="N",
        help="with --rates: a plan covers so many domestic minutes a month (default: none)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("replay"), help="the folder for the picture (default: %(default)s)"
    )
    return parser


def rules(parser: argparse.ArgumentParser, options: argparse.Namespace) -> tuple[Terms, Money, RechargePolicy]:
    """The terms of the ledger, the opening funds and the recharge policy that the options ask for."""
    currency = options.currency
    limits: tuple[RechargeLimit, ...] = ()
    with blaming(parser, "--currency"):
        terms = Terms.microsoft_teams(currency)
    with blaming(parser, "--opening"):
        opening = Money(options.opening, currency)
    with blaming(parser, "--threshold"):
        threshold = Threshold(Money(options.threshold, currency))
    with blaming(parser, "--monthly-limit"):
        if options.monthly_limit is not None:
            limits = (RechargeLimit(amount=Money(options.monthly_limit, currency)),)
    with blaming(parser, "--amount"):
        policy = RechargePolicy(threshold, Money(options.amount, currency), limits=limits)
    if policy.amount is not None and threshold.amount > policy.amount * RECHARGES_MAX:
        parser.error(f"argument --threshold: more than {RECHARGES_MAX} recharges of {policy.amount} away from nothing")
    with blaming(parser, "--alert"):
        if options.alert is not None:
            terms = attrs.evolve(terms, alert_thresholds=(Threshold(Money(options.alert, currency)),))
    with blaming(parser, "--valid-days"):
        if options.valid_days is not None:
            terms = attrs.evolve(terms, funds_valid_for=timedelta(days=options.valid_days))
    if options.decline_every < 0:
        parser.error("argument --decline-every: must be zero (never) or more")
    return terms, opening, policy


@contextmanager
def blaming(parser: argparse.ArgumentParser, option: str) -> Iterator[None]:
    """End the program with a message that names the option, if what is done with its value fails."""
    try:
        yield
    except UnicodeDecodeError:
        parser.error(f"argument {option}: not a CSV file in UTF-8")
    except OverflowError:
        parser.error(f"argument {option}: too large")
    except (CommCreditsError, OSError, csv.Error) as error:
        parser.error(f"argument {option}: {error}")


if __name__ == "__main__":
    main()
