"""The example that rates a month of a made-up company: its numbers against a model of its own, and its complaints."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import tomllib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "examples" / "rate_a_month.py"
RATES = ROOT / "docs" / "examples" / "data" / "rates.csv"
PNG = b"\x89PNG\r\n\x1a\n"
MONTH = datetime(2026, 3, 1, tzinfo=UTC)
# The pools of a company: the minutes of one licence, by plan and kind.
INCLUDED = {"US domestic": 120, "GB domestic": 3000, "GB abroad": 600, "DE domestic": 240, "dial-out": 60}


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("rate_a_month", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rate_a_month"] = module  # attrs looks there for what annotations name
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(
    example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Run the example in a folder of its own; the lines that it prints, each with single spaces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def start(*arguments: str) -> list[str]:
        example.main(arguments)
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        return [line for line in lines if line and "Billing each night" not in line]

    return start


def modelled(example: Any, count: int, seed: int) -> tuple[Counter[str], Counter[str], int]:
    """Minutes used by pool, calls that credits pay for by kind, and their cost in ten-thousandths of a dollar."""
    people = example.people_of(count)
    calls = example.calls_of(MONTH, people, Random(seed))  # noqa: S311
    licences = Counter(f"{office.country} domestic" for _, office in people)
    licences["GB abroad"] = licences["GB domestic"]
    licences["dial-out"] = sum(person.audio_conferencing is not None for person, _ in people)
    with RATES.open(encoding="utf-8", newline="") as file:
        rates = list(csv.DictReader(file))
    used: Counter[str] = Counter()
    paid: Counter[str] = Counter()
    cost = 0
    for call in calls:
        comes_in = call.call_type.endswith("_in")
        if comes_in and call.number_type != "TollFree":
            continue
        minutes = -(-call.duration_seconds // 60)
        at_home = call.destination_context == "Domestic"
        pool = f"{call.usage_country} {'domestic' if at_home else 'abroad'}"
        pool = "dial-out" if call.call_type == "conf_out" else pool
        in_zone = pool != "dial-out" or call.destination_name != "United Arab Emirates"
        if not comes_in and in_zone and used[pool] + minutes <= INCLUDED.get(pool, 0) * licences[pool]:
            used[pool] += minutes
            continue
        number = call.callee_number.removeprefix("+")
        direction = "inbound" if comes_in else "outbound"
        fitting = [rate for rate in rates if rate["Direction"] == direction and number.startswith(rate["Prefix"])]
        price = float(max(fitting, key=lambda rate: len(rate["Prefix"]))["Price / min (USD)"])
        cost += minutes * round(10_000 * price)
        paid["toll-free" if comes_in else pool.rpartition(" ")[2]] += 1
    return used, paid, cost


@pytest.mark.parametrize(("people", "seed"), [(20, 1), (33, 7)])
def test_the_bill_is_what_a_model_of_plans_and_rates_comes_to(
    example: Any, run: Callable[..., list[str]], people: int, seed: int
) -> None:
    output = run("--people", str(people), "--seed", str(seed))
    used, paid, cost = modelled(example, people, seed)
    assert f"Consumed by calls -{cost / 10_000:,.4f}" in output
    assert f"The bill of the whole month {cost / 10_000:,.4f}" in output
    told = f"Billed once more: the ledger knew {paid.total():,} calls that credits pay for, 0 were new to it."
    assert told in output
    names = {
        "MCOPSTN5 US domestic": "US domestic",
        "MCOPSTN2 GB domestic": "GB domestic",
        "MCOPSTN2 GB international": "GB abroad",
        "MCOPSTN6 DE domestic": "DE domestic",
        "MCOMEETADD dial-out": "dial-out",
    }
    for name, pool in names.items():
        (line,) = [line for line in output if line.startswith(name) and line.endswith("%")]
        assert line.split()[-2] == f"{used[pool]:,}"
    all_calls = next(line for line in output if line.startswith("All calls"))
    assert all_calls.endswith(f"{round(cost / 100) / 100:,.2f}")


def test_the_same_seed_makes_up_the_same_month_and_another_one_another(run: Callable[..., list[str]]) -> None:
    first = run("--people", "8", "--month", "2024-02")
    assert run("--people", "8", "--month", "2024-02") == first
    assert run("--people", "8", "--month", "2024-02", "--seed", "2") != first


def test_the_last_line_says_where_the_picture_is(run: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run("--people", "8")[-1] == f"The picture is in {Path('month/who_paid.png')}"
    picture = (tmp_path / "month" / "who_paid.png").read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) > 40_000


def test_pools_that_run_out_are_told_of(run: Callable[..., list[str]]) -> None:
    output = run("--people", "40")
    told = [line for line in output if line.endswith("are used")]
    assert any("100 % of the domestic minutes of MCOPSTN5 US" in line for line in told)
    assert told == sorted(told, key=lambda line: line[:10])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--people", "1"], "argument --people: must be from 2 to 5,000"),
        (["--people", "5001"], "argument --people: must be from 2 to 5,000"),
        (["--people", "many"], "argument --people: invalid"),
        (["--month", "March"], "argument --month: not a month such as 2026-03: 'March'"),
        (["--month", "1950-01"], "argument --month: must be from 1970 to 2100"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--output", str(SCRIPT), "--people", "2"], "argument --output: "),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)
def test_a_bad_option_is_named_and_ends_with_2(
    run: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_it_is_a_script_that_runs_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(SCRIPT), "--people", "5", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"The picture is in {tmp_path / 'out' / 'who_paid.png'}"


def test_the_extra_that_the_readme_installs_for_the_examples_is_all_that_they_load() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert "'.[example]'" in (ROOT / "README.md").read_text(encoding="utf-8")
    # What can be dialled out of the pool of conferences is asked of phonenumbers.
    assert "commcredits[telephony]" in extras["example"]


def test_what_the_examples_draw_is_no_change_to_the_clone() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"replay/", "month/"} <= set(ignored)
