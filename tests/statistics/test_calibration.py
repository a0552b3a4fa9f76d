"""Simulation-based calibration of z | Y, for every kernel, on a linear and a nonlinear generator."""

import pytest

from . import calibration
from .cases import GENERATORS


@pytest.mark.parametrize(
    ("generator", "kernel"),
    [
        pytest.param(*key, marks=pytest.mark.statistics if key[1] == "Langevin" else [])
        for key in calibration.CALIBRATED
    ],
)
def test_posterior_inference_is_calibrated(generator, kernel):
    calibration.check_calibration(generator, kernel)


@pytest.mark.parametrize("generator", GENERATORS)
def test_unadjusted_langevin_at_a_large_step_is_not(generator):
    """Each of z, ‖z‖² and the log-likelihood says so, at p < 1e-8."""
    p_values = calibration.rank_p_values(GENERATORS[generator](), *calibration.LARGE_STEP, seed=0)
    assert max(p_values.values()) < 1e-8, p_values
