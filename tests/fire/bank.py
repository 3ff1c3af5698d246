"""A payment provider as they are: it answers once under a key, and tells by webhooks too: late, twice and in any order.

It decides by chance, of which it is handed a source.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from commcredits import Charge, Declined, Money, Outcome, Paid, Processing

KEYS_KEPT_FOR = timedelta(hours=24)


class Bank:
    """`taken`: what was really taken, with the key that it was taken under; nothing is ever removed from it."""

    def __init__(
        self,
        random: Random,
        now: Callable[[], datetime],
        finish_later: Callable[[Charge], None],
        webhook: Callable[[Charge, Outcome], None],
    ) -> None:
        self._random = random
        self._now = now
        self._finish_later = finish_later
        self._webhook = webhook
        self._first: dict[str, tuple[datetime, Charge, Outcome]] = {}
        self.latest: dict[str, Outcome] = {}
        self.taken: list[tuple[str, Money]] = []
        self.pays_always = False

    def charge(self, charge: Charge) -> Outcome:
        """Take the money, or repeat what was said under this key."""
        if self.knows(charge.charge_id):
            _, first, outcome = self._first[charge.charge_id]
            if (first.amount, first.payment_method) != (charge.amount, charge.payment_method):
                raise LookupError(f"key {charge.charge_id} was used for another charge")
            return outcome
        outcome = self._done(charge, Paid() if self.pays_always else self._decided())
        self._first[charge.charge_id] = (self._now(), charge, outcome)
        if isinstance(outcome, Processing):
            self._finish_later(charge)
        return outcome

    def knows(self, key: str) -> bool:
        return key in self._first and self._now() - self._first[key][0] < KEYS_KEPT_FOR

    def finish(self, charge: Charge) -> None:
        """Make up its mind about a charge that is processing; its key goes on being answered Processing."""
        self._done(charge, Paid() if self.pays_always else self._random.choice((Paid(), Declined("after all"))))

    def looked_up(self, key: str) -> Outcome:
        """What a person finds who asks what became of a key."""
        return self.latest.get(key, Declined("never arrived"))

    def _decided(self) -> Outcome:
        return self._random.choice(
            (Paid(), Paid(), Paid(), Paid(), Declined("no funds"), Declined("stolen", retryable=False), Processing())
        )

    def _done(self, charge: Charge, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Paid):
            self.taken.append((charge.charge_id, charge.amount))
            outcome = Paid(f"receipt {len(self.taken)}")
        self.latest[charge.charge_id] = outcome
        self._webhook(charge, outcome)
        return outcome
