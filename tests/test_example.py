"""The example that replays a usage report: its numbers against a model of its own, its complaints, and the README."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "examples" / "replay_usage_report.py"
EXPORT = ROOT / "docs" / "examples" / "data" / "pstn_usage_export.csv"
RATES = ROOT / "docs" / "examples" / "data" / "rates.csv"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("replay_usage_report", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(
    example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Run the example in a folder of its own; the lines that it prints, each with single spaces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def start(*arguments: str) -> list[str]:
        example.main(arguments)
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        return [line for line in lines if line]

    return start


def rows_of_export() -> list[dict[str, str]]:
    with EXPORT.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_report(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def costs_in_cents(currency: str) -> list[int]:
    """The costs of the calls that draw on credits, by the ends of the calls."""
    rows = [row for row in rows_of_export() if row["Currency"] == currency and uses_credits(row)]
    rows.sort(key=lambda row: datetime.fromisoformat(row["End Time"]))
    return [round(100 * (float(row["Charge"]) + float(row["Connection Fee"]))) for row in rows]


def uses_credits(row: dict[str, str]) -> bool:
    return row["Capability"] == "MCOPSTNPP" or row["Capability"].startswith("MCOMEETACPEA")


def shown(cents: int) -> str:
    return f"{cents / 100:,.2f}"


@pytest.mark.parametrize(("opening", "threshold", "amount"), [(100, 50, 50), (60, 75, 200), (500, 10, 50)])
def test_the_statement_is_what_a_model_in_cents_comes_to(
    run: Callable[..., list[str]], opening: int, threshold: int, amount: int
) -> None:
    output = run("--opening", str(opening), "--threshold", str(threshold), "--amount", str(amount))
    costs = costs_in_cents("USD")
    balance = start = 100 * (opening + (amount if opening < threshold else 0))
    recharges = 0
    for cost in costs:
        balance -= cost
        if balance < 100 * threshold:
            balance += 100 * amount
            recharges += 1
    assert f"Opening balance {shown(start)}" in output
    assert f"All usage {len(costs)} -{shown(sum(costs))}" in output
    recharged = f"+{shown(100 * amount * recharges)}" if recharges else "0.00"
    assert f"Recharges {recharges} {recharged}" in output
    assert "Expiries 0 0.00" in output
    assert f"Closing balance {shown(balance)}" in output
    usage = [int(found[1].replace(".", "")) for line in output if (found := re.match(r"[a-z].* \d+ -([\d.]+)$", line))]
    assert sum(usage) == sum(costs)


def rated_in_ten_thousandths(row: dict[str, str]) -> int:
    """What the rate card beside the example makes of a call, in ten-thousandths of a dollar."""
    inbound = row["Call Type"].endswith("_in")
    number = row["Destination Number"].removeprefix("+")
    with RATES.open(encoding="utf-8", newline="") as file:
        rates = [rate for rate in csv.DictReader(file) if (rate["Direction"] == "inbound") == inbound]
    longest = max((rate for rate in rates if number.startswith(rate["Prefix"])), key=lambda rate: len(rate["Prefix"]))
    minutes = -(-int(row["Duration Seconds"]) // 60)
    return round(minutes * 10_000 * float(longest["Price / min (USD)"]))


def rows_that_may_cost() -> list[dict[str, str]]:
    """The calls in dollars, of the days that the credits' calls are of, that are not free whoever calls whom."""
    rows = [row for row in rows_of_export() if row["Currency"] == "USD"]
    days = [row["End Time"][:10] for row in rows if uses_credits(row)]
    return sorted(
        (
            row
            for row in rows
            if min(days) <= row["End Time"][:10] <= max(days)
            and row["Capability"] != "FREECALL"
            and row["Operator"] == "Microsoft"
            and not row["Call Type"].startswith("emergency")
            and (not row["Call Type"].endswith("_in") or uses_credits(row))
        ),
        key=lambda row: datetime.fromisoformat(row["End Time"]),
    )


