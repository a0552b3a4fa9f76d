"""Chains by themselves: independent, each with its own step size, at their temperature, frozen while drawing."""

import pytest

from . import single


@pytest.mark.parametrize("kernel", single.SINGLE)
def test_chains_are_independent(kernel):
    single.check_independent_chains(kernel)


@pytest.mark.parametrize("kernel", single.SINGLE)
def test_each_chain_has_its_own_step_size(kernel):
    single.check_own_step_sizes(kernel)


@pytest.mark.parametrize("kernel", single.SINGLE)
def test_step_sizes_are_frozen_while_drawing(kernel):
    single.check_frozen(kernel)


def test_temperature():
    single.check_temperature()


def test_chains_carry_no_graph():
    single.check_detached()
