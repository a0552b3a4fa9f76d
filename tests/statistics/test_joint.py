"""Geweke's joint test of whole iterations of Algorithm 1, through `GeneratorLearner.step` itself."""

import pytest

from . import checks


@pytest.mark.parametrize(
    "kernel", ["MALA", *(pytest.param(name, marks=pytest.mark.statistics) for name in ("Langevin", "HMC"))]
)
def test_iterations_leave_the_joint_law_alone(kernel):
    checks.check_joint(kernel)
