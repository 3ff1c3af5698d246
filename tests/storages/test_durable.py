"""What both databases must do beyond the rules of every storage: transactions, tampering, snapshots, the feed."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from databases import T0, Database, usd

from commcredits import (
    DuplicateKeyError,
    FundsConsumed,
    Head,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    LedgerOpened,
    LedgerService,
    Money,
    RechargePolicy,
    Terms,
    UnreadableRecordError,
    Usage,
    VersionConflictError,
    WrongTypeError,
)
from commcredits.codec import event_from_json, event_to_json
from commcredits.storages import rows
from commcredits.storages.rows import Position

# The tables


def test_tables_are_made_once_and_their_version_is_recorded(database: Database) -> None:
    database.opened()
    database.storage.create_tables()
    database.storage_on(database.connect()).create_tables()
    assert database.execute("SELECT version FROM commcredits_schema") == [(2,)]
    assert database.service().get("acme").balance == usd(100)


def test_tables_of_a_newer_version_are_left_alone(database: Database) -> None:
    database.execute("UPDATE commcredits_schema SET version = 3")
    with pytest.raises(UnreadableRecordError, match="version 3; this library knows them up to version 2"):
        database.storage.create_tables()
    assert database.execute("SELECT version FROM commcredits_schema") == [(3,)]


def test_the_columns_say_what_people_ask_for(database: Database) -> None:
    service = database.opened()
    database.pass_time(hours=1)
    service.consume("acme", usd("12.345"), idempotency_key="call-1")
    amount, at = ("amount", "at") if database.kind == "sqlite" else ("amount::text", "at AT TIME ZONE 'UTC'")
    balance = "balance_after" if database.kind == "sqlite" else "balance_after::text"
    rows_found = database.execute(f"SELECT type, {at}, {amount}, {balance}, idempotency_key FROM commcredits_events")
    kind, time, cost, left, key = sorted(rows_found, key=str)[2]
    assert (kind, cost, left, key) == ("FundsConsumed", "12.345", "87.655", "call-1")
    assert str(time)[:10] == "2026-01-01"
    assert str(time)[11:19] == "01:00:00"


def test_each_event_tells_the_balance_right_after_it(database: Database) -> None:
    service = database.opened(funds=60)
    database.pass_time(days=400)  # the funds expire before anything else is recorded
    service.add_funds("acme", usd(5), reference="late")
    service.consume_many("acme", [Usage(usd(1)), Usage(usd(2))])
    found = database.execute("SELECT version, type, balance_after FROM commcredits_events ORDER BY version")
    told = [(kind, float(balance)) for _, kind, balance in found]
    assert ("FundsAdded", 60.0) in told
    assert ("FundsExpired", 0.0) in told
    consumed = [balance for kind, balance in told if kind == "FundsConsumed"]
    assert consumed[0] - consumed[1] == 2


def test_what_the_balance_was_after_events_read_back_and_appended_elsewhere_is_not_known(database: Database) -> None:
    events = list(database.opened().history("acme"))
    ledger = Ledger.replay(events)
    copied = [event_from_json(event_to_json(event)) for event in events]
    database.execute("DELETE FROM commcredits_events")
    database.execute("DELETE FROM commcredits_ledgers")
    database.storage.append("acme", copied, expected_version=0, head=Head.of(ledger), state=ledger.state)
    told = [balance for (balance,) in database.execute("SELECT balance_after FROM commcredits_events ORDER BY version")]
    assert (told[:-1], float(told[-1])) == ([None, None], 100)  # the head tells that of the last
    assert list(database.storage.history("acme")) == events


# All or nothing, and joining the caller's transaction


def test_an_append_of_nothing_changes_nothing_and_still_looks_at_the_version(database: Database) -> None:
    service = database.opened()
    ledger = Ledger.replay(list(service.history("acme")))
    for ledger_id, version in (("acme", 3), ("nobody", 0)):
        database.storage.append(ledger_id, (), expected_version=version, head=Head.of(ledger), state=ledger.state)
    for ledger_id, version in (("acme", 2), ("acme", 0), ("nobody", 1)):
        with pytest.raises(VersionConflictError):
            database.storage.append(ledger_id, (), expected_version=version, head=Head.of(ledger), state=ledger.state)
    assert database.storage.load("nobody") is None
    assert service.get("acme").version == 3


def test_an_append_that_fails_in_the_middle_leaves_nothing(database: Database) -> None:
    service = database.opened()
    refuse_version(database, 5)
    kind = Exception if database.kind == "sqlite" else psycopg.Error
    with pytest.raises(kind, match="no such luck"):
        service.consume_many("acme", [Usage(usd(1)), Usage(usd(2)), Usage(usd(3))])
    assert service.get("acme").version == 3
    assert database.execute("SELECT version FROM commcredits_ledgers") == [(3,)]
    assert len(database.execute("SELECT 1 FROM commcredits_events")) == 3


def refuse_version(database: Database, version: int) -> None:
    """Let the database itself refuse one event, as a full disk or a constraint of somebody else's would."""
    if database.kind == "sqlite":
        database.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON commcredits_events WHEN NEW.version = {version}"
            " BEGIN SELECT RAISE(ABORT, 'no such luck'); END"
        )
    else:
        database.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no such luck'; END $$"
        )
        database.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON commcredits_events FOR EACH ROW"
            f" WHEN (NEW.version = {version}) EXECUTE FUNCTION refuse()"
        )


