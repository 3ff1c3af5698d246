"""What is measured of rating: reading and rating a report, and finding a rate, beside bare loops.

The deck and the report are made up, of the sizes and the form of real ones: 6,600 prefixes of up to eleven digits, and
rows of the example's report with numbers that the deck has rates for.
"""

from __future__ import annotations

import csv
import tracemalloc
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from random import Random
from time import process_time_ns
from typing import TYPE_CHECKING

from measuring import Ratios

from commcredits.telephony import RateCard, read_pstn_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commcredits.telephony import Rate

PREFIXES, ROWS, FEW_ROWS = 6_600, 100_000, 10_000
REPORT = Path(__file__).parents[2] / "docs" / "examples" / "data" / "pstn_usage_export.csv"
AT = datetime(2024, 1, 15, tzinfo=UTC)

# How many digits published decks have after the calling code: most three or four.
_MORE_DIGITS = {1: 4, 2: 12, 3: 35, 4: 30, 5: 12, 6: 5, 7: 2}
_CODES = (
    "1 20 27 30 31 32 33 34 39 40 41 43 44 45 46 47 48 49 51 52 54 55 56 57 60 61 62 63 64 65 66 7 81 82 84 86 90 91"
)
_CODES += " 212 213 216 220 225 233 234 254 255 351 352 353 354 358 359 370 371 372 380 385 420 421 502 503 506 507 591"
_CODES += " 593 595 598 852 855 880 886 962 963 965 966 971 972 973 974 977 994 995 998"


@cache
def card() -> RateCard:
    """A card of so many prefixes, and of some hundred prices."""
    random = Random(6_600)  # noqa: S311  # no secret
    codes = _CODES.split()
    prefixes = set(codes) - {"1", "7"}
    while len(prefixes) < PREFIXES:
        (more,) = random.choices(list(_MORE_DIGITS), list(_MORE_DIGITS.values()))
        prefixes.add((random.choice(codes) + "".join(random.choices("0123456789", k=more)))[:11])
    prices = [f"0.{random.randrange(10, 4000):04}" for _ in range(400)]
    rows = [{"Prefix": prefix, "Price (USD)": random.choice(prices)} for prefix in sorted(prefixes)]
    return RateCard.read_rows(rows)


@cache
def deck() -> dict[str, Rate]:
    """The rates by their prefix with a plus."""
    return {f"+{rate.prefix}": rate for rate in card().rates}


@cache
def numbers() -> list[str]:
    """A number for each row, with a rate."""
    random = Random(100_000)  # noqa: S311  # no secret
    prefixes = list(deck())
    rest = ("".join(random.choices("0123456789", k=9)) for _ in range(ROWS))
    return [(random.choice(prefixes) + more)[:13] for more in rest]


def lines(rows: int) -> Iterator[str]:
    """The lines of a report, made one at a time: calls of the example, with an id, number and start of their own."""
    with REPORT.open(encoding="utf-8-sig", newline="") as file:
        header, *report = csv.reader(file)
    outbound = [row for row in report if "_out" in row[header.index("Call Type")]]
    usage_id, number, start = (header.index(name) for name in ("UsageId", "Destination Number", "Start Time"))
    yield ",".join(header) + "\r\n"
    for place in range(rows):
        row = list(outbound[place % len(outbound)])
        row[usage_id] += f"-{place}"
        row[number] = numbers()[place]
        row[start] = f"{AT + timedelta(seconds=place):%Y-%m-%dT%H:%M:%S}.7267716Z"
        yield ",".join(row) + "\r\n"


@cache
def text() -> list[str]:
    """The lines of the whole report."""
    return list(lines(ROWS))


def bare_rate(number: str, rates: dict[str, Rate]) -> Rate | None:
    """The rate of the longest prefix, by trying one after the other."""
    for end in range(min(len(number), 12), 1, -1):
        rate = rates.get(number[:end])
        if rate is not None:
            return rate
    return None


def check() -> None:
    """Refuse to compare with a loop that finds something else than the card does."""
    for number in numbers()[:1000]:
        if card().rate_for(number, at=AT) is not bare_rate(number, deck()):
            raise RuntimeError(number)


def read_and_rate(times: int) -> int:
    """Read the report and rate each of its calls."""
    rate_call = card().rate_call
    report = text()
    start = process_time_ns()
    for _ in range(times):
        for call in read_pstn_rows(csv.DictReader(report)):
            rate_call(call)
    return process_time_ns() - start


def parse_and_look_up(times: int) -> int:
    """Let `csv.DictReader` read the same lines three times, and find a rate for each row in a bare loop."""
    report, called, rates = text(), numbers(), deck()
    start = process_time_ns()
    for _ in range(times):
        for _ in range(3):
            for _ in csv.DictReader(report):
                pass
        for number in called:
            bare_rate(number, rates)
    return process_time_ns() - start


def find_rates(times: int) -> int:
    """Ask the card for rates."""
    rate_for = card().rate_for
    wanted = list(islice(cycle(numbers()), times))
    start = process_time_ns()
    for number in wanted:
        rate_for(number, at=AT)
    return process_time_ns() - start


def find_rates_bare(times: int) -> int:
    """The same in a bare loop."""
    rates = deck()
    wanted = list(islice(cycle(numbers()), times))
    start = process_time_ns()
    for number in wanted:
        bare_rate(number, rates)
    return process_time_ns() - start


def memory() -> Ratios:
    """The most memory that many rows take, as a multiple of what few take; their lines are made as they are read."""
    card(), numbers()
    return Ratios.of([_peak(ROWS) / _peak(FEW_ROWS) for _ in range(3)])


def _peak(rows: int) -> int:
    tracemalloc.start()
    try:
        for call in read_pstn_rows(csv.DictReader(lines(rows))):
            card().rate_call(call)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
