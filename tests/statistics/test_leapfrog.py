"""Leapfrog on every case: reversible, volume-preserving, of second order."""

import pytest

from . import leapfrog
from .cases import CASES


@pytest.mark.parametrize("case", CASES)
def test_reversible(case):
    leapfrog.check_reversible(case)


@pytest.mark.parametrize("case", CASES)
def test_volume_preserving(case):
    leapfrog.check_volume(case)


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.smooth])
def test_energy_error_is_of_second_order(case):
    leapfrog.check_energy_order(case)
