"""`warm_up` ends within 0.03 of its target acceptance on every case, from initial steps 1e-4 to 10."""

import pytest

from . import checks
from .cases import CASES

FAST = {("1-d", 1e-4), ("1-d", 10.0), ("bimodal 1-d", 1e-4), ("nonlinear posterior 1-d", 10.0)}


@pytest.mark.parametrize(
    ("case", "initial"),
    [
        pytest.param(case, initial, marks=[] if (case, initial) in FAST else pytest.mark.statistics)
        for case in CASES
        for initial in checks.INITIAL_STEPS
    ],
)
@pytest.mark.parametrize("kernel", checks.ADAPTED)
def test_warm_up_reaches_its_target(kernel, case, initial):
    checks.check_adaptation(case, kernel, initial)
