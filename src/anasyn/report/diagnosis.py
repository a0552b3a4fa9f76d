"""A run's diagnosis: kept in RUN/diagnosis.json, its long run drawn, and all of it told in words."""

import json
from collections.abc import Iterator
from typing import Any

import torch

from ..diagnostics import DescriptorDiagnosis, diagnose
from ..run import Run
from ..run.files import replace
from . import figures

__all__ = ["lines", "write"]

SHOWN = 4
"""Images whose long chains are drawn."""


def write(run: Run) -> dict[str, Any]:
    """Diagnoses a run; its diagnosis as JSON has it, written to RUN/diagnosis.json, with RUN/figures/long_run.png.

    Raises:
        InputError: nothing is learned yet, the run's images are gone or have changed, or arviz is missing.
    """
    diagnosis = diagnose(run)
    if isinstance(diagnosis, DescriptorDiagnosis):
        long_run = diagnosis.long_run
        frames = torch.cat([long_run.frames[0, :, :SHOWN], long_run.frames[1, :, :SHOWN]], 1)
        figure = figures.strip_figure(frames, long_run.frame_steps)
        (run.path / "figures").mkdir(exist_ok=True)
        figures.save(figure, run.path / "figures" / "long_run.png")
    told = diagnosis.to_dict()
    replace(run.path / "diagnosis.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    return told


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The diagnosis in words: the verdict, its reasons, and the numbers behind them."""
    yield told["verdict"]
    yield from (f"  - {reason}" for reason in told["reasons"])
    yield ""
    yield from _generator_lines(told) if told["model"] == "generator" else _descriptor_lines(told)
    yield ""
    yield told["protocol"]


def _generator_lines(told: dict[str, Any]) -> Iterator[str]:
    columns = {
        "acceptance_rate": "acceptance",
        "step_size": "step size",
        "ess_per_1000_gradients": "ESS/1000",
        "r_hat": "R-hat",
        "fresh_r_hat": "fresh R-hat",
        "lambda_max": "λ_max",
        "stability_limit": "limit of δ",
    }
    width = max(len(name) for name in told["names"])
    yield f"{'image':{width}}" + "".join(f"{title:>13}" for title in columns.values())
    for row, name in enumerate(told["names"]):
        yield f"{name:{width}}" + "".join(f"{_number(told[column][row]):>13}" for column in columns)


def _descriptor_lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"temperature {_number(told['temperature'])}"
    yield f"acceptance of a Metropolis-Hastings test, given or not: {_number(told['acceptance_rate'])}"
    steins = {"data": told["stein_data"], "synthesis": told["stein_synthesized"]}
    steins |= {f"long run from the {name}": ratios for name, ratios in told["stein_long"].items()}
    for where, ratios in steins.items():
        yield f"Stein's ratio −E[y·∇log p]/D, 1 under p, at the {where}: {_number(ratios['ratio'])}"
    if told["gap"]:
        gap = told["gap"]
        yield (
            f"d_t over the last half {gap['finding']}: mean {_number(gap['mean'])}, spread {_number(gap['spread'])}, "
            f"trend {_number(gap['trend'])} spreads, autocorrelation {_number(gap['autocorrelation'])}"
        )
    yield f"{'transitions':>12}{'from the data: SWD':>22}{'from the start: SWD':>22}"
    long_run = told["long_run"]
    for row, step in enumerate(long_run["frame_steps"]):
        swd = (_number(long_run["swd"][where][row]) for where in ("data", "start"))
        yield f"{step:>12}" + "".join(f"{number:>22}" for number in swd)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
