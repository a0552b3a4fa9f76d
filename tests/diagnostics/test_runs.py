"""The diagnosis of a run."""

import json
from pathlib import Path

import pytest

from anasyn.data.sources import load
from anasyn.diagnostics import diagnose
from anasyn.errors import InputError
from anasyn.methods import METHODS, DescriptorSettings, GeneratorSettings, Scale, Settings
from anasyn.run import Run, advance

pytestmark = pytest.mark.usefixtures("coarse_distances")

METHOD_OF = {method.settings: method.name for method in METHODS}


COMMON = {"data": "drawn-cats", "size": 16, "num_steps": 3, "width": 8, "precision": "bfloat16"}


def begun(path: Path, recipe: Settings) -> Run:
    settled = recipe.resolve(Scale(num_images=16, smaller_side=16, has_bfloat16=False))
    return Run.create(path / "run", METHOD_OF[type(settled)], settled, load("drawn-cats", 16))


def learned(path: Path, recipe: Settings) -> Run:
    run = begun(path, recipe)
    for _ in advance(run, *run.resume(), run.images()):
        pass
    return run


def test_a_generator_s_run(tmp_path: Path) -> None:
    run = learned(tmp_path, GeneratorSettings(**COMMON, step_size=0.03, batch_size=16, iterations=2, latent_dim=3))
    found, *others = diagnose(run)
    assert found is not None
    assert others == [None, None]
    assert found.names == tuple(run.data().names)
    assert found.chains.positions.shape == (4, 200, 16, 3)
    assert found.prior.mean_square == pytest.approx((run.learned().chains.positions ** 2).mean(0).tolist(), rel=1e-5)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_descriptor_s_run(tmp_path: Path) -> None:
    recipe = DescriptorSettings(**COMMON, batch_size=8, iterations=24, scale=100.0, chains_per_image=2)
    run = learned(tmp_path, recipe)
    other, found, another = diagnose(run)
    assert other is another is None
    assert found is not None
    assert found.verdict == "not learned"
    assert found.names == tuple(run.data().names)
    assert found.num_steps == 3
    assert found.gap.num == 12
    assert found.long_run.frame_steps == (0, 3, 6, 15, 30)
    assert found.to_dict() == diagnose(run)[1].to_dict()  # every random number follows from the run's seed


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    run = begun(tmp_path, GeneratorSettings(**COMMON, step_size=0.03, batch_size=16, iterations=2, latent_dim=3))
    with pytest.raises(InputError, match="nothing learned yet"):
        diagnose(run)
