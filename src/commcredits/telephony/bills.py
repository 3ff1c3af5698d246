"""Bill: what the calls of one run came to, added up by kind, country, user and payer."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import attrs

from commcredits.errors import CommCreditsError, InvalidValueError
from commcredits.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from commcredits.telephony.allowances import AllowanceState
    from commcredits.telephony.calls import CallRecord
    from commcredits.telephony.rating import RatedCall

Outcome = Literal["recorded", "known", "corrected", "not_recorded"]
Payer = Literal["allowance", "credits", "nobody"]
Part = Literal["kind", "country", "user_id", "payer"]


class CallRefusedError(CommCreditsError):
    """A call cannot be billed: it has no rate, or the ledger refused its cost.

    Attributes: `call`, `why` (the error that says what is wrong). Nothing was recorded of this call, but that an
    earlier rating of it was undone if there was one.
    """

    def __init__(self, call: CallRecord, why: CommCreditsError) -> None:
        super().__init__(f"call {call.record_id!r}: {why}")
        self.call = call
        self.why = why


@attrs.frozen(eq=False)
class BilledCall:
    """A call that was billed.

    Attributes:
        call: the record.
        seconds_covered: how much of it an allowance covered.
        rated: what was left, as it was rated; None: nothing was left, or nobody pays for such a call.
        cost: what credits pay.
        outcome: of the cost: "recorded" now, "known" to the ledger from an earlier run, "corrected" (an earlier run had
            billed the call otherwise; that was undone), "not_recorded" (it is zero).
    """

    call: CallRecord
    seconds_covered: int
    rated: RatedCall | None
    cost: Money
    outcome: Outcome

    @property
    def shares(self) -> Iterator[tuple[Payer, int, Money]]:
        """Who pays for how many seconds, and how much: one payer, or two where an allowance covered a part."""
        left = self.call.duration_seconds - self.seconds_covered
        if self.seconds_covered:
            yield "allowance", self.seconds_covered, Money.zero(self.cost.currency)
        if left or not self.seconds_covered:
            yield "credits" if self.cost.is_positive else "nobody", left, self.cost


class BillLine(NamedTuple):
    """What a total is for: a call type, the country or region dialled, a user, and who pays."""

    kind: str
    country: str
    user_id: str
    payer: Payer


class BillTotal(NamedTuple):
    """How many calls, how many seconds of them, and what credits pay for them."""

    calls: int
    seconds: int
    cost: Money


@attrs.frozen(eq=False, kw_only=True)
class Bill:
    """What the calls of one run came to.

    Attributes:
        ledger_id, currency: the ledger that pays, and its currency.
        lines: the totals, by `BillLine`; a call that an allowance covered in part counts in the lines of both payers.
        allowances: as they are after the run.
        calls: how many were billed, refused and repeated ones left out.
        recorded, known, corrected: for how many of them credits pay: recorded in this run, recorded as they are by an
            earlier one, recorded otherwise by an earlier one and put right.
        repeated: how many came a second time in this run, and were left aside.
        refused: how many could not be billed.
    """

    ledger_id: str
    currency: str
    lines: Mapping[BillLine, BillTotal]
    allowances: AllowanceState
    calls: int
    recorded: int
    known: int
    corrected: int
    repeated: int
    refused: int

    @property
    def cost(self) -> Money:
        """What credits pay: to the billionth what the ledger has consumed for these calls, reversals taken off."""
        return Money.total((total.cost for total in self.lines.values()), self.currency)

    def by(self, *parts: Part) -> Mapping[tuple[str, ...], BillTotal]:
        """The totals by some parts of a line, such as `by("country")` or `by("kind", "payer")`, in the parts' order.

        Raises: InvalidValueError for what is no part of a line.
        """
        for part in parts:
            if part not in get_args(Part):
                raise InvalidValueError("parts", part, f"not one of {', '.join(get_args(Part))}")
        sums: dict[tuple[str, ...], BillTotal] = {}
        for line, total in self.lines.items():
            key = tuple(getattr(line, part) for part in parts)
            before = sums.get(key, BillTotal(0, 0, Money.zero(self.currency)))
            sums[key] = BillTotal(before.calls + total.calls, before.seconds + total.seconds, before.cost + total.cost)
        return dict(sorted(sums.items()))


class Tally:
    """A bill that is still being added up."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.repeated = 0
        self.refused = 0
        self._calls = 0
        self._outcomes: dict[str, int] = dict.fromkeys(get_args(Outcome), 0)
        self._lines: dict[BillLine, BillTotal] = {}

    def add(self, billed: BilledCall) -> None:
        """Count a call that was billed."""
        call = billed.call
        self._calls += 1
        self._outcomes[billed.outcome] += 1
        for payer, seconds, cost in billed.shares:
            line = BillLine(call.call_type, call.destination_name, call.user_id, payer)
            before = self._lines.get(line)
            if before is None:
                self._lines[line] = BillTotal(1, seconds, cost)
            else:
                self._lines[line] = BillTotal(before.calls + 1, before.seconds + seconds, before.cost + cost)

    def bill(self, ledger_id: str, allowances: AllowanceState) -> Bill:
        """The bill."""
        return Bill(
            ledger_id=ledger_id,
            currency=self.currency,
            lines=MappingProxyType(dict(sorted(self._lines.items()))),
            allowances=allowances,
            calls=self._calls,
            recorded=self._outcomes["recorded"],
            known=self._outcomes["known"],
            corrected=self._outcomes["corrected"],
            repeated=self.repeated,
            refused=self.refused,
        )
