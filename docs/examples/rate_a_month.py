"""Rate a month of calls of a made-up company: what its plans cover, and what its credits pay.

The company has 200 people in three countries with Calling Plans and Audio Conferencing, and two toll-free numbers. Its
calls are made up as well, the same ones at each run. Every night the calls of the day are billed; in the end the whole
month is billed once more, which must change nothing. Prints who paid for what, and draws it. No money moves, and
nothing leaves this machine.

    python docs/examples/rate_a_month.py
    python docs/examples/rate_a_month.py --people 500 --month 2026-02 --seed 7
"""

from __future__ import annotations

import argparse
import csv
from bisect import bisect
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import attrs
from dateutil.relativedelta import relativedelta
from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from commcredits import ChargePaid, InMemoryStorage, LedgerService, Money, Paid, RechargePolicy, Terms
from commcredits.telephony import (
    Allowance,
    AllowanceState,
    BilledCall,
    CallingPlan,
    CallRecord,
    DialOutPlan,
    RateCard,
    Subscriber,
    bill,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from commcredits import Charge, Outcome
    from commcredits.telephony import Bill

RATES = Path(__file__).parent / "data" / "rates.csv"
LEDGER = "contoso"
CURRENCY = "USD"
PEOPLE_MAX = 5_000
TOP = 8

PAYERS = ("allowance", "credits", "nobody")
REASONS = {
    "domestic": "domestic calls",
    "abroad": "calls abroad",
    "dial-out": "dial-out from conferences",
    "toll-free": "toll-free calls in",
    "in": "other calls in, and free",
}
PLAN_COLOUR, CREDITS_COLOUR = "#2f6f9f", "#e07b39"
TITLE_PAD = 28  # room for a legend between a title and its picture
COST_COLOURS = {"abroad": "#e07b39", "toll-free": "#7a5195", "dial-out": "#c8415b", "domestic": "#f2b84b"}

T = TypeVar("T")


# --- the company, and its month


@attrs.frozen
class Office:
    """A country with some of the people, their hours, and the numbers they have and call."""

    country: str
    name: str
    zone: str
    share: int
    plan: str
    own: str
    toll_free: str
    domestic: str


OFFICES = (
    Office("US", "United States", "America/New_York", 60, "MCOPSTN5", "+1206555", "+18005550199", "+1312555"),
    Office("GB", "United Kingdom", "Europe/London", 25, "MCOPSTN2", "+44207946", "+448000000199", "+44207946"),
    Office("DE", "Germany", "Europe/Berlin", 15, "MCOPSTN6", "+493023125", "", "+493023125"),
)

# Where calls abroad go: country, its name, the beginning of its numbers, and how often.
ABROAD = (
    ("GB", "United Kingdom", "+44207946", 20),
    ("GB", "United Kingdom", "+447700900", 6),
    ("DE", "Germany", "+493023125", 16),
    ("FR", "France", "+33199001", 12),
    ("FR", "France", "+33639981", 5),
    ("US", "United States", "+1206555", 14),
    ("IN", "India", "+911123456", 12),
    ("JP", "Japan", "+81355550", 7),
    ("BR", "Brazil", "+551155550", 6),
    ("AU", "Australia", "+61255500", 5),
    ("MX", "Mexico", "+525555550", 5),
    ("AE", "United Arab Emirates", "+97145550", 2),
    ("ZA", "South Africa", "+27105550", 2),
)

# How many of a hundred calls are of a kind, and how many seconds they last about.
KINDS = (
    ("domestic", 46, 200),
    ("user_in", 26, 190),
    ("abroad", 11, 330),
    ("conf_out", 5, 1_050),
    ("toll_free", 5, 1_400),
    ("conf_in", 4, 1_700),
    ("queue", 3, 150),
)
CALL_TYPES = {"domestic": "user_out", "abroad": "user_out", "toll_free": "conf_in", "queue": "ucap_in"}
CALLS_A_DAY = 4.2
BUSY_HOURS = (2, 6, 9, 8, 4, 6, 8, 8, 5, 2)  # from eight in the morning on


def people_of(count: int) -> list[tuple[Subscriber, Office]]:
    """The people and where they work; every second one may organize conferences with dial-out."""
    people = []
    cuts = list(accumulate(office.share for office in OFFICES))
    for number in range(count):
        office = OFFICES[bisect(cuts, number * cuts[-1] // count)]
        subscriber = Subscriber(
            user_id=f"person-{number + 1:03}",
            country=office.country,
            calling_plan=CallingPlan.microsoft_teams(office.plan, office.country),
            audio_conferencing=DialOutPlan() if number % 2 else None,
            communications_credits=True,
        )
        people.append((subscriber, office))
    return people


def calls_of(month: datetime, people: Sequence[tuple[Subscriber, Office]], random: Random) -> list[CallRecord]:
    """The calls of a month, as a usage report would list them, by their starts."""
    calls: list[CallRecord] = []
    for day in range(days_in(month)):
        date = month + timedelta(days=day)
        busy = CALLS_A_DAY if date.weekday() < 5 else CALLS_A_DAY / 14
        for person, office in people:
            for _ in range(round(random.gammavariate(2, busy / 2))):
                calls.append(call_of(len(calls), date, person, office, random))
    return sorted(calls, key=lambda call: (call.started_at, call.record_id))


def days_in(month: datetime) -> int:
    """How many days the month has that begins so."""
    return (month + relativedelta(months=1) - month).days


def call_of(number: int, date: datetime, person: Subscriber, office: Office, random: Random) -> CallRecord:
    """One made-up call of a person."""
    kind, _, seconds = pick(KINDS, [share for _, share, _ in KINDS], random)
    if kind == "conf_out" and person.audio_conferencing is None:
        kind, seconds = "domestic", 200
    country, name, prefix = office.country, office.name, office.domestic
    if kind in ("abroad", "conf_out"):
        others = [place for place in ABROAD if place[0] != office.country]
        country, name, prefix, _ = pick(others, [place[3] for place in others], random)
    own, other = f"{office.own}{number % 10_000:04}", f"{prefix}{random.randrange(10_000):04}"
    call_type = CALL_TYPES.get(kind, kind)
    comes_in = call_type.endswith("_in")
    is_toll_free = kind in ("toll_free", "queue") and bool(office.toll_free)
    callee = office.toll_free if is_toll_free else own
    hour = 8 + pick(range(len(BUSY_HOURS)), BUSY_HOURS, random)
    local = date.replace(tzinfo=ZoneInfo(office.zone), hour=hour)
    return CallRecord(
        record_id=f"call-{number:06}",
        started_at=local + timedelta(seconds=random.randrange(3600)),
        duration_seconds=min(7_200, max(4, round(random.lognormvariate(0, 0.9) * seconds * 0.67))),
        charge=Money.zero(CURRENCY),
        call_type=call_type,
        user_id="" if kind == "queue" else person.user_id,
        usage_country=office.country,
        caller_number=other if comes_in else own,
        callee_number=callee if comes_in else other,
        number_type="TollFree" if is_toll_free else "Subscriber",
        destination_name=name,
        destination_context="Domestic" if country == office.country else "International",
        extra={"External Country": country},
    )


def pick(items: Sequence[T], weights: Sequence[int], random: Random) -> T:
    """One of the items, by weight."""
    return random.choices(items, weights)[0]


# --- the billing: what an application does with the library


class NightClock:
    """The clock of the service: it is set forward from night to night, so a month goes by in seconds."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        """The time that it was set to."""
        return self.time


class PretendedCard:
    """A payment method that always pays."""

    def charge(self, charge: Charge) -> Outcome:
        """Pay."""
        return Paid(f"receipt of {charge.charge_id}")


@attrs.define
class Month:
    """What became of a month of calls."""

    start: datetime
    service: LedgerService
    billed: list[BilledCall] = attrs.Factory(list)
    alerts: list[tuple[datetime, str]] = attrs.Factory(list)


def bill_nightly(
    month: datetime, calls: Sequence[CallRecord], people: Sequence[Subscriber], console: Console
) -> tuple[Month, Bill]:
    """Bill the calls of each day in the night after it, and then the month as a whole; what it came to."""
    with RATES.open(encoding="utf-8", newline="") as file:
        card = RateCard.read_rows(csv.DictReader(file), name="published rates")
    clock = NightClock(month - timedelta(hours=12))
    service = LedgerService(InMemoryStorage(), PretendedCard(), clock=clock)
    service.open(LEDGER, Terms.microsoft_teams(CURRENCY))
    service.purchase(LEDGER, Money("500", CURRENCY))
    policy = RechargePolicy(threshold=Money("100", CURRENCY), amount=Money("250", CURRENCY))
    service.configure_auto_recharge(LEDGER, policy)

    result = Month(month, service)
    unused = allowances = AllowanceState(Allowance.pools(people))
    days = [(date, list(day)) for date, day in groupby(calls, key=lambda call: call.started_at.date())]
    for date, day in track(days, "Billing each night", console=console):
        clock.time = datetime(date.year, date.month, date.day, tzinfo=UTC) + timedelta(hours=26)
        before = set(allowances.alerts)
        allowances = bill(service, LEDGER, day, card, allowances, on_billed=result.billed.append).allowances
        for alert in sorted(set(allowances.alerts) - before, key=lambda alert: alert.percent):
            told = (
                f"{alert.percent} % of the {alert.counter.kind.replace('_', '-')} minutes of {alert.counter.allowance}"
            )
            result.alerts.append((clock.time, told))
    # All of it once more, from the allowances that the month began with: nothing is billed twice.
    return result, bill(service, LEDGER, calls, card, unused)


# --- what is shown of it


def reason(one: BilledCall) -> str:
    """What kind of call it is to the one who pays for it."""
    call = one.call
    if call.is_toll_free:
        return "toll-free"
    if call.direction == "inbound":
        return "in"
    if call.is_conference:
        return "dial-out"
    return "domestic" if call.destination_context == "Domestic" else "abroad"


def summary_table(month: Month) -> Table:
    """Who paid for which calls."""
    table = plain_table("Who paid for the calls")
    table.add_column("")
    for name in ("calls", "minutes", "covered by plans", "paid by credits", CURRENCY):
        table.add_column(name, justify="right")
    totals: Counter[str] = Counter()
    for name, label in REASONS.items():
        some = [one for one in month.billed if reason(one) == name]
        seconds = {
            payer: sum(share for one in some for who, share, _ in one.shares if who == payer) for payer in PAYERS
        }
        cost = Money.total((one.cost for one in some), CURRENCY)
        counts = {"calls": len(some), "all": sum(seconds.values()), **seconds}
        totals.update(counts)
        table.add_row(label, *row_of(counts), f"{cost:,.2f}")
    table.add_section()
    cost = Money.total((one.cost for one in month.billed), CURRENCY)
    table.add_row("All calls", *row_of(totals), f"{cost:,.2f}", style="bold")
    return table


def row_of(counts: dict[str, int]) -> list[str]:
    """Calls, and minutes of all, covered and paid calls, as text."""
    minutes = [f"{counts[name] / 60:,.0f}" if counts[name] else "–" for name in ("all", "allowance", "credits")]
    return [f"{counts['calls']:,}", *minutes]


def pools_table(allowances: AllowanceState, month: datetime) -> Table:
    """How far the pools were used."""
    table = plain_table("The plans' minutes")
    for name, justify in (
        ("pool", "left"),
        ("minutes", "left"),
        ("included", "right"),
        ("used", "right"),
        ("", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for line in allowances.minutes(month):
        share = f"{line.used_seconds / line.total_seconds:.0%}"
        minutes = (f"{seconds / 60:,.0f}" for seconds in (line.total_seconds, line.used_seconds))
        table.add_row(line.counter.allowance, line.counter.kind.replace("_", "-"), *minutes, share)
    return table


def totals_table(title: str, total: Bill, part: str, names: dict[str, str] | None = None) -> Table:
    """What credits paid most for, by a part of the bill."""
    table = plain_table(title)
    table.add_column("")
    for name in ("calls", "minutes", CURRENCY):
        table.add_column(name, justify="right")
    paid = [(key[0], line) for key, line in total.by(part, "payer").items() if key[1] == "credits"]  # type: ignore[arg-type]
    for key, (calls, seconds, cost) in sorted(paid, key=lambda one: one[1].cost, reverse=True)[:TOP]:
        table.add_row((names or {}).get(key, key), f"{calls:,}", f"{seconds / 60:,.0f}", f"{cost:,.2f}")
    return table


def plain_table(title: str) -> Table:
    """A table with a title and one line under its head."""
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE)


def draw(month: Month, total: Bill, path: Path) -> None:
    """Draw who paid, day by day, how far the pools were used, and where the credits went."""
    days = [month.start + timedelta(days=day) for day in range(days_in(month.start))]
    minutes: dict[str, Counter[int]] = {payer: Counter() for payer in PAYERS}
    costs: dict[str, Counter[int]] = {name: Counter() for name in REASONS}
    for one in month.billed:
        day = (one.call.started_at - month.start).days
        # Billionths of a dollar, and seconds: a picture is drawn of them, nothing is billed by it.
        costs[reason(one)][day] += int(one.cost.amount * 10**9)
        for payer, seconds, _ in one.shares:
            minutes[payer][day] += seconds

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    (who, pools), (what, countries) = figure.subplots(2, 2, width_ratios=(2.3, 1))
    parts = [
        ("covered by plans", PLAN_COLOUR, minutes["allowance"]),
        ("paid by credits", CREDITS_COLOUR, minutes["credits"]),
    ]
    stack(who, "Minutes that somebody pays for, each day", days, parts, 60)
    parts = [(REASONS[name], colour, costs[name]) for name, colour in COST_COLOURS.items()]
    stack(what, f"What credits paid, each day, in {total.currency}", days, parts, 10**9)
    draw_pools(pools, total, month.start)
    draw_countries(countries, total)
    people = len({user_id for (user_id,) in total.by("user_id")} - {""})
    calls = f"{total.calls:,} calls of {people:,} people"
    title = f"{month.start:%B %Y}: {calls}, {total.cost:,.2f} {total.currency} from credits"
    figure.suptitle(title, fontsize=16, x=0.008, ha="left")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)  # type: ignore[union-attr]
    figure.savefig(path, dpi=130)


def stack(
    axes: Axes, title: str, days: Sequence[datetime], parts: Sequence[tuple[str, str, Counter[int]]], unit: int
) -> None:
    """Bars for the days, the parts one upon the other, and a legend above them."""
    below = [0.0] * len(days)
    for label, colour, values in parts:
        heights = [values[day] / unit for day in range(len(days))]
        axes.bar(days, heights, bottom=below, color=colour, label=label, width=0.82, edgecolor="white", linewidth=0.6)
        below = [one + other for one, other in zip(below, heights, strict=True)]
    axes.set_title(title, loc="left", weight="bold", pad=TITLE_PAD)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=len(parts), frameon=False, handlelength=1, fontsize=10
    )
    axes.xaxis.set_major_locator(dates.WeekdayLocator(dates.MO))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%d %b"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.01)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_pools(axes: Axes, total: Bill, month: datetime) -> None:
    """A bar for each pool: how much of it was used."""
    lines = total.allowances.minutes(month)
    names = [f"{line.counter.allowance}\n{line.counter.kind.replace('_', '-')}" for line in lines]
    shares = [100 * line.used_seconds / line.total_seconds for line in lines]
    axes.barh(names, [100] * len(lines), color="#e9edf1", height=0.62)
    axes.barh(names, shares, color=PLAN_COLOUR, height=0.62)
    for place, line in enumerate(lines):
        used, included = (f"{seconds / 60:,.0f}" for seconds in (line.used_seconds, line.total_seconds))
        axes.text(103, place, f"{used} of\n{included} min", va="center", fontsize=9)
    axes.set_title("The plans' minutes used", loc="left", weight="bold", pad=TITLE_PAD)
    horizontal(axes)
    axes.set_xlim(0, 135)


def draw_countries(axes: Axes, total: Bill) -> None:
    """A bar for each of the countries that credits paid most for."""
    costs = [
        (country, total_.cost)
        for (country, payer), total_ in total.by("country", "payer").items()
        if payer == "credits"
    ]
    most = sorted(costs, key=lambda one: one[1], reverse=True)[:TOP]
    axes.barh(
        [country for country, _ in most], [float(cost.amount) for _, cost in most], color=CREDITS_COLOUR, height=0.62
    )
    for place, (_, cost) in enumerate(most):
        axes.text(float(cost.amount), place, f" {cost:,.0f}", va="center", fontsize=9)
    axes.set_title(f"Where credits went, in {total.currency}", loc="left", weight="bold", pad=TITLE_PAD)
    horizontal(axes)
    axes.margins(x=0.12)


def horizontal(axes: Axes) -> None:
    """What bars that lie have in common."""
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)


# --- the command line


def main(arguments: Sequence[str] | None = None) -> None:
    """Make up the calls, bill them, print and draw; a bad option ends with its name and exit code 2."""
    parser = option_parser()
    options = parser.parse_args(arguments)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --output: {error}")
    console = Console(highlight=False)
    people = people_of(options.people)
    # The same calls at each run are what is wanted, not chance.
    calls = calls_of(options.month, people, Random(options.seed))  # noqa: S311
    month, total = bill_nightly(options.month, calls, [person for person, _ in people], console)
    month.service.get(LEDGER).check()  # raises if a single billionth went astray

    picture = options.output / "who_paid.png"
    draw(month, total, picture)
    console.print(summary_table(month), pools_table(total.allowances, options.month))
    for at, told in month.alerts:
        console.print(f"  {at:%Y-%m-%d}   {told} are used")
    console.print(totals_table("The countries and regions that credits paid most for", total, "country"))
    console.print(totals_table("The people that credits paid most for", total, "user_id", {"": "bots"}))
    console.print(money_table(month, total))
    twice = total.recorded + total.corrected
    console.print(
        f"Billed once more: the ledger knew {total.known:,} calls that credits pay for, {twice} were new to it."
    )
    print(f"The picture is in {picture}")


def money_table(month: Month, total: Bill) -> Table:
    """The balance, and that it agrees with the bill."""
    state = month.service.get(LEDGER)
    events = list(month.service.history(LEDGER))
    charged = [event.amount for event in events if isinstance(event, ChargePaid)]
    table = plain_table("The balance")
    table.add_column("")
    table.add_column(CURRENCY, justify="right")
    table.add_row("Bought the day before", f"{charged[0]:,.4f}")
    table.add_row(f"Recharges, {len(charged) - 1} ×", f"{Money.total(charged[1:], CURRENCY):,.4f}")
    table.add_row("Consumed by calls", f"{-state.totals.consumed:,.4f}", end_section=True)
    table.add_row("Balance at the end", f"{state.balance:,.4f}", style="bold", end_section=True)
    table.add_row("The bill of the whole month", f"{total.cost:,.4f}")
    return table


def option_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Rate a month of calls of a made-up company.")
    parser.add_argument("--people", type=people_count, default=200, help="how many there are (default: %(default)s)")
    parser.add_argument("--month", type=a_month, default="2026-03", help="which month (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one makes up other calls (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("month"), help="the folder for the picture (default: %(default)s)"
    )
    return parser


def people_count(text: str) -> int:
    """The number of people that an option tells."""
    count = int(text)
    if not 2 <= count <= PEOPLE_MAX:
        raise argparse.ArgumentTypeError(f"must be from 2 to {PEOPLE_MAX:,}")
    return count


def a_month(text: str) -> datetime:
    """The first instant of the month that an option tells."""
    try:
        month = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a month such as 2026-03: {text!r}") from None
    if not 1970 <= month.year <= 2100:
        raise argparse.ArgumentTypeError("must be from 1970 to 2100")
    return month


if __name__ == "__main__":
    main()
