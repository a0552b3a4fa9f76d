"""Chains by themselves: independent, each with its own step size, at their temperature, frozen while drawing."""

import pytest

from . import checks


@pytest.mark.parametrize("kernel", checks.SINGLE)
def test_chains_are_independent(kernel):
    checks.check_independent_chains(kernel)


@pytest.mark.parametrize("kernel", checks.SINGLE)
def test_each_chain_has_its_own_step_size(kernel):
    checks.check_own_step_sizes(kernel)


@pytest.mark.parametrize("kernel", checks.SINGLE)
def test_step_sizes_are_frozen_while_drawing(kernel):
    checks.check_frozen(kernel)


def test_temperature():
    checks.check_temperature()
