"""Geweke's joint test of whole iterations of Algorithm 1, through `GeneratorLearner.step` itself."""

import pytest

from . import joint


@pytest.mark.parametrize(
    "kernel", ["MALA", *(pytest.param(name, marks=pytest.mark.statistics) for name in ("Langevin", "HMC"))]
)
def test_iterations_leave_the_joint_law_alone(kernel):
    joint.check_joint(kernel)


def test_few_iterations_leave_it_alone():
    joint.check_joint("MALA", **joint.FEWER)


def test_the_weights_follow_the_likelihood_s_gradient():
    joint.check_weight_step()