@pytest.mark.parametrize("included", [0, 300, 5000])
def test_with_a_rate_card_and_a_plan_calls_cost_what_a_model_of_both_comes_to(
    run: Callable[..., list[str]], included: int
) -> None:
    output = run("--rates", "--plan-minutes", str(included))
    covered = ten_thousandths = paid = 0
    used: Counter[str] = Counter()  # by the month in which the call began
    for row in rows_that_may_cost():
        minutes = -(-int(row["Duration Seconds"]) // 60)
        plan_covers = row["Domestic/International"] == "Domestic" and "_out" in row["Call Type"]
        plan_covers = plan_covers and not row["Call Type"].startswith("conf")
        month = row["Start Time"][:7]
        if minutes and plan_covers and used[month] + minutes <= included:
            covered += 1
            used[month] += minutes
        elif minutes:
            paid += 1
            ten_thousandths += rated_in_ten_thousandths(row)
    cost = f"{ten_thousandths / 10_000:,.3f}"
    assert f"All usage {paid} -{cost}" in output
    (credits_line,) = [line for line in output if line.startswith("paid by credits")]
    assert credits_line.split()[3] == str(paid)
    assert round(10_000 * float(credits_line.split()[-1])) == ten_thousandths
    covered_lines = [line for line in output if line.startswith("covered by the plan's minutes")]
    assert [line.split()[5] for line in covered_lines] == [str(covered)] * bool(covered)


def test_a_plan_large_enough_leaves_few_calls_on_which_report_and_rate_card_do_not_agree(
    run: Callable[..., list[str]],
) -> None:
    output = run("--rates", str(RATES), "--plan-minutes", "5000")
    assert "The report beside the rate card: 607 calls agree, 4 do not" in output
    assert "dial-out from conferences, France differs 0.00 0.24" in output
    assert not any("and " in line and " more" in line for line in output)


def test_calls_that_the_card_has_no_rate_for_are_told(run: Callable[..., list[str]], tmp_path: Path) -> None:
    rates = RATES.read_text(encoding="utf-8").splitlines()
    card = tmp_path / "card.csv"
    card.write_text("\n".join(line for line in rates if not line.startswith("Zimbabwe")), encoding="utf-8")
    output = run("--rates", str(card), "--plan-minutes", "5000")
    told = " ".join(output)
    assert "Left aside: call '1f815d4a-4f82-5c32-9a63-b84c67b1d261': '+263242700123'" in told
    assert "dial-out from conferences, Zimbabwe not rated" in told


def test_the_last_line_says_where_the_picture_is(run: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run()[-1] == f"The picture of the balance is in {Path('replay/balance.png')}"
    picture = (tmp_path / "replay" / "balance.png").read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) > 20_000


def test_the_readme_shows_what_the_example_prints(run: Callable[..., list[str]]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^<!-- output: example -->\n```console\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    output = iter(run())
    for line in filter(None, (" ".join(line.split()) for line in block.splitlines())):
        assert line in output, line  # `in` goes on from where the line before was found


def test_a_declined_card_is_asked_again_and_in_the_end_no_more(run: Callable[..., list[str]]) -> None:
    output = run("--decline-every", "1")
    first = next(place for place, line in enumerate(output) if "Charge declined" in line)
    assert [re.sub(r"^\S+ \S+ ", "", line) for line in output[first : first + 5]] == [
        "Charge declined 50.00 USD, next try 2024-01-04 15:50",
        "Charge declined 50.00 USD, next try 2024-01-04 21:50",
        "Charge declined 50.00 USD, next try 2024-01-05 21:50",
        "Charge declined 50.00 USD, not tried again",
        "Recharge suspended declined: please see to your card",
    ]
    assert f"Closing balance -{shown(sum(costs_in_cents('USD')) - 10_000)}" in output
    assert any("Balance used up" in line for line in output)


def test_alerts_limits_and_expiries_are_told(run: Callable[..., list[str]]) -> None:
    output = run("--valid-days", "10", "--alert", "30", "--monthly-limit", "150")
    subjects = {"Balance is low", "Recharge limit", "Funds will expire", "Funds expired", "Balance restored"}
    assert {subject for subject in subjects if any(subject in line for line in output)} == subjects
    (expiries,) = [line.split() for line in output if line.startswith("Expiries")]
    expired = [found[1] for line in output if (found := re.search(r"Funds expired ([\d.]+) USD", line))]
    assert int(expiries[1]) == len(expired) > 0
    assert expiries[2] == f"-{shown(sum(int(amount.replace('.', '')) for amount in expired))}"


def test_another_currency_is_replayed_on_a_ledger_of_its_own(run: Callable[..., list[str]]) -> None:
    output = run("--currency", "jpy")
    assert "1 calls in JPY that draw on credits: replayed" in output
    assert "397 calls in CHF, EUR, GBP, USD: left aside (--currency replays them)" in output
    assert "Closing balance 63" in output


def test_no_row_is_left_aside_silently(run: Callable[..., list[str]], tmp_path: Path) -> None:
    rows = rows_of_export()
    calls = [row for row in rows if row["Currency"] == "USD" and uses_credits(row)]
    unreadable = [calls[0] | {"UsageId": f"bad {number}", "Charge": f"1,{number}"} for number in range(12)]
    more = [calls[1], calls[2] | {"Charge": "99.00"}, calls[3] | {"UsageId": "gave back", "Charge": "-1.00"}]
    output = run(write_report(tmp_path / "report.csv", rows + unreadable + more))
    told = " ".join(output)
    assert "12 rows that cannot be read: left aside (see below)" in output
    assert all(f"row {621 + number}, column 'Charge': '1,{number}'" in told for number in range(10))
    assert "and 2 more, all of them in replay/bad_rows.txt" in output
    assert len((tmp_path / "replay" / "bad_rows.txt").read_text(encoding="utf-8").splitlines()) == 12
    assert "1 calls of a cost below zero, which is no usage: left aside" in output
    assert "1 rows came a second time; each call was paid for once." in output
    assert f"Left aside: a second row with the id {calls[2]['UsageId']}, unlike the first." in told
    assert f"All usage {len(calls)} -{shown(sum(costs_in_cents('USD')))}" in output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--threshold", "-5"], "argument --threshold: threshold Money('-5.00', 'USD'): must be zero or more"),
        (["--threshold", "5e1"], "argument --threshold: amount '5e1': not a plain decimal number"),
        (["--threshold", "1000000"], "argument --threshold: more than 100 recharges of 50.00 USD away"),
        (
            ["--amount", "10"],
            "argument --amount: amount Money('10.00', 'USD'): below the minimum purchase of 50.00 USD",
        ),
        (["--amount", "0"], "argument --amount: amount Money('0.00', 'USD'): must be above zero"),
        (["--opening", "50.5"], "argument --opening: amount Money('50.50', 'USD'): not a multiple of 1.00 USD"),
        (["--opening", "much"], "argument --opening: amount 'much'"),
        (["--currency", "XXY"], "argument --currency: currency 'XXY': not an ISO 4217 currency code"),
        (
            ["--currency", "SEK"],
            "argument --currency: no call in SEK draws on credits; there are: CHF, EUR, GBP, JPY, USD",
        ),
        (["--alert", "-1"], "argument --alert: threshold Money('-1.00', 'USD')"),
        (["--monthly-limit", "0"], "argument --monthly-limit: limit Money('0.00', 'USD')"),
        (["--valid-days", "0"], "argument --valid-days: funds_valid_for"),
        (["--valid-days", "9" * 12], "argument --valid-days: too large"),
        (["--decline-every", "-1"], "argument --decline-every: must be zero (never) or more"),
        (["--output", str(SCRIPT)], "argument --output: "),
        (["--rates", "nowhere.csv"], "argument --rates: [Errno 2] No such file or directory: 'nowhere.csv'"),
        (["--rates", str(EXPORT)], "argument --rates: "),
        (["--rates", "--currency", "EUR"], "argument --rates: "),
        (["--plan-minutes", "5"], "argument --plan-minutes: needs --rates"),
        (["--rates", "--plan-minutes", "-1"], "argument --plan-minutes: must be from 0 to 1,000,000"),
        (["nowhere.csv"], "argument report: [Errno 2] No such file or directory: 'nowhere.csv'"),
        ([sys.executable], "argument report: "),
        (["--currencies", "USD"], "unrecognized arguments: --currencies"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_a_bad_option_is_named_and_ends_with_2(
    run: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_it_is_a_script_that_runs_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(SCRIPT), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"The picture of the balance is in {tmp_path / 'out' / 'balance.png'}"
