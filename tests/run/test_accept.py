"""Changed images are refused with their names; `--accept-new-data` keeps the chains of those that are still there."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from anasyn.cli import main
from anasyn.learning import tensors_of
from anasyn.run import Run

from ..commands import tree

SMALL = ["--size=16", "--width=8", "--num-steps=2", "--precision=float32", "--quiet"]
MODELS = {
    "generator": ["generator"],
    "latent-prior": ["latent-prior"],
    "cooperative": ["cooperative"],
    "descriptor, persistent": ["descriptor", "--start=persistent", "--chains-per-image=2"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    main(["data", "draw", "drawn-cats", str(folder), "--num", "6", "--size", "16"])
    return folder


def learn(arguments: list[str], data: Path, iterations: int, *more: str) -> int:
    out = str(data.parent / "run")
    return main(
        ["learn", *arguments, *SMALL, "--data", str(data), "--out", out, "--iterations", str(iterations), *more]
    )


def change(data: Path) -> None:
    """00001 goes, 00003 becomes another picture, 00004 is renamed, and one comes at the beginning of the order."""
    (data / "drawn-cats-00001.png").unlink()
    (data / "drawn-cats-00004.png").rename(data / "z.png")
    others = data.parent / "others"
    main(["data", "draw", "drawn-cats", str(others), "--num", "2", "--size", "16", "--seed", "9"])
    shutil.copy(others / "drawn-cats-00000.png", data / "drawn-cats-00003.png")
    shutil.copy(others / "drawn-cats-00001.png", data / "a.png")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_changed_images_are_refused_with_the_list(
    model, data: Path, capfd: pytest.CaptureFixture, no_figures: None
) -> None:
    assert learn(model, data, 3) == 0
    change(data)
    before = tree(data.parent / "run")
    capfd.readouterr()
    assert learn(model, data, 3) == 2  # although it is finished
    capfd.readouterr()
    assert learn(model, data, 5) == 2
    out, error = capfd.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    for words in (
        "added a.png, z.png",
        "gone drawn-cats-00001.png, drawn-cats-00004.png",
        "changed drawn-cats-00003.png",
        "--accept-new-data",
    ):
        assert words in error
    assert {**tree(data.parent / "run"), "config.json": b""} == {**before, "config.json": b""}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_accepted_images_keep_their_chains_by_content(model, data: Path, no_figures: None) -> None:
    assert learn(model, data, 3) == 0
    before = Run.open(data.parent / "run")
    chains = {name: tensor.clone() for name, tensor in before.learned().chains.state_dict().items()}
    old = before.data().digests
    weights = {name: tensor for name, tensor in tensors_of(before.learned()).items() if name.startswith("model.")}
    change(data)
    run, news = before.accept_new_data()
    images = run.images()
    assert "added a.png, z.png" in news
    learner = run.learned()
    assert learner.iteration == 3
    assert all(torch.equal(tensors_of(learner)[name], tensor) for name, tensor in weights.items())
    same = [(place, old.index(digest)) for place, digest in enumerate(images.digests) if digest in old]
    assert len(same) == 4
    each = 2 if "--chains-per-image=2" in model else 1
    for name, tensor in learner.chains.state_dict().items():
        assert len(tensor) == 6 * each
        for now, then in same:
            assert torch.equal(tensor[now * each : (now + 1) * each], chains[name][then * each : (then + 1) * each])
    fresh = set(range(6)) - {now for now, _ in same}
    if each == 2:
        assert not learner.chains.state_dict()["started"].view(6, 2)[sorted(fresh)].any()
    else:
        z = learner.chains.state_dict()["positions"]
        assert not any(torch.equal(z[now], row) for now in fresh for row in chains["positions"])


def test_a_run_goes_on_with_accepted_images_and_says_so(data: Path, capfd: pytest.CaptureFixture) -> None:
    assert learn(["generator"], data, 3) == 0
    change(data)
    (data / "b.png").write_bytes((data / "a.png").read_bytes())  # the same picture twice is two images
    assert learn(["generator"], data, 6, "--accept-new-data") == 0
    assert "iteration 4: images: added a.png, b.png, z.png" in capfd.readouterr().err
    run = Run.open(data.parent / "run")
    assert len(run.metrics()) == 6
    assert "images: added" in run.metrics()[3]["events"][0]
    assert run.settings.batch_size == 7  # all images at every iteration, as before
    config = json.loads((run.path / "config.json").read_text())
    assert config["data"] == {"fingerprint": run.images().fingerprint, "num_images": 7}
    assert run.latents().shape == (7, 2)
    assert learn(["generator"], data, 6, "--accept-new-data") == 0  # nothing has changed since


def test_chains_that_images_use_in_turn_stay_when_the_images_change(
    data: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anasyn.methods.descriptor.MOST_VALUES", 0)
    monkeypatch.setattr("anasyn.methods.descriptor.FEWEST_CHAINS", 4)
    assert learn(["descriptor", "--reference=fitted", "--chains-per-image=1", "--batch-size=2"], data, 3) == 0
    before = Run.open(data.parent / "run")
    chains = before.learned().chains.state_dict()
    change(data)
    run, _ = before.accept_new_data()
    for name, tensor in run.learned().chains.state_dict().items():
        assert len(tensor) == 4  # of six images
        assert torch.equal(tensor, chains[name])
    assert learn(["descriptor", "--reference=fitted", "--chains-per-image=1", "--batch-size=2"], data, 5) == 0
