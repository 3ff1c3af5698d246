"""Telephony: calls, and the usage reports that list them. Needs no extra; the ledger knows nothing of it."""

from __future__ import annotations

from commcredits.telephony.admission import NOT_DIALLED, Admission, admit
from commcredits.telephony.allowances import (
    Allowance,
    AllowanceAlert,
    AllowanceState,
    AllowanceUse,
    Counter,
    Coverage,
    MinutesUsed,
)
from commcredits.telephony.billing import async_bill, bill
from commcredits.telephony.bills import Bill, BilledCall, BillLine, BillTotal, CallRefusedError
from commcredits.telephony.calls import CallRecord
from commcredits.telephony.codes import CALL_TYPES, CAPABILITIES, CallType, Capability
from commcredits.telephony.intents import CallIntent
from commcredits.telephony.metered_call import MeteredCall
from commcredits.telephony.numbers import (
    EMERGENCY_NUMBERS,
    SHARED_COST_PREFIXES,
    Number,
    country_of,
    is_shared_cost,
    number_type,
    read_number,
    to_e164,
)
from commcredits.telephony.plans import ZONE_A, CallingPlan, DialOutPlan
from commcredits.telephony.prefixes import RateConflictError
from commcredits.telephony.pstn import PSTN_COLUMNS, RowError, read_pstn_rows, write_pstn_rows
from commcredits.telephony.rates import Rate
from commcredits.telephony.rating import CostPart, NoRateError, RateCard, RatedCall
from commcredits.telephony.reconciliation import Discrepancy, Reconciliation, reconcile
from commcredits.telephony.session import AsyncCallSession, CallSession, SessionAnswer, SessionEndedError
from commcredits.telephony.subscribers import DialOutPolicy, Subscriber
from commcredits.telephony.timebands import EVERY_DAY, WEEKEND, WORKDAYS, TimeBand

__all__ = [
    "CALL_TYPES",
    "CAPABILITIES",
    "EMERGENCY_NUMBERS",
    "EVERY_DAY",
    "NOT_DIALLED",
    "PSTN_COLUMNS",
    "SHARED_COST_PREFIXES",
    "WEEKEND",
    "WORKDAYS",
    "ZONE_A",
    "Admission",
    "Allowance",
    "AllowanceAlert",
    "AllowanceState",
    "AllowanceUse",
    "AsyncCallSession",
    "Bill",
    "BillLine",
    "BillTotal",
    "BilledCall",
    "CallIntent",
    "CallRecord",
    "CallRefusedError",
    "CallSession",
    "CallType",
    "CallingPlan",
    "Capability",
    "CostPart",
    "Counter",
    "Coverage",
    "DialOutPlan",
    "DialOutPolicy",
    "Discrepancy",
    "MeteredCall",
    "MinutesUsed",
    "NoRateError",
    "Number",
    "Rate",
    "RateCard",
    "RateConflictError",
    "RatedCall",
    "Reconciliation",
    "RowError",
    "SessionAnswer",
    "SessionEndedError",
    "Subscriber",
    "TimeBand",
    "admit",
    "async_bill",
    "bill",
    "country_of",
    "is_shared_cost",
    "number_type",
    "read_number",
    "read_pstn_rows",
    "reconcile",
    "to_e164",
    "write_pstn_rows",
]
