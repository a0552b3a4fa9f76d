"""`warm_up` ends within 0.03 of its target acceptance on every case, from initial steps 1e-4 to 10."""

import itertools

import pytest

from . import adaptation
from .cases import CASES

FAST = {
    ("1-d", 1e-4, "MALA"),
    ("1-d", 1e-4, "HMC"),
    ("1-d", 10.0, "MALA"),
    ("bimodal 1-d", 1e-4, "MALA"),
    ("nonlinear posterior 1-d", 10.0, "MALA"),
}


@pytest.mark.parametrize(
    ("case", "initial", "kernel"),
    [
        pytest.param(*key, marks=[] if key in FAST else pytest.mark.statistics)
        for key in itertools.product(CASES, adaptation.INITIAL_STEPS, adaptation.ADAPTED)
    ],
)
def test_warm_up_reaches_its_target(kernel, case, initial):
    adaptation.check_adaptation(case, kernel, initial)
