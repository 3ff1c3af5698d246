"""Prints how fast commcredits is beside its peers, as a table in Markdown: `python tests/benchmarks`.

Needs the extra `benchmark`, a Unix, a PostgreSQL server such as the tests use, and a few minutes; the more idle the
machine, the narrower the ranges. No time is ever asserted.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import cluster
import rating
import samples
import simulated
import stored
from measuring import paired, process
from peers import Balances, SnapshotBalances

sys.path.append(str(Path(__file__).parents[1]))
from postgres_server import PostgresServer  # a module of the tests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from measuring import Ratios, Sample

AS_FAST, THE_TIME, THE_MEMORY = "× as fast", "× the time", "× the memory"


class Row(NamedTuple):
    """One comparison; `unit` says which way round the ratio is put."""

    what: str
    against: str
    target: str
    unit: str
    measure: Callable[[], Ratios]


def made_and_paired(
    ours: Callable[[], Sample], other: Callable[[], Sample], *, pairs: int = 25, same_work: bool = False
) -> Ratios:
    """As `paired`, of samples that take long to make."""
    return paired(ours(), other(), pairs=pairs, same_work=same_work)


def rows() -> Iterator[Row]:
    """The comparisons, what they need being made when they are measured."""
    yield from money_rows()
    yield from ledger_rows()
    yield from service_rows()
    yield from rating_rows()
    yield from simulation_rows()
    ours, theirs = "import commcredits", "import attrs, decimal, datetime, dateutil.relativedelta"
    yield Row(
        f"`python -c '{ours}'`, the whole process",
        f"`{theirs}`",
        "≤ 1.8",
        THE_TIME,
        partial(paired, process(ours), process(theirs)),
    )


def money_rows() -> Iterator[Row]:
    """Against py-moneyed and stockholm."""
    for what, expression in (("add", "a + b"), ("compare, `<`", "a < b"), ("compare, `==`", "a == c")):
        ours, moneyed, stockholm = samples.money_samples(expression)
        for against, theirs in (("py-moneyed", moneyed), ("stockholm", stockholm)):
            yield Row(f"`Money` {what}", against, "≥ 2", AS_FAST, partial(paired, ours, theirs))
    ours, moneyed, stockholm = samples.construction_samples()
    yield Row("`Money` from text", "py-moneyed", "≤ 1.6", THE_TIME, partial(paired, ours, moneyed))
    yield Row("`Money` from text", "stockholm", "", THE_TIME, partial(paired, ours, stockholm))


def ledger_rows() -> Iterator[Row]:
    """Against the floor and the eventsourcing library, and against itself as it grows."""
    samples.check_floor()
    usual = "`ledger.consume`: 12 lots, threshold policy, key"
    yield Row(
        usual,
        "the floor: bare integers, the same rules and record",
        "≤ 5",
        THE_TIME,
        partial(paired, samples.by_ledger, samples.by_floor, same_work=True),
    )
    yield Row(
        usual,
        "`eventsourcing` aggregate: a balance without lots, not saved",
        "≥ 5",
        AS_FAST,
        partial(paired, samples.by_ledger, samples.by_aggregate),
    )
    for what, usages_per_lot in (("", samples.MANY_EVENTS), (", one used up every 100 usages", 100)):
        yield Row(
            f"`ledger.consume`: {samples.MANY_LOTS:,} live lots{what}",
            "1 lot",
            "≤ 1.3",
            THE_TIME,
            partial(
                made_and_paired,
                partial(samples.with_lots, samples.MANY_LOTS, usages_per_lot),
                partial(samples.with_lots, 1, samples.MANY_EVENTS),
                same_work=True,
            ),
        )
    yield Row(
        "`ledger.consume`: after 10⁶ events",
        "after 10² events",
        "≤ 1.3",
        THE_TIME,
        partial(
            made_and_paired,
            partial(samples.with_events, samples.MANY_EVENTS),
            partial(samples.with_events, samples.FEW_EVENTS),
            same_work=True,
        ),
    )


def service_rows() -> Iterator[Row]:
    """Against applications of the eventsourcing library, from their defaults to their fastest settings."""
    cached = {"AGGREGATE_CACHE_MAXSIZE": "1000"}
    for how, kind, settings, target, pairs in (
        ("as it comes: no cache, no snapshots", Balances, {}, "≥ 20", 3),
        ("a snapshot every 100 events", SnapshotBalances, {}, "≥ 20", 15),
        ("its cache", Balances, cached, "≥ 20", 15),
        (
            "its cache, not looking for events of others",
            Balances,
            {**cached, "AGGREGATE_CACHE_FASTFORWARD": "n"},
            "",
            25,
        ),
    ):
        yield Row(
            "`service.consume` on `InMemoryStorage`: 10⁵ events",
            f"`eventsourcing` application in memory, {how}",
            target,
            AS_FAST,
            partial(
                made_and_paired, samples.by_service, partial(samples.by_application, kind, **settings), pairs=pairs
            ),
        )


def rating_rows() -> Iterator[Row]:
    """Against bare loops over the same report and the same prefixes."""
    rating.check()
    yield Row(
        f"`card.rate_for`: {rating.PREFIXES:,} prefixes",
        "a bare loop that tries shorter prefixes in a dict",
        "≤ 1.5",
        THE_TIME,
        partial(paired, rating.find_rates, rating.find_rates_bare, same_work=True),
    )
    read_and_rated = f"`read_pstn_rows` and `card.rate_call`: {rating.ROWS:,} rows"
    yield Row(
        read_and_rated,
        "3 times `csv.DictReader` alone, and that bare loop",
        "≤ 1",
        THE_TIME,
        partial(paired, rating.read_and_rate, rating.parse_and_look_up, pairs=9, same_work=True),
    )
    yield Row(read_and_rated, f"{rating.FEW_ROWS:,} rows", "≤ 1.1", THE_MEMORY, rating.memory)


def simulation_rows() -> Iterator[Row]:
    """Against the same balances and sums, and nothing else."""
    paths = f"`simulate_many`: {simulated.PATHS:,} paths of {simulated.DAYS} days, funds for 12 months"
    bare = "a running balance in numpy, recharged at once: no lots, one figure"
    yield Row(paths, bare, "≤ 2.5", THE_TIME, simulated.beside_bare_balances)
    yield Row(paths, "the same figures in numpy without lots", "", THE_TIME, simulated.beside_balances_without_lots)
    yield Row("`simulate`", "the same usage on a bare `Ledger`", "≤ 1.5", THE_TIME, simulated.beside_ledger)
    yield Row("`Statement.of` 10⁵ events", "one pass that sums them by kind", "≤ 2", THE_TIME, simulated.beside_sums)
    ledgers = f"{cluster.LEDGERS} ledgers of {cluster.EVENTS} events"
    yield Row(f"`replay_many` on two workers of Dask: {ledgers}", "one of them", "≥ 1.6", AS_FAST, cluster.replay)


def stored_rows(server: PostgresServer) -> Iterator[Row]:
    """Against floors of bare SQL, on the same kind of file and the same server."""
    dsn = server.dsn()
    for synchronous, target in (("NORMAL", "≤ 1.9"), ("FULL", "≤ 1.3")):
        yield Row(
            f"SQLite, WAL, `synchronous={synchronous}`: `service.consume`",
            "the floor: one event and one head",
            target,
            THE_TIME,
            partial(stored.beside_floor_on_sqlite, synchronous),
        )
    many = f"`consume_many` of {stored.MANY:,}"
    yield Row(f"SQLite: {many}", "the same rows by `executemany`", "≤ 3", THE_TIME, stored.many_on_sqlite)
    for synchronous, target in (("on", "≤ 1.3"), ("off", "≤ 1.6")):
        yield Row(
            f"PostgreSQL, `synchronous_commit={synchronous}`: `service.consume`",
            "the floor: one event and one head",
            target,
            THE_TIME,
            partial(stored.beside_floor_on_postgres, dsn, synchronous),
        )
    yield Row(f"PostgreSQL: {many}", "the same rows by `COPY`", "≤ 3", THE_TIME, partial(stored.many_on_postgres, dsn))
    yield Row(
        f"PostgreSQL, one hot ledger, {stored.CALLERS} callers at once",
        "the same service without gathering",
        "≥ 8",
        AS_FAST,
        partial(stored.gathering, dsn),
    )
    yield Row("SQLite: load after 10⁶ events", "after 10² events", "≤ 1.3", THE_TIME, stored.load_after_many)
    yield Row(f"SQLite: append at {samples.MANY_LOTS:,} lots", "1 lot", "≤ 2", THE_TIME, stored.append_with_many_lots)
    yield Row(
        "SQLite, `synchronous=NORMAL`: one consumption",
        "`eventsourcing`'s recorder",
        "≥ 4",
        AS_FAST,
        stored.beside_recorder_on_sqlite,
    )
    yield Row(
        "PostgreSQL, `synchronous_commit=off`: one consumption",
        "`eventsourcing`'s recorder",
        "≥ 4",
        AS_FAST,
        partial(stored.beside_recorder_on_postgres, server),
    )


def line(row: Row, ratios: Ratios) -> str:
    """The row of the table; as measured, ratios are our time over theirs."""
    middle, low, high = ratios.median, ratios.lowest, ratios.highest
    if row.unit == AS_FAST:
        middle, low, high = 1 / middle, 1 / high, 1 / low
    target = row.target + row.unit if row.target else "–"
    cells = (row.what, row.against, target, in_digits(middle) + row.unit, f"{in_digits(low)} – {in_digits(high)}")
    return f"| {' | '.join(cells)} | {ratios.pairs} |"


def in_digits(ratio: float) -> str:
    """Two decimals while they mean something."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def main() -> None:
    """Measure and print row after row; how far it has come goes to the standard error."""
    began = monotonic()
    print("| what | against | target | median | lowest – highest | pairs |")
    print("|---|---|---|---|---|---|")
    with PostgresServer(fsync=True) as server:
        for row in chain(rows(), stored_rows(server)):
            print(f"{monotonic() - began:4.0f} s  {row.what} / {row.against}", file=sys.stderr)
            print(line(row, row.measure()), flush=True)
            gc.collect()
    packages = ("py-moneyed", "stockholm", "eventsourcing", "psycopg", "numpy", "attrs", "python-dateutil")
    print(f"\n{platform.python_implementation()} {platform.python_version()} on {platform.system()},", end=" ")
    print(f"{platform.machine()}, {os.cpu_count()} cores;", ", ".join(f"{name} {version(name)}" for name in packages))
    print(f"{monotonic() - began:4.0f} s  done", file=sys.stderr)


if __name__ == "__main__":
    main()
