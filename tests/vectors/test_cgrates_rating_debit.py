"""Of a rating engine: what its debits do to a balance, once the cost is known."""

from __future__ import annotations

import pytest
from vector_files import START, Facts, funded, run, usd

from commcredits import InsufficientFundsError, Money

FILE = "cgrates_rating_debit"

_RATING = "the cost of a call from a rate and a duration: usage reaches a ledger with its cost known"
_MINUTES = "balances of minutes, used before money: a ledger holds money alone"
_LONGEST_CALL = "how long a call may last: a ledger only tells what is available"
_ROUNDING = "a counter-example: the source itself says that 0.3001 should be 0.3"
NOT_RUN = {
    "cgr-zero-second": _MINUTES,
    "cgr-mixed-increments": _MINUTES,
    "cgr-minutes-then-money": "its own figures disagree: 60 of 80 seconds come from minutes, yet all 80 are paid",
    "cgr-spill-to-second-lot": _MINUTES,
    "cgr-connect-fee-unaffordable": _MINUTES,
    "cgr-shared-pool": "one customer's balance that pays for another's usage: a ledger has one customer",
    "cgr-max-duration-fee-only": _LONGEST_CALL,
    "cgr-connect-fee-once": _RATING,
    "cgr-rounding-quote": _ROUNDING,
    "cgr-rounding-debit-rounded": _ROUNDING,
    "cgr-round-up-quote-24s": _RATING,
    "cgr-zero-duration": _RATING,
    "cgr-60m21s": _RATING,
    "cgr-data-60-then-1": _RATING,
    "cgr-maxcost-free-duration": _LONGEST_CALL,
    "cgr-max-duration-from-money": _LONGEST_CALL,
    "cgr-max-duration-empty": _LONGEST_CALL,
    "cgr-force-duration": _MINUTES,
    "cgr-refund-increments": _MINUTES,
    "cgr-ts-per-minute": _RATING,
    "cgr-ts-expand-60": _RATING,
}
ADAPTED = {
    "cgr-50-debits-serial": "the cost of each call is taken as it is told, not from its rate",
    "cgr-overdraft-limits-decimal": (
        "one overdraft for the whole ledger: lots count in units of the debit, their limits are added up, and what they"
        " gave and what is left in them is compared as sums"
    ),
}


@run(FILE, "cgr-50-debits-serial")
def test_calls_one_after_the_other_lose_nothing(vector: Facts) -> None:
    vector["setup"].set_aside("rate")
    ledger = funded(usd(vector["setup"]["money"]))
    (command,) = vector["commands"]
    command.set_aside("seconds")
    assert (command["op"], command["concurrent"]) == ("call", False)
    for _ in range(command["repeat"]):
        ledger.consume(usd(vector["expected"]["each"]), at=START)
    assert ledger.balance == usd(vector["expected"]["money"])
    ledger.check()


@run(FILE, "cgr-overdraft-limits-decimal")
def test_usage_overdraws_exactly_to_the_limit(vector: Facts) -> None:
    lots = vector["setup"]["lots"]
    factors = {lot["id"]: int(lot["factor"]) for lot in lots}

    def units(lot: str, amount: str) -> Money:
        (share, *_) = usd(amount).allocate([1] * factors[lot])
        assert share * factors[lot] == usd(amount)
        return share

    floor = Money.total([units(lot["id"], lot["limit"]) for lot in lots], "USD")
    amounts = [units(lot["id"], lot["amount"]) for lot in lots]
    for command, case in zip(vector["commands"], vector["expected"]["cases"], strict=True):
        assert command["op"] == "case"
        ledger = funded(amounts[0], overdraft=format((-floor).amount, "f"))
        for amount in amounts[1:]:
            ledger.add_funds(amount, at=START)
        debit = usd(command["debit"])
        if "error" in case:
            assert case["error"] == "insufficient credit"
            with pytest.raises(InsufficientFundsError):
                ledger.consume(debit, at=START)
        else:
            ledger.consume(debit, at=START)
            given = Money.total([usd(amount) for _, amount in case["from"].items()], "USD")
            assert ledger.totals.consumed == given == debit
        assert ledger.balance == Money.total([units(lot, case[lot]) for lot in factors], "USD")
        ledger.check()
