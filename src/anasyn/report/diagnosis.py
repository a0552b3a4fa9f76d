"""The diagnosis of a run: written to RUN/diagnosis.json, drawn as a figure, and put into words."""

import json
from collections.abc import Iterator
from typing import Any

import torch

from ..diagnostics import diagnose
from ..run import Run
from ..run.files import replace
from . import figures

__all__ = ["lines", "write"]

SHOWN = 4  # images whose long chains are drawn


def write(run: Run) -> dict[str, Any]:
    """Diagnoses a run and writes RUN/diagnosis.json and, if the method synthesises images, RUN/figures/long_run.png.

    Returns the content of the JSON file: ``verdict``, ``reasons`` and ``protocol`` in words, and the numbers about
    the inference of z as ``inference``, about the synthesis of images as ``synthesis`` and about their recovery from
    noise as ``recovery``.

    Raises:
        InputError: nothing has been learned yet, the run's images are missing or have changed, or arviz is missing.
    """
    inference, synthesis, recovery = diagnose(run)
    if synthesis:
        long_run = synthesis.long_run
        frames = torch.cat([long_run.frames[0, :, :SHOWN], long_run.frames[1, :, :SHOWN]], 1)
        figure = figures.strip_figure(frames, long_run.frame_steps)
        (run.path / "figures").mkdir(exist_ok=True)
        figures.save(figure, run.path / "figures" / "long_run.png")
    parts = {"inference": inference, "synthesis": synthesis, "recovery": recovery}
    found = {name: part.to_dict() for name, part in parts.items() if part}
    result: dict[str, Any] = {
        "verdict": "; ".join(part["verdict"] for part in found.values()),
        "reasons": [reason for part in found.values() for reason in part["reasons"]],
        "protocol": "; ".join(part["protocol"] for part in found.values()),
    }
    for name, part in found.items():
        result[name] = {key: value for key, value in part.items() if key not in result}
    replace(run.path / "diagnosis.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def lines(diagnosis: dict[str, Any]) -> Iterator[str]:
    """The diagnosis in words: the verdict, its reasons, and the numbers behind them."""
    yield diagnosis["verdict"]
    yield from (f"  - {reason}" for reason in diagnosis["reasons"])
    yield ""
    tables = {"inference": _inference_lines, "synthesis": _synthesis_lines, "recovery": _recovery_lines}
    for name, table in tables.items():
        if name in diagnosis:
            yield from table(diagnosis[name])
            yield ""
    yield diagnosis["protocol"]


def _inference_lines(found: dict[str, Any]) -> Iterator[str]:
    columns = {
        "acceptance_rate": "acceptance",
        "step_size": "step size",
        "ess_per_1000_gradients": "ESS/1000",
        "r_hat": "R-hat",
        "fresh_r_hat": "fresh R-hat",
        "lambda_max": "λ_max",
        "stability_limit": "limit of δ",
    }
    width = max(len(name) for name in found["names"])
    yield f"{'image':{width}}" + "".join(f"{title:>13}" for title in columns.values())
    for row, name in enumerate(found["names"]):
        yield f"{name:{width}}" + "".join(f"{_number(found[column][row]):>13}" for column in columns)


def _synthesis_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"temperature {_number(found['temperature'])}"
    rate = _number(found["acceptance_rate"])
    yield f"acceptance rate of the Metropolis–Hastings correction, whether or not it is applied: {rate}"
    steins = {"data": found["stein_data"], "synthesis": found["stein_synthesized"]}
    steins |= {f"long run from the {name}": ratios for name, ratios in found["stein_long"].items()}
    for where, ratios in steins.items():
        yield f"Stein's ratio −E[y·∇log p]/D (1 under p), {where}: {_number(ratios['ratio'])}"
    if found["gap"]:
        gap = found["gap"]
        words = f"mean {_number(gap['mean'])}, spread {_number(gap['spread'])}, trend {_number(gap['trend'])} spreads"
        yield (
            f"energy gap d_t over the second half of the iterations {gap['finding']}: {words}, "
            f"autocorrelation {_number(gap['autocorrelation'])}"
        )
    yield f"{'transitions':>12}{'from the data: SWD':>22}{'from the start: SWD':>22}"
    long_run = found["long_run"]
    for row, step in enumerate(long_run["frame_steps"]):
        swd = (_number(long_run["swd"][where][row]) for where in ("data", "start"))
        yield f"{step:>12}" + "".join(f"{number:>22}" for number in swd)


def _recovery_lines(found: dict[str, Any]) -> Iterator[str]:
    chains = {"short": "short", "long": "long", "long_from_data": "from data"}
    yield "share of the noise that chains remove, and their mean log-density below that of the data, in deviations"
    titles = [f"{title}, {what}" for title in chains.values() for what in ("noise", "gap")]
    yield f"{'level':>5}{'σ':>9}{'acceptance':>12}" + "".join(f"{title:>18}" for title in titles)
    for level in found["levels"]:
        numbers = [_number(level[name][what]) for name in chains for what in ("removed", "gap")]
        start = f"{level['level']:>5}{_number(level['sigma']):>9}{_number(level['acceptance_rate']):>12}"
        yield start + "".join(f"{number:>18}" for number in numbers)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
