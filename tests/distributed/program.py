"""The program, which saves so often that much of its time is inside a save, and draws no figures."""

import math
import sys

import pytest

from anasyn.cli import main
from anasyn.run import session

from ..commands import without_figures

if __name__ == "__main__":
    session.SECONDS_BETWEEN_CHECKPOINTS = 0.05
    session.SHARE = math.inf
    with pytest.MonkeyPatch.context() as patch:
        without_figures(patch)
        sys.exit(main(sys.argv[1:]))
