"""The errors: one root, the parts at fault as attributes, messages that name them, docstrings that tell the state."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
from datetime import UTC, datetime

import pytest

import commcredits
from commcredits import errors
from commcredits.errors import CommCreditsError, InvalidValueError, UnreadableRecordError, WrongTypeError, shown
from commcredits.money import Money
from commcredits.payment import Declined, Paid
from commcredits.recharge import RechargeDecision

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
EARLIER = datetime(2024, 4, 30, 12, tzinfo=UTC)
FIVE, TEN = Money(5, "USD"), Money(10, "USD")
OFF = RechargeDecision(due=False, reason="off")

# For each error: how it is built, what it is a case of, and the attributes that it must carry.
EXAMPLES = {
    "WrongTypeError": (("amount", 1.5, "Money"), TypeError, {"parameter": "amount", "value": 1.5}),
    "InvalidValueError": (("count", -7, "too small"), ValueError, {"parameter": "count", "value": -7}),
    "UnknownCurrencyError": (("XQQ",), ValueError, {"parameter": "currency", "value": "XQQ"}),
    "CurrencyMismatchError": (("USD", "EUR"), ValueError, {"expected": "USD", "actual": "EUR"}),
    "TimeRunsBackError": ((EARLIER, NOON), ValueError, {"at": EARLIER, "as_of": NOON}),
    "InsufficientFundsError": (
        ("acme", TEN, FIVE, OFF),
        Exception,
        {"ledger_id": "acme", "amount": TEN, "shortfall": FIVE, "decision": OFF},
    ),
    "UnknownHoldError": (("acme", "call 1"), LookupError, {"ledger_id": "acme", "hold_id": "call 1"}),
    "HoldExistsError": (("acme", "call 1"), Exception, {"ledger_id": "acme", "hold_id": "call 1"}),
    "HoldEndedError": (
        ("acme", "call 1", "captured", NOON),
        Exception,
        {"ledger_id": "acme", "hold_id": "call 1", "reason": "captured", "ended_at": NOON},
    ),
    "OpenHoldsError": (
        ("acme", ("call 1", "call 2")),
        Exception,
        {"ledger_id": "acme", "hold_ids": ("call 1", "call 2")},
    ),
    "UnknownLotError": (("acme", 41), LookupError, {"ledger_id": "acme", "lot_id": 41}),
    "ExceedsLotError": (
        ("acme", 41, TEN, FIVE),
        Exception,
        {"ledger_id": "acme", "lot_id": 41, "amount": TEN, "at_most": FIVE},
    ),
    "UnknownChargeError": (("acme", "acme:3:x"), LookupError, {"ledger_id": "acme", "charge_id": "acme:3:x"}),
    "ChargeNotDueError": (
        ("acme", "acme:3:x", "tried", NOON),
        Exception,
        {"ledger_id": "acme", "charge_id": "acme:3:x", "status": "tried", "due_at": NOON},
    ),
    "OutcomeConflictError": (
        ("acme", "acme:3:x", Paid("one"), Declined("no")),
        Exception,
        {"ledger_id": "acme", "charge_id": "acme:3:x", "recorded": Paid("one"), "outcome": Declined("no")},
    ),
    "UnknownPaymentMethodError": (
        ("cash", ("card", "bank")),
        LookupError,
        {"payment_method": "cash", "known": ("card", "bank")},
    ),
    "ReversalExceedsUsageError": (
        ("acme", 9, TEN, FIVE),
        Exception,
        {"ledger_id": "acme", "consumption": 9, "amount": TEN, "left": FIVE},
    ),
    "ConservationError": (
        ("funded = free", {"funded": TEN, "free": FIVE}),
        Exception,
        {"terms": {"funded": TEN, "free": FIVE}},
    ),
    "LedgerNotFoundError": (("acme",), LookupError, {"ledger_id": "acme"}),
    "LedgerExistsError": (("acme",), Exception, {"ledger_id": "acme"}),
    "LedgerClosedError": (("acme", NOON), Exception, {"ledger_id": "acme", "closed_at": NOON}),
    "VersionConflictError": (("acme", 12), Exception, {"ledger_id": "acme", "expected_version": 12}),
    "DuplicateKeyError": (
        ("acme", "order 7", "hold_id"),
        Exception,
        {"ledger_id": "acme", "key": "order 7", "namespace": "hold_id"},
    ),
    "IdempotencyConflictError": (
        ("acme", "order 7", 12),
        Exception,
        {"ledger_id": "acme", "idempotency_key": "order 7", "recorded": 12},
    ),
    "UnknownOutcomeError": (("acme",), Exception, {"ledger_id": "acme"}),
    "UnreadableRecordError": (({"type": "Gone"}, "unknown"), ValueError, {"record": {"type": "Gone"}}),
}
LEAVES = sorted(EXAMPLES)
STATES = ("Nothing was recorded", "Whether it was recorded is not known", "The ledger is left as it was")


def made(name: str) -> CommCreditsError:
    return getattr(errors, name)(*EXAMPLES[name][0])


def text_of(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Money) else str(value).strip("()")


def test_every_error_is_shown_here_and_nothing_else_is_defined() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and not hasattr(builtins, name)
    }
    assert defined == {*EXAMPLES, "CommCreditsError"}


@pytest.mark.parametrize("name", LEAVES)
def test_one_root_stands_for_all_errors(name: str) -> None:
    assert isinstance(made(name), CommCreditsError)
    assert not issubclass(CommCreditsError, ValueError | TypeError | LookupError)


@pytest.mark.parametrize("name", LEAVES)
def test_an_error_is_a_case_of_its_built_in(name: str) -> None:
    assert isinstance(made(name), EXAMPLES[name][1])


@pytest.mark.parametrize("name", [*LEAVES, "CommCreditsError"])
def test_every_error_is_importable_from_the_package(name: str) -> None:
    assert getattr(commcredits, name) is getattr(errors, name)
    assert name in commcredits.__all__


@pytest.mark.parametrize("name", LEAVES)
def test_an_error_carries_the_parts_at_fault(name: str) -> None:
    assert {part: vars(made(name))[part] for part in EXAMPLES[name][2]} == EXAMPLES[name][2]


@pytest.mark.parametrize("name", LEAVES)
def test_the_message_names_the_parts_at_fault(name: str) -> None:
    message = str(made(name))
    for part in EXAMPLES[name][2].values():
        for value in part.values() if isinstance(part, dict) else [part]:
            assert text_of(value) in message, (value, message)


@pytest.mark.parametrize("name", LEAVES)
def test_the_docstring_lists_the_attributes(name: str) -> None:
    text = inspect.getdoc(getattr(errors, name)) or ""
    inherited = set(EXAMPLES["InvalidValueError"][2]) if name == "UnknownCurrencyError" else set()
    for attribute in set(EXAMPLES[name][2]) - inherited:
        assert f"`{attribute}`" in text, attribute


@pytest.mark.parametrize("name", [*LEAVES, "CommCreditsError"])
def test_the_docstring_ends_with_the_state_you_are_left_in(name: str) -> None:
    *_, ending = (inspect.getdoc(getattr(errors, name)) or "").split("\n\n")
    assert any(state in " ".join(ending.split()) for state in STATES), ending


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_all_its_parts(name: str, protocol: int) -> None:
    error = made(name)
    back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - written one call before
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert back.args == error.args


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_an_error_can_be_copied(name: str, copier: object) -> None:
    error = made(name)
    back = copier(error)
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_notes_added_to_an_error_survive_pickling() -> None:
    error = made("LedgerNotFoundError")
    error.add_note("while settling")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while settling"]  # noqa: S301 - as above


def test_a_duplicate_key_is_an_idempotency_key_unless_said_otherwise() -> None:
    assert errors.DuplicateKeyError("acme", "k").namespace == "idempotency_key"


def test_a_charge_that_will_never_be_due_again_says_so() -> None:
    assert "no longer to be tried" in str(errors.ChargeNotDueError("acme", "acme:3:x", "paid", None))


HUGE = {"text": "x" * 10**6, "list": ["y" * 500], "number": 10**5000, "mapping": {"deep": "z" * 10**5}}


@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE)
def test_a_huge_value_makes_no_huge_message(value: object) -> None:
    for error in (
        WrongTypeError("amount", value, "Money"),
        InvalidValueError("amount", value, "no good"),
        UnreadableRecordError(value, "no good"),
    ):
        assert len(str(error)) < 200


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_value_whose_repr_fails_is_shown_by_its_type() -> None:
    assert shown(Broken()) == "<Broken>"
    assert "Broken" in str(WrongTypeError("amount", Broken(), "Money"))


def test_a_value_is_shown_by_its_repr_up_to_eighty_characters() -> None:
    assert shown("a" * 78) == repr("a" * 78)
    assert shown("a" * 79) == repr("a" * 79)[:77] + "..."
    assert len(shown("a" * 79)) == 80


def test_a_lot_id_that_is_too_long_to_print_still_makes_the_named_error() -> None:
    assert len(str(errors.UnknownLotError("acme", 10**5000))) < 200
    assert len(str(errors.ExceedsLotError("acme", 10**5000, TEN, FIVE))) < 200
