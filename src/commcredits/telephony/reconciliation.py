"""Reconciliation: what a report says calls came to, against what they come to by our own rating."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import attrs

from commcredits.currencies import MINOR_DIGITS
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.telephony.bills import BilledCall
from commcredits.telephony.calls import CallRecord
from commcredits.telephony.rating import RatedCall

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPORT_DIGITS = 2  # its columns are numeric(16, 2)

DiscrepancyKind = Literal["differs", "not_rated", "not_reported", "twice_reported", "twice_rated"]


@attrs.frozen(order=False, kw_only=True)
class Discrepancy:
    """A call on which a report and our rating do not agree.

    Attributes:
        kind: "differs" (by the cost, or the currency), "not_rated" or "not_reported" (missing on one side),
            "twice_reported" or "twice_rated" (one more row, or rating, of a call that is listed already).
        record_id: the call's.
        reported: the report's row; None: there is none.
        rated: our rating; None: there is none.
        reported_cost: charge and connection fee, as reported.
        rated_cost: what we come to, rounded as the report rounds.
    """

    kind: DiscrepancyKind
    record_id: str
    reported: CallRecord | None = None
    rated: RatedCall | BilledCall | None = None
    reported_cost: Money | None = None
    rated_cost: Money | None = None

    @property
    def difference(self) -> Money | None:
        """How much more was reported; None: one of the two is missing, or they are of two currencies."""
        if self.reported_cost is None or self.rated_cost is None:
            return None
        if self.reported_cost.currency != self.rated_cost.currency:
            return None
        return self.reported_cost - self.rated_cost


@attrs.frozen(order=False, kw_only=True)
class Reconciliation:
    """How a report and our rating compare.

    Attributes:
        agreeing: how many calls are on both sides, once, and cost the same.
        discrepancies: the others: rows that come twice, then our ratings in their order, then what was not rated.
        reported: what was reported in all, by currency, each call once; the rows of a report are rounded, so that this
            need not be the exact sum.
        rated: what we come to in all, by currency, each call once, exactly.
    """

    agreeing: int
    discrepancies: tuple[Discrepancy, ...]
    reported: Mapping[str, Money]
    rated: Mapping[str, Money]


def reconcile(
    reported: Iterable[CallRecord],
    rated: Iterable[RatedCall | BilledCall],
    *,
    digits: int | None = None,
    rounding: str = ROUND_HALF_UP,
    tolerance_units: int = 0,
) -> Reconciliation:
    """Compare the costs that a report gives with our own, call by call, by `record_id`.

    A report has fewer digits than rates have. So ours are rounded as it rounds, by `rounding` to `digits` decimals, the
    fee and the rest each for itself as they stand in two columns. None: the two decimals of its columns, or those of
    the currency if it has fewer. They may then differ by `tolerance_units` of the last digit: with 1, 0.26 agrees with
    0.27.

    The reported calls are kept while comparing, of the rated ones only their ids. What one side leaves out on purpose,
    such as calls that a plan covers, leave out of the other.

    Raises: WrongTypeError; InvalidValueError for digits not from 0 to 9, a rounding that `decimal` does not know, a
    tolerance below zero, or a RatedCall that is of no record. Nothing was read then but what came before it.
    """
    for parameter, value in (("reported", reported), ("rated", rated)):
        if not isinstance(value, Iterable):
            raise WrongTypeError(parameter, value, "an iterable of calls")
    if not isinstance(tolerance_units, int) or isinstance(tolerance_units, bool):
        raise WrongTypeError("tolerance_units", tolerance_units, "a whole number")
    if tolerance_units < 0:
        raise InvalidValueError("tolerance_units", tolerance_units, "below zero")
    Money.zero("USD").rounded(digits, rounding)
    comparison = _Comparison(digits, rounding, tolerance_units)
    for record in reported:
        comparison.take_reported(record)
    for item in rated:
        comparison.take_rated(item)
    return comparison.result()


class _Comparison:
    """A comparison under way."""

    def __init__(self, digits: int | None, rounding: str, tolerance_units: int) -> None:
        self._digits = digits
        self._rounding = rounding
        self._tolerance_units = tolerance_units
        self._reported: dict[str, CallRecord] = {}
        self._rated: set[str] = set()
        self._agreeing = 0
        self._found: list[Discrepancy] = []
        self._reported_sums: dict[str, Money] = {}
        self._rated_sums: dict[str, Money] = {}

    def take_reported(self, record: CallRecord) -> None:
        if not isinstance(record, CallRecord):
            raise WrongTypeError("reported", record, "CallRecords")
        if record.record_id in self._reported:
            self._note("twice_reported", record.record_id, record, None)
            return
        self._reported[record.record_id] = record
        _add(self._reported_sums, record.cost)

    def take_rated(self, item: RatedCall | BilledCall) -> None:
        if not isinstance(item, RatedCall | BilledCall):
            raise WrongTypeError("rated", item, "RatedCalls or BilledCalls")
        if item.call is None:
            raise InvalidValueError("rated", item, "of no record; rate it by RateCard.rate_call")
        record_id = item.call.record_id
        record = self._reported.get(record_id)
        if record_id in self._rated:
            self._note("twice_rated", record_id, record, item)
            return
        self._rated.add(record_id)
        _add(self._rated_sums, item.cost)
        if record is None:
            self._note("not_reported", record_id, None, item)
        elif self._agree(record.cost, self._as_reported(item)):
            self._agreeing += 1
        else:
            self._note("differs", record_id, record, item)

    def result(self) -> Reconciliation:
        for record_id, record in self._reported.items():
            if record_id not in self._rated:
                self._note("not_rated", record_id, record, None)
        return Reconciliation(
            agreeing=self._agreeing,
            discrepancies=tuple(self._found),
            reported=MappingProxyType(self._reported_sums),
            rated=MappingProxyType(self._rated_sums),
        )

    def _note(
        self, kind: DiscrepancyKind, record_id: str, record: CallRecord | None, item: RatedCall | BilledCall | None
    ) -> None:
        self._found.append(
            Discrepancy(
                kind=kind,
                record_id=record_id,
                reported=record,
                rated=item,
                reported_cost=None if record is None else record.cost,
                rated_cost=None if item is None else self._as_reported(item),
            )
        )

    def _digits_of(self, currency: str) -> int:
        return min(_REPORT_DIGITS, MINOR_DIGITS[currency]) if self._digits is None else self._digits

    def _as_reported(self, item: RatedCall | BilledCall) -> Money:
        """Our cost, in the report's digits: the fee and the rest stand in a column each."""
        rated = item.rated if isinstance(item, BilledCall) else item
        digits = self._digits_of(item.cost.currency)
        if rated is None:
            return item.cost.rounded(digits, self._rounding)
        fee = rated.breakdown[0].cost
        return fee.rounded(digits, self._rounding) + (item.cost - fee).rounded(digits, self._rounding)

    def _agree(self, reported: Money, ours: Money) -> bool:
        if reported.currency != ours.currency:
            return False
        unit = Money(1, ours.currency).scaled(Decimal(1).scaleb(-self._digits_of(ours.currency)), ROUND_HALF_UP)
        return abs(reported - ours) <= unit * self._tolerance_units


def _add(sums: dict[str, Money], cost: Money) -> None:
    sums[cost.currency] = sums.get(cost.currency, Money.zero(cost.currency)) + cost
