"""Every planted fault is caught by every check that it names. The other modules run the same on the right package."""

from pathlib import Path

import pytest

from . import comparing, false_alarms
from .faults import CHECKS, FAULTS, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics.md"
PAIRS = [
    pytest.param(
        fault, check, id=f"{fault} - {check}", marks=[] if check == planted.caught_by[0] else pytest.mark.statistics
    )
    for fault, planted in FAULTS.items()
    for check in planted.caught_by
]


@pytest.mark.parametrize(("fault", "check"), PAIRS)
def test_planted_fault_is_caught(fault, check, monkeypatch):
    """By the very function that the right package passes; calibration says so at p < 1e-8."""
    FAULTS[fault].plant(monkeypatch)
    with pytest.raises(comparing.Caught) as caught:
        CHECKS[check]()
    assert caught.value.strength > (2 if check.startswith("calibration") else 1)  # log 1e-8 / log 1e-4 = 2


def test_there_are_at_least_fifteen_faults_and_every_check_catches_one():
    assert len(FAULTS) >= 15
    silent = set(CHECKS) - {check for fault in FAULTS.values() for check in fault.caught_by}
    assert {name for name in silent if not name.startswith(("distribution", "joint, Langevin"))} == set()


def test_the_documents_table_is_the_codes():
    assert table() in DOCUMENT.read_text()


def test_the_suites_false_alarm_rate_is_below_one_in_ten_thousand_and_as_documented():
    """Bonferroni over the comparisons that the tables really hold."""
    rate = false_alarms.false_alarm_rate()
    assert rate < 1e-4
    document = DOCUMENT.read_text()
    for name, family in false_alarms.families().items():
        assert f"| {name} | {family.comparisons} | {family.single:.1e} | {family.rate:.1e} |" in document
    assert f"**{rate:.1e}**" in document
