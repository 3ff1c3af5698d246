"""Of a rating engine: what calls cost and how long they may last, and what its debits do to a balance."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP

import pytest
from vector_files import START, Facts, funded, run, usd

from commcredits import InsufficientFundsError, Money
from commcredits.telephony import Rate, RateCard, RatedCall

FILE = "cgrates_rating_debit"

_SECONDS = "balances of seconds with an order among them: an allowance is of whole minutes, and there is one for a call"
NOT_RUN = {
    "cgr-zero-second": _SECONDS,
    "cgr-mixed-increments": _SECONDS,
    "cgr-minutes-then-money": "its own figures disagree: 60 of 80 seconds come from minutes, yet all 80 are paid",
    "cgr-spill-to-second-lot": _SECONDS,
    "cgr-connect-fee-unaffordable": _SECONDS,
    "cgr-connect-fee-once": "its prices stand in a tariff file that it does not give",
    "cgr-maxcost-free-duration": "a call that costs no more than so much, however long: no rate has such a cap",
    "cgr-force-duration": "what there is to pay with is told in words, without figures",
    "cgr-refund-increments": _SECONDS,
}
_COUNTER_EXAMPLE = "the exact cost is expected, not the one that adding up rounded increments came to, as its notes say"
ADAPTED = {
    "cgr-shared-pool": "the two accounts that pay for each other are one ledger, which two users draw on",
    "cgr-rounding-quote": _COUNTER_EXAMPLE,
    "cgr-rounding-debit-rounded": _COUNTER_EXAMPLE,
    "cgr-overdraft-limits-decimal": (
        "one overdraft for the whole ledger: lots count in units of the debit, their limits are added up, and what they"
        " gave and what is left in them is compared as sums"
    ),
}

NUMBER = "+4444123456"
ROUNDINGS = {"middle": ROUND_HALF_UP, "up": ROUND_CEILING}


def card_of(rate: Facts) -> RateCard:
    """A card with one rate, whose price a vector tells for so many seconds."""
    (per_minute, *_) = (usd(rate["price"]) * 60).allocate([1] * rate["per_s"])
    assert per_minute * rate["per_s"] == usd(rate["price"]) * 60
    increments = rate["increments"] if "increments" in rate else [{"from_s": 0, "increment_s": rate["increment_s"]}]
    first, last = increments[0], increments[-1]
    assert first["from_s"] == 0
    assert last["from_s"] in (0, first["increment_s"])
    rounding = rate.get("round") or {"method": "middle", "decimals": 9}
    return RateCard(
        [
            Rate(
                "444",
                per_minute,
                connection_fee=usd(rate.get("connect_fee", "0")),
                initial_increment_seconds=first["increment_s"],
                increment_seconds=last["increment_s"],
            )
        ],
        currency="USD",
        rounding_digits=rounding["decimals"],
        rounding=ROUNDINGS[rounding["method"]],
    )


def rated(vector: Facts) -> RatedCall:
    """The call of a vector's only command, rated."""
    (command,) = vector["commands"]
    assert command["op"] in ("price", "call", "charge")
    return card_of(vector["setup"]["rate"]).rate(NUMBER, command["seconds"], at=START)


@run(
    FILE,
    "cgr-round-up-quote-24s",
    "cgr-zero-duration",
    "cgr-60m21s",
    "cgr-data-60-then-1",
    "cgr-ts-per-minute",
)
def test_a_call_costs_what_its_rate_says(vector: Facts) -> None:
    call = rated(vector)
    assert call.cost == usd(vector["expected"]["cost"])
    if "connect_fee" in vector["expected"]:
        assert call.breakdown[0].cost == usd(vector["expected"]["connect_fee"])


@run(FILE, "cgr-rounding-quote", "cgr-rounding-debit-rounded")
def test_the_total_is_rounded_never_the_increment(vector: Facts) -> None:
    vector["commands"][0].get("perform_rounding")
    assert rated(vector).cost == usd(vector["expected"]["exact"]) != usd(vector["expected"]["cost_reported"])


@run(FILE, "cgr-ts-expand-60")
def test_an_increment_that_has_begun_is_billed_whole(vector: Facts) -> None:
    (command,) = vector["commands"]
    assert command["op"] == "round_up"
    rate = Facts({"price": "1", "per_s": 60, "increment_s": vector["setup"]["increment_s"]})
    assert card_of(rate).rate(NUMBER, command["seconds"], at=START).billed_seconds == vector["expected"]["seconds"]


@run(FILE, "cgr-max-duration-fee-only", "cgr-max-duration-from-money", "cgr-max-duration-empty")
def test_a_call_may_last_for_as_long_as_it_can_be_paid(vector: Facts) -> None:
    (command,) = vector["commands"]
    assert command["op"] == "max_duration"
    longest = card_of(vector["setup"]["rate"]).longest_affordable(
        NUMBER, usd(vector["setup"]["money"]), at=START, at_most_seconds=command["seconds"]
    )
    assert longest == vector["expected"]["seconds"]


@run(FILE, "cgr-50-debits-serial")
def test_calls_one_after_the_other_lose_nothing(vector: Facts) -> None:
    ledger = funded(usd(vector["setup"]["money"]))
    call = rated(vector)
    (command,) = vector["commands"]
    assert command["concurrent"] is False
    for _ in range(command["repeat"]):
        ledger.consume(call.cost, at=START)
    assert call.cost == usd(vector["expected"]["each"])
    assert ledger.balance == usd(vector["expected"]["money"])
    ledger.check()


@run(FILE, "cgr-shared-pool")
def test_users_draw_on_the_funds_of_all(vector: Facts) -> None:
    assert vector["setup"]["shared"] is True
    ledger = funded(Money.total([usd(amount) for _, amount in vector["setup"]["accounts"].items()], "USD"))
    call = rated(vector)
    ledger.consume(call.cost, at=START)
    left = Money.total([usd(amount) for _, amount in vector["expected"]["accounts"].items()], "USD")
    assert ledger.balance == left
    assert call.billed_seconds == vector["expected"]["increments"] * call.rate.increment_seconds


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
