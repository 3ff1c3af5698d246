"""Telephony: calls, and the usage reports that list them. Needs no extra; the ledger knows nothing of it."""

from __future__ import annotations

from commcredits.telephony.calls import CallRecord
from commcredits.telephony.pstn import RowError, read_pstn_rows

__all__ = ["CallRecord", "RowError", "read_pstn_rows"]
