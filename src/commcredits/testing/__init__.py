"""For tests of applications, storages and payment methods: contracts, strategies, faults. Needs the extra `testing`."""

from __future__ import annotations

import pytest

# Before they are imported, so that their assertions say what was wrong.
pytest.register_assert_rewrite(
    "commcredits.testing.async_storage_contract",
    "commcredits.testing.comparison",
    "commcredits.testing.payment_contract",
    "commcredits.testing.storage_contract",
)

from commcredits.testing import strategies
from commcredits.testing.async_storage_contract import AsyncStorageContract
from commcredits.testing.faults import (
    AsyncFaultyPaymentMethod,
    AsyncFaultyStorage,
    FaultyPaymentMethod,
    FaultyStorage,
    InjectedFault,
)
from commcredits.testing.payment_contract import PaymentMethodContract, PaymentTrial
from commcredits.testing.storage_contract import StorageContract

__all__ = [
    "AsyncFaultyPaymentMethod",
    "AsyncFaultyStorage",
    "AsyncStorageContract",
    "FaultyPaymentMethod",
    "FaultyStorage",
    "InjectedFault",
    "PaymentMethodContract",
    "PaymentTrial",
    "StorageContract",
    "strategies",
]
