"""Tells Hypothesis what draws the types of commcredits, so that `st.from_type(Money)` works with nothing else imported.

It stands outside the package because Hypothesis imports it whenever it is imported itself, and who has commcredits
installed and tests something else is not to wait for it. Whichever of the two is imported last does the telling.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def hypothesis_is_here() -> None:
    """Hypothesis calls this when it is imported."""
    # While commcredits is being imported it has no __all__ yet; at the end of that it does the telling itself.
    if hasattr(sys.modules.get("commcredits"), "__all__"):
        register()


def register() -> None:
    """Register a strategy for each type; the strategies themselves are loaded when one is first asked for."""
    from hypothesis import strategies as st  # noqa: PLC0415  # see above

    import commcredits  # noqa: PLC0415
    from commcredits.telephony import CallRecord  # noqa: PLC0415

    names: dict[type[Any], str] = {
        commcredits.Money: "monies",
        commcredits.Threshold: "thresholds",
        commcredits.RechargeLimit: "recharge_limits",
        commcredits.RechargePolicy: "recharge_policies",
        commcredits.Terms: "terms",
        commcredits.Ledger: "ledgers",
        CallRecord: "call_records",
    }
    for thing, name in names.items():
        st.register_type_strategy(thing, partial(_drawn, name))
    kinds: list[type[Any]] = [commcredits.Event, *commcredits.Event.__subclasses__()]
    for kind in kinds:
        st.register_type_strategy(kind, partial(_drawn, "events", kind))


def _drawn(name: str, *arguments: Any) -> SearchStrategy[Any]:
    """A strategy of `commcredits.testing.strategies`; the last argument is the type that Hypothesis asks for."""
    from commcredits.testing import strategies  # noqa: PLC0415

    strategy: SearchStrategy[Any] = getattr(strategies, name)(*arguments[:-1])
    return strategy