def test_an_append_whose_head_does_not_move_adds_nothing_whatever_kept_it(database: Database) -> None:
    service = database.opened()
    if database.kind == "sqlite":
        database.execute("CREATE TRIGGER keep BEFORE UPDATE ON commcredits_ledgers BEGIN SELECT RAISE(IGNORE); END")
    else:
        database.execute("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
        database.execute(
            "CREATE TRIGGER keep BEFORE UPDATE ON commcredits_ledgers FOR EACH ROW EXECUTE FUNCTION keep()"
        )
    with pytest.raises(VersionConflictError):
        service.consume("acme", usd(1))
    assert len(database.execute("SELECT 1 FROM commcredits_events")) == 3


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
def test_usage_and_the_callers_own_row_are_committed_together_or_not_at_all(database: Database, ending: str) -> None:
    service = database.opened()
    database.execute("CREATE TABLE calls (call_id TEXT PRIMARY KEY)")
    assert not database.storage.in_caller_transaction
    database.execute("BEGIN")
    database.execute("INSERT INTO calls VALUES (?)", "call-1")
    assert database.storage.in_caller_transaction
    receipt = service.consume("acme", usd(95), idempotency_key="call-1")
    assert (receipt.balance, len(receipt.pending_charges), database.card.charged) == (usd(5), 1, [])
    elsewhere = database.service(database.storage_on(database.connect()))
    assert elsewhere.get("acme").balance == usd(100)
    database.execute(ending)
    committed = ending == "COMMIT"
    assert elsewhere.get("acme").balance == usd(5 if committed else 100)
    assert len(database.execute("SELECT * FROM calls")) == committed
    assert service.get("acme").balance == usd(5 if committed else 100)
    assert len(service.settle("acme").events) == (3 if committed else 0)
    assert service.get("acme").balance == usd(55 if committed else 100)


def test_a_refused_append_leaves_the_callers_transaction_as_it_was(database: Database) -> None:
    service = database.opened()
    service.consume("acme", usd(1), idempotency_key="k")
    database.execute("CREATE TABLE calls (call_id TEXT PRIMARY KEY)")
    ledger = Ledger.replay(list(service.history("acme")))
    with_taken_key = ledger.consume(usd(1), at=T0, idempotency_key="k")
    database.execute("BEGIN")
    database.execute("INSERT INTO calls VALUES ('before')")
    for events, expected, error in (
        (with_taken_key, 2, VersionConflictError),
        (with_taken_key, 4, DuplicateKeyError),
    ):
        with pytest.raises(error):
            database.storage.append("acme", events, expected_version=expected, head=Head.of(ledger), state=ledger.state)
    with pytest.raises(InsufficientFundsError):
        service.consume("acme", usd(1000))
    assert service.consume("acme", usd(1), idempotency_key="k").replayed
    service.consume("acme", usd(2), idempotency_key="k2")
    database.execute("INSERT INTO calls VALUES ('after')")
    database.execute("COMMIT")
    assert len(database.execute("SELECT * FROM calls")) == 2
    assert service.get("acme").balance == usd(97)


def test_rows_are_read_however_the_caller_wants_its_own(database: Database) -> None:
    service = database.opened()
    if database.kind == "sqlite":
        database.connection.row_factory = lambda cursor, row: {"rows": "of another kind"}
    else:
        database.connection.row_factory = psycopg.rows.dict_row
    assert service.consume("acme", usd(1), idempotency_key="k").balance == usd(99)
    assert service.consume("acme", usd(1), idempotency_key="k").replayed
    assert [event.version for event in service.history("acme")] == [1, 2, 3, 4]


# Amounts and tampering


def test_amounts_beyond_64_bits_come_back_as_they_were(database: Database) -> None:
    huge = Money("10000000000", "VND")
    service = database.service()
    service.open("acme", Terms("VND"))
    service.add_funds("acme", huge, reference="")
    service.add_funds("acme", Money("999999999999999999999999.999999999", "VND"), reference="")
    service.consume("acme", Money("0.000000001", "VND"))
    assert str(service.get("acme").balance) == "1000000000000009999999999.999999998 VND"
    balance = "balance" if database.kind == "sqlite" else "balance::text"
    assert database.execute(f"SELECT {balance} FROM commcredits_ledgers") == [("1000000000000009999999999.999999998",)]


TAMPERINGS = {
    "the payload's amount": ("payload", "REPLACE(payload, '12.00 USD', '11.00 USD')"),
    "another lot is drawn from": ("payload", "REPLACE(payload, '[[2,', '[[1,')"),
    "the payload is no JSON any more": ("payload", None),
    "the amount": ("amount", "'11'"),
    "the balance": ("balance_after", "'11'"),
    "the type": ("type", "'FundsAdded'"),
    "the time": ("at", "'2026-01-01T00:00:00.000001+00:00'"),
    "the key": ("idempotency_key", "'other'"),
    "the hold's id": ("hold_id", "'other'"),
    "what it is about": ("subject", "'2'"),
    "the version": ("version", "44"),
    "the checksum": ("checksum", "'0000000000000000'"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_row_that_was_tampered_with_is_a_named_error_and_never_a_wrong_balance(
    database: Database, tampering: str
) -> None:
    service = database.opened()
    service.consume("acme", usd("12.00"), idempotency_key="k")
    column, value = TAMPERINGS[tampering]
    if database.kind == "postgres" and column == "payload":
        value = None if value is None else f"({value.replace('payload,', 'payload::text,')})::json"
    value = value or ("'{'" if database.kind == "sqlite" else "'[]'")
    database.execute(f"UPDATE commcredits_events SET {column} = {value} WHERE version = 4")
    with pytest.raises(UnreadableRecordError):
        service.get("acme")
    with pytest.raises(UnreadableRecordError):
        list(service.history("acme"))


@pytest.mark.parametrize("version", [1, 3, 4])
def test_an_event_that_is_missing_is_a_named_error(database: Database, version: int) -> None:
    service = database.opened()
    service.consume("acme", usd(12))
    database.execute("DELETE FROM commcredits_events WHERE version = ?", version)
    with pytest.raises(UnreadableRecordError, match="missing"):
        service.get("acme")


def test_an_event_of_another_ledger_is_no_event_of_this_one(database: Database) -> None:
    database.opened("acme", funds=100)
    database.opened("other", funds=200)
    payloads = dict(database.execute("SELECT ledger_id, payload FROM commcredits_events WHERE version = 2"))
    stolen = payloads["other"] if database.kind == "sqlite" else json.dumps(payloads["other"])
    checksum = database.execute("SELECT checksum FROM commcredits_events WHERE version = 2 AND ledger_id = ?", "other")[
        0
    ][0]
    database.execute(
        "UPDATE commcredits_events SET payload = ?, checksum = ?, amount = '200' WHERE version = 2 AND ledger_id = ?",
        stolen,
        checksum,
        "acme",
    )
    with pytest.raises(UnreadableRecordError, match="changed"):
        database.service().get("acme")


def test_an_event_that_a_newer_version_wrote_is_a_named_error(database: Database) -> None:
    service = database.opened()
    text = '{"type":"FundsTeleported","version":4,"at":"2026-01-01T00:00:00+00:00"}'
    head = "INSERT INTO commcredits_events (ledger_id, version, type, at, payload, checksum"
    checksum = rows.checksum("acme", 4, None, text)
    more = (", feed_number", ", 1") if database.kind == "postgres" else ("", "")
    database.execute(
        f"{head}{more[0]}) VALUES ('acme', 4, 'FundsTeleported', '2026-01-01', ?, ?{more[1]})", text, checksum
    )
    with pytest.raises(UnreadableRecordError, match="FundsTeleported"):
        service.get("acme")


# Snapshots


def test_what_is_loaded_does_not_grow_with_the_history(database: Database) -> None:
    storage = database.storage_on(database.connection, snapshot_every=10)
    service = database.service(storage)
    database.opened()
    for number in range(45):
        service.consume("acme", usd(1), idempotency_key=f"k{number}")
        stored = storage.load("acme")
        assert len(stored.events) < 10 or stored.state is None
    assert stored.state is not None
    assert Ledger.restore(stored.state, stored.events).balance == usd(55)


def test_a_ledger_of_many_lots_is_written_out_less_often(database: Database) -> None:
    storage = database.storage_on(database.connection, snapshot_every=4)
    service = database.service(storage)
    service.open("acme", Terms("USD"))
    kept = set()
    for number in range(40):
        service.add_funds("acme", usd(1), reference=str(number))
        kept |= set(database.execute("SELECT version FROM commcredits_snapshots"))
    assert kept == {(4,), (8,), (16,), (32,)}


@pytest.mark.parametrize("text", ['{"format":0,"something":"else"}', "gone with the wind"])
def test_a_snapshot_of_another_format_is_made_anew_from_the_events(database: Database, text: str) -> None:
    storage = database.storage_on(database.connection, snapshot_every=2)
    service = database.service(storage)
    service.open("acme", Terms("USD"))
    service.add_funds("acme", usd(10), reference="")
    assert storage.load("acme").state is not None
    database.execute("UPDATE commcredits_snapshots SET format = 0, state = ?", text)
    stored = storage.load("acme")
    assert (stored.state, len(stored.events)) == (None, 2)
    assert database.service(storage).consume("acme", usd(1)).balance == usd(9)
    stored = storage.load("acme")
    assert stored.state is not None
    assert (stored.state.balance, len(stored.events)) == (usd(9), 0)


def test_a_snapshot_that_was_tampered_with_is_a_named_error(database: Database) -> None:
    storage = database.storage_on(database.connection, snapshot_every=2)
    service = database.service(storage)
    for ledger_id, funds in (("acme", 10), ("other", 90)):
        service.open(ledger_id, Terms("USD"))
        service.add_funds(ledger_id, usd(funds), reference="")
    database.execute("UPDATE commcredits_snapshots SET state = REPLACE(state, '10000000000', '90000000000')")
    with pytest.raises(UnreadableRecordError, match="snapshot of 'acme' was changed"):
        service.get("acme")
    assert service.get("other").balance == usd(90)


@pytest.mark.parametrize(("every", "error"), [(0, InvalidValueError), (True, WrongTypeError), ("9", WrongTypeError)])
def test_a_snapshot_every_nothing_is_refused(database: Database, every: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="snapshot_every"):
        database.storage_on(database.connection, snapshot_every=every)


# The feed


def test_the_feed_gives_the_events_of_all_ledgers_from_any_position(database: Database) -> None:
    for ledger_id in ("a", "b:c", "d"):
        database.opened(ledger_id).consume(ledger_id, usd(1))
    whole = database.storage.feed(None, 100)
    assert len(whole) == 12
    assert sorted(whole, key=lambda pair: pair[0]) == list(whole)
    for ledger_id in ("a", "b:c", "d"):
        own = [event for position, event in whole if position.ledger_id == ledger_id]
        assert own == list(database.storage.history(ledger_id))
    for place, (position, _) in enumerate(whole):
        kept = Position.parse(str(position))
        assert kept == position
        assert list(database.storage.feed(kept, 100)) == list(whole)[place + 1 :]
        assert list(database.storage.feed(kept, 2)) == list(whole)[place + 1 : place + 3]


def test_the_feed_shows_what_is_committed_only(database: Database) -> None:
    service = database.opened()
    elsewhere = database.storage_on(database.connect())
    database.execute("BEGIN")
    service.consume("acme", usd(1))
    assert [type(event) for _, event in elsewhere.feed(None, 9)][-1] is not FundsConsumed
    database.execute("COMMIT")
    assert [type(event) for _, event in elsewhere.feed(None, 9)][-1] is FundsConsumed


@pytest.mark.parametrize("limit", [0, -1, True, "3"])
def test_a_limit_below_one_is_refused(database: Database, limit: Any) -> None:
    with pytest.raises((InvalidValueError, WrongTypeError), match="limit"):
        database.storage.feed(None, limit)
    with pytest.raises((InvalidValueError, WrongTypeError), match="limit"):
        database.storage.due(T0, limit=limit)


def test_the_first_event_of_the_feed_opens_a_ledger(database: Database) -> None:
    database.opened()
    [(position, event)] = database.storage.feed(None, 1)
    assert (position.ledger_id, position.version, type(event)) == ("acme", 1, LedgerOpened)


# Several workers


def test_of_several_workers_one_makes_the_charge(database: Database) -> None:
    waiting = database.opened()
    database.execute("BEGIN")
    waiting.consume("acme", usd(95))
    database.execute("COMMIT")
    workers = [database.service(database.storage_on(database.connect())) for _ in range(3)]
    for worker in workers:
        worker.settle_due()
    assert len(database.card.charged) == 1
    assert workers[0].get("acme").balance == usd(55)


def test_a_claimed_charge_is_not_made_by_another_worker_while_its_outcome_is_awaited(database: Database) -> None:
    service = below_the_threshold(database)
    other = database.service(database.storage_on(database.connect()))
    meanwhile: list[Any] = []
    database.card.during = lambda: meanwhile.append((other.settle_due(), other.settle("acme")))
    service.settle_due()
    [(due, settled)] = meanwhile
    assert (due, settled.events, len(settled.pending_charges)) == ({}, (), 1)
    assert len(database.card.charged) == 1
    assert other.get("acme").balance == usd(55)


def test_a_worker_that_dies_delays_its_charge_by_the_delay_of_the_terms_and_no_more(database: Database) -> None:
    service = below_the_threshold(database)

    def dies() -> None:
        raise SystemExit

    database.card.during = dies
    with pytest.raises(SystemExit):
        service.settle_due()
    database.card.during = None
    other = database.service(database.storage_on(database.connect()))
    database.pass_time(minutes=5, microseconds=-1)
    assert other.settle_due() == {}
    database.pass_time(microseconds=1)
    assert other.settle_due()["acme"].balance == usd(55)
    assert len(set(database.card.charged)) == 1  # both under one key


def test_a_ledger_that_cannot_be_read_does_not_stop_the_others(database: Database) -> None:
    for ledger_id in ("a", "b", "c"):
        below_the_threshold(database, ledger_id)
    database.execute("UPDATE commcredits_events SET checksum = '' WHERE ledger_id = 'b' AND version = 2")
    answers = database.service().settle_due()
    assert isinstance(answers.pop("b"), UnreadableRecordError)
    assert {ledger_id: answer.balance for ledger_id, answer in answers.items()} == {"a": usd(55), "c": usd(55)}


def below_the_threshold(database: Database, ledger_id: str = "acme") -> LedgerService:
    """A service, and a ledger whose charge is left to a worker."""
    service = database.opened(ledger_id)
    database.service(settles_inline=False).consume(ledger_id, usd(95))
    return service


def test_the_due_list_is_that_of_the_heads(database: Database) -> None:
    database.opened("a")
    database.opened("b", funds=0)
    service = database.service()
    service.change_terms("a", Terms("USD", expiry_notices=()))
    assert list(database.storage.due(T0, limit=9)) == []
    database.execute("BEGIN")
    service.configure_auto_recharge("a", RechargePolicy(usd(500), usd(50)))
    database.execute("COMMIT")
    assert list(database.storage.due(T0, limit=9)) == ["a"]
