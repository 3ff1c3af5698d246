"""A payment provider that outlives the processes that ask it, since its books are a file of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from pathlib import Path

from commcredits import Charge, Money, Outcome, Paid


class BankOnFile:
    """Takes the money once under each key, and pays always.

    `dies`: the process that asks is killed "before" or "after" the money is taken, at its first charge.
    """

    def __init__(self, path: Path, *, dies: str = "") -> None:
        self._dies = dies
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.execute("CREATE TABLE IF NOT EXISTS asked (key TEXT)")
        self._connection.execute("CREATE TABLE IF NOT EXISTS taken (key TEXT PRIMARY KEY, amount TEXT)")

    def charge(self, charge: Charge) -> Outcome:
        self._die_if("before")
        self.take(charge.charge_id, charge.amount)
        self._die_if("after")
        return Paid(f"receipt of {charge.charge_id}")

    def take(self, key: str, amount: Money) -> None:
        """Take the money, unless it was taken under this key."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO asked VALUES (?)", [key])
        self._connection.execute("INSERT INTO taken VALUES (?, ?) ON CONFLICT DO NOTHING", [key, str(amount)])
        self._connection.execute("COMMIT")

    def _die_if(self, when: str) -> None:
        if self._dies == when:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def taken(self) -> dict[str, Money]:
        return {key: Money.parse(amount) for key, amount in self._connection.execute("SELECT key, amount FROM taken")}

    @property
    def asked(self) -> Counter[str]:
        return Counter(key for (key,) in self._connection.execute("SELECT key FROM asked"))

    def close(self) -> None:
        self._connection.close()
