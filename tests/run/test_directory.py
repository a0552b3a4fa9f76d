"""The run directory: every file of the contract, with its content."""

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import anasyn
from anasyn.cli import main
from anasyn.data import read_folder
from anasyn.errors import InputError
from anasyn.learning import Divergence, Record, shared_tensors, tensors_of
from anasyn.methods import GeneratorSettings
from anasyn.methods.build import build_learner
from anasyn.methods.generator import GENERATOR
from anasyn.recipes import RECIPES
from anasyn.run import Run, advance, checkpoint, metrics
from anasyn.run.removal import remove

SMALL = [
    "--size",
    "16",
    "--width",
    "16",
    "--num-steps",
    "2",
    "--iterations",
    "4",
    "--precision",
    "float32",
    "--seed",
    "3",
    "--quiet",
]
FIGURES = {
    "generator": {
        "training.png", "loss.png", "reconstructions.png", "samples.png", "interpolation.png", "latents.png",
    },
    "descriptor": {"training.png", "loss.png", "synthesis.png", "chains.png"},
    "cooperative": {
        "training.png", "loss.png", "reconstructions.png", "samples.png", "interpolation.png", "latents.png",
        "chains.png", "revisions.png",
    },
}  # fmt: skip
MEASURES = {
    "generator": {"mse", "z_mean_square", "z_max"},
    "descriptor": {"energy_gap", "pixel_max"},
    "cooperative": {
        "energy_gap", "pixel_max", "revision", "generator_mse", "z_mean_square", "recall_acceptance_rate",
    },
}  # fmt: skip
MODELS = ["generator", "descriptor", "cooperative"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "cats"
    main(["data", "draw", "drawn-cats", str(folder), "--num", "5", "--size", "16"])
    (folder / "drawn-cats-00001.png").rename(folder / "zoë <b>.png")
    return folder


@pytest.fixture(scope="module", params=MODELS)
def run(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / request.param
    assert main(["learn", request.param, "--data", str(data), "--out", str(path), *SMALL]) == 0
    return Run.open(path)


def test_the_files_are_those_of_the_contract(run: Run) -> None:
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    expected = {"config.json", "data.json", "metrics.jsonl", "report.html"}
    files_of_checkpoint = ("tensors.safetensors", "images-000-00000.safetensors", "state.json", "manifest.json")
    expected |= {f"checkpoints/00000004/{name}" for name in files_of_checkpoint}
    expected |= {f"figures/{name}" for name in FIGURES[run.name]}
    if run.method.infer:
        expected.add("latents.safetensors")
    assert files == expected
    assert run.method.name == run.name


def test_config_says_all_that_the_run_follows_from(run: Run, data: Path) -> None:
    config = json.loads((run.path / "config.json").read_text())
    assert set(config) == {"recipe", "settings", "data", "versions"}
    assert config["recipe"] == run.name
    assert list(config["settings"]) == [field.name for field in dataclasses.fields(RECIPES[run.name].settings)]
    assert None not in config["settings"].values()
    assert config["settings"] | {"size": 16, "width": 16, "num_steps": 2, "iterations": 4} == config["settings"]
    assert config["settings"]["seed"] == 3
    assert config["settings"]["batch_size"] == 5
    assert config["settings"]["precision"] == "float32"
    assert config["settings"]["data"] == str(data)
    assert config["data"] == {"fingerprint": read_folder(data, 16).fingerprint, "num_images": 5}
    assert config["versions"]["anasyn"] == anasyn.__version__
    assert config["versions"]["python"] == platform.python_version()
    assert config["versions"]["torch"] == torch.__version__
    assert run.settings == type(RECIPES[run.name].settings)(**config["settings"])


def test_metrics_have_a_line_an_iteration(run: Run) -> None:
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4]
    fields = {"iteration", "loss", "seconds", "acceptance_rate", "step_size", "gradient_norm", "divergent"}
    for line in lines:
        assert set(line) - {"events"} == fields | MEASURES[run.name]
        assert line["seconds"] > 0
        assert 0 <= line["acceptance_rate"] <= 1
        assert line["step_size"] > 0
        assert line["gradient_norm"] > 0
    assert len({line["loss"] for line in lines}) == 4
    sigma, pixels = 0.3, 3 * 16 * 16
    for line in lines:  # the parts of those models that have them
        error = line.get("mse", line.get("generator_mse", 0.0))
        expected = error * pixels / (2 * sigma**2) - line.get("energy_gap", 0.0)
        assert line["loss"] == pytest.approx(expected, rel=1e-4)
    assert run.metrics() == lines
    assert run.metrics(upto=2) == lines[:2]


def test_the_checkpoint_holds_weights_optimiser_and_chains(run: Run) -> None:
    folder = run.path / "checkpoints" / "00000004"
    tensors = load_file(folder / "tensors.safetensors")
    state = json.loads((folder / "state.json").read_text())
    config = json.loads((run.path / "config.json").read_text())
    assert set(state) == {"iteration", "guard", "recipe", "settings", "data", "versions"}
    assert state["iteration"] == 4
    digests = json.loads((run.path / "data.json").read_text())["digests"]
    assert state["data"] == hashlib.sha256("".join([*digests, "and held out"]).encode()).hexdigest()
    rows = load_file(folder / "images-000-00000.safetensors")
    assert rows["images.place"].tolist() == list(range(len(digests)))
    assert [bytes(digest).hex() for digest in rows["images.digest"].numpy()] == digests
    assert {name: state[name] for name in ("recipe", "settings", "versions")} == {
        name: config[name] for name in ("recipe", "settings", "versions")
    }
    learner, guard = run.resume()
    assert learner.iteration == 4
    assert guard.active
    assert guard.state_dict() == state["guard"]
    assert state["guard"] | {"rate_factor": 1.0, "rollbacks": 0, "good_iteration": 0} == state["guard"]
    weights = dict(learner.model.named_parameters())
    for name, weight in weights.items():
        assert torch.equal(tensors[f"model.{name}"], weight)
    learned = {name: weight for name, weight in weights.items() if weight.requires_grad}
    for name, weight in learned.items():
        kept = learner.optimizer.state[weight]
        assert set(kept) == {"exp_avg", "exp_avg_sq", "step"}
        assert kept["step"] == 4
        for slot, tensor in kept.items():
            assert torch.equal(tensors[f"optimizer.{name}.{slot}"], tensor)
            assert tensor.any()
    assert len([name for name in tensors if name.startswith("optimizer.")]) == 3 * len(learned)
    chains = {f"chains.{name}" for name in learner.chains.state_dict()}
    assert {"chains.step_sizes", *(["chains.positions"] if run.method.infer else [])} <= chains
    assert chains == {name.removeprefix("images.") for name in rows if name.startswith("images.chains.")}
    for name, tensor in learner.chains.state_dict().items():
        assert torch.equal(rows[f"images.chains.{name}"], tensor)
    for kind in ("images.", "held_out."):
        belong = [name for name in rows if name.startswith(kind) and name not in (f"{kind}place", f"{kind}digest")]
        tensors |= {name.removeprefix(kind): rows[name] for name in belong}
    fresh = build_learner(run.method, run.settings, torch.device("cpu"))
    # The guard's last good state is that before the first iteration: all of it, the optimiser's at zero.
    good = {name.removeprefix("good."): tensor for name, tensor in tensors.items() if name.startswith("good.")}
    assert {name for name in tensors if not name.startswith("good.")} == good.keys() == guard.good.keys()
    assert all(torch.equal(guard.good[name], tensor) for name, tensor in good.items())
    assert not any(tensor.any() for name, tensor in good.items() if name.startswith("optimizer."))
    for name, weight in fresh.model.named_parameters():
        assert torch.equal(good[f"model.{name}"], weight)
    for name, weight in learned.items():
        assert not torch.equal(weight, good[f"model.{name}"])
    for name, buffer in learner.model.state_dict().items():
        assert buffer.stride() == fresh.model.state_dict()[name].stride()  # channels-last as before


def test_latents_are_the_chains_in_the_images_order(run: Run, data: Path) -> None:
    if not run.method.infer:
        assert not (run.path / "latents.safetensors").exists()
        return
    with safe_open(run.path / "latents.safetensors", "pt") as file:
        assert list(file.keys()) == ["z"]
        z, names = file.get_tensor("z"), json.loads(file.metadata()["names"])
    assert z.shape == (5, 2)
    assert torch.equal(z, run.latents_of(run.learned()).z)
    assert torch.equal(z, run.latents())
    assert names == list(read_folder(data, 16).names) == run.data().names
    assert names[-1] == "zoë <b>.png"


def test_figures_are_pictures(run: Run) -> None:
    for name in FIGURES[run.name]:
        with PIL.Image.open(run.path / "figures" / name) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
            low, high = zip(*image.convert("RGB").getextrema(), strict=True)
            assert max(high) - min(low) > 50


def begun(tmp_path: Path, data: Path, **settings: object) -> Run:
    images = read_folder(data, 16)
    recipe = GeneratorSettings(
        data=str(data), size=16, channels="3", num_steps=2, width=8, batch_size=5, iterations=3, precision="float32",
        latent_dim=2, sigma=0.3, hold_out=0.0, step_size=0.03, **settings,
    )  # fmt: skip
    return Run.create(tmp_path / "run", "generator", recipe, images)


def test_a_run_begins_in_a_new_or_empty_directory(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = begun(tmp_path, data)
    assert Run.open(run.path) == run
    with pytest.raises(InputError, match="exists and is no run of anasyn"):
        begun(tmp_path, data)


def test_whoever_stops_reading_stops_the_run_saved(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data)
    learner, guard = run.resume()
    records = advance(run, learner, guard, run.images())
    assert next(records).iteration == 1
    assert not list(run.path.glob("checkpoints/*"))
    records.close()
    assert [path.name for path in run.path.glob("checkpoints/*")] == ["00000001"]
    assert [record.iteration for record in advance(run, *run.resume(), run.images())] == [2, 3]
    assert [line["iteration"] for line in run.metrics()] == [1, 2, 3]


def test_a_guard_goes_on_as_it_stood(data: Path, tmp_path: Path) -> None:
    """Its course, its counts and its last good state are those of the sitting before."""
    run = begun(tmp_path, data)
    learner, guard = run.resume()
    records = advance(run, learner, guard, run.images())
    next(records)
    guard.rollbacks, guard.rate_factor, guard.one_signed = 3, 0.25, -7
    records.close()
    _, again = run.resume()
    assert again.state_dict() == guard.state_dict()
    assert (again.rollbacks, again.rate_factor, again.one_signed, again.active) == (3, 0.25, -7, True)
    assert again.good.keys() == guard.good.keys()
    assert all(torch.equal(again.good[name], tensor) for name, tensor in guard.good.items())


def test_a_run_without_a_guard_keeps_no_good_state(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data, guard="off")
    learner, guard = run.resume()
    assert not guard.active
    assert [record.iteration for record in advance(run, learner, guard, run.images())] == [1, 2, 3]
    names = load_file(run.path / "checkpoints" / "00000003" / "tensors.safetensors").keys()
    assert names == shared_tensors(learner).keys()
    again, guard = run.resume()
    assert (again.iteration, guard.active, guard.good) == (3, False, {})


def test_a_run_that_diverges_is_saved_as_it_was_good_and_ends_with_the_cause(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data)
    learner, guard = run.resume()
    forward = learner.model.forward

    def broken(z: torch.Tensor) -> torch.Tensor:
        """Not a number in learning, from the third iteration on."""
        learning = any(weight.requires_grad for weight in learner.model.parameters())
        broken.calls += learning
        return forward(z) * (math.nan if learning and broken.calls > 2 else 1)

    broken.calls = 0
    learner.model.forward = broken
    with pytest.raises(Divergence, match=r"^iteration 1 diverged: loss = nan.*8 rollbacks did not help") as trouble:
        list(advance(run, learner, guard, run.images()))
    assert [path.name for path in run.path.glob("checkpoints/*")] == ["00000000"]
    again, guard = run.resume()
    assert again.iteration == learner.iteration == 0
    assert guard.rollbacks == 8
    for name, tensor in tensors_of(again).items():
        assert torch.equal(tensor, tensors_of(learner)[name])
        assert tensor.isfinite().all()
    *rollbacks, end = run.metrics()[-1]["events"]
    assert end == str(trouble.value)
    assert ["rolled back from iteration" in event for event in rollbacks] == [True] * 8
    assert [line["iteration"] for line in run.metrics()] == [1]  # those that were taken back are gone


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = begun(tmp_path, data)
    monkeypatch.setattr("anasyn.run.session.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    monkeypatch.setattr("anasyn.run.session.SHARE", math.inf)
    for _ in advance(run, *run.resume(), run.images()):
        pass
    assert run.learned().iteration == 3
    assert caplog.messages == []
    (run.path / "checkpoints" / "00000003" / "tensors.safetensors").write_bytes(b"")
    assert run.learned().iteration == 2
    (message,) = caplog.messages
    assert message.startswith(f"{run.path / 'checkpoints' / '00000003' / 'tensors.safetensors'}: damaged")
    assert message.endswith("; going on from iteration 2")
    assert caplog.records[0].name.startswith("anasyn.")
    (run.path / "checkpoints" / "00000002" / "state.json").unlink()
    with pytest.raises(InputError, match=r"00000003/.* no checkpoint here is intact: .* --overwrite"):
        run.resume()


def test_other_versions_are_told(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = begun(tmp_path, data)
    for _ in advance(run, *run.resume(), run.images()):
        pass
    state = run.path / "checkpoints" / "00000003" / "state.json"
    content = json.loads(state.read_text())
    content["versions"]["torch"] = "1.0"
    state.write_text(json.dumps(content))
    manifest = json.loads(state.with_name("manifest.json").read_text())
    manifest["state.json"] = checkpoint._sha256(state)
    state.with_name("manifest.json").write_text(json.dumps(manifest))
    assert run.learned().iteration == 3
    (message,) = caplog.messages
    assert str(run.path) in message
    assert "other versions" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("guard"), "guard"),
        (lambda state: state.pop("data"), "data"),
        (lambda state: state.update(data={}), "identity"),
        (lambda state: state["guard"].pop("healthy"), "healthy"),
        (lambda state: state["guard"].update(rollbacks="8"), "rollbacks"),
        (lambda state: state["guard"].update(wings=2), "wings"),
        (lambda state: state.update(guard=[]), "list"),
        (lambda state: state.update(data=3), "identity"),
    ],
)
def test_a_state_that_is_none_of_a_run_is_named(
    change: Callable[[dict], object], words: str, data: Path, tmp_path: Path
) -> None:
    """Its digest fits: only what it says is wrong."""
    run = begun(tmp_path, data)
    for _ in advance(run, *run.resume(), run.images()):
        pass
    state = run.path / "checkpoints" / "00000003" / "state.json"
    content = json.loads(state.read_text())
    change(content)
    state.write_text(json.dumps(content))
    manifest = json.loads(state.with_name("manifest.json").read_text())
    manifest["state.json"] = checkpoint._sha256(state)
    state.with_name("manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"00000003.*{words}"):
        run.resume()


def test_checkpoints_are_written_on_the_way(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(tmp_path, data)
    monkeypatch.setattr("anasyn.run.session.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    monkeypatch.setattr("anasyn.run.session.SHARE", math.inf)
    for record in advance(run, *run.resume(), run.images()):
        assert (run.path / "checkpoints" / f"{record.iteration:08d}").is_dir()
    assert len(list(run.path.glob("checkpoints/*"))) == 2


def test_metrics_are_taken_back_to_where_a_run_goes_on(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data)
    assert run.metrics() == []
    for iteration in (1, 2, 3):
        metrics.append(
            run.path / "metrics.jsonl",
            Record(0.1 * iteration, 0.5, 0.03, {"mse": 1 / 3}, iteration, events=("told",) * (iteration == 2)),
        )
    assert [line.get("events") for line in run.metrics()] == [None, ["told"], None]
    whole = (run.path / "metrics.jsonl").read_bytes()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 4, "loss": 0.')
    metrics.rewind(run.path / "metrics.jsonl", 3)
    assert (run.path / "metrics.jsonl").read_bytes() == whole
    metrics.rewind(run.path / "metrics.jsonl", 1)
    assert (run.path / "metrics.jsonl").read_bytes() == whole.splitlines(keepends=True)[0]


def test_metrics_that_a_rollback_makes_untrue_go(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data)
    for iteration in (1, 2, 3):
        metrics.append(run.path / "metrics.jsonl", Record(0.1, 0.5, 0.03, {}, iteration))
    record = Record(0.7, 0.5, 0.03, {}, 2, events=("rolled back",), rolled_back=True)
    metrics.append(run.path / "metrics.jsonl", record)
    metrics.append(run.path / "metrics.jsonl", Record(0.8, 0.5, 0.03, {}, 3))
    assert [(line["iteration"], line["loss"]) for line in run.metrics()] == [(1, 0.1), (2, 0.7), (3, 0.8)]
    assert run.metrics()[1]["events"] == ["rolled back"]


def test_removing_a_run_leaves_the_rest(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data)
    for _ in advance(run, *run.resume(), run.images()):
        pass
    run.save_evaluation(4, {})
    (run.path / "figures").mkdir()
    for figure in {"long_run.png", "classes.png"}.union(*FIGURES.values()):
        (run.path / "figures" / figure).write_text("drawn")
    (run.path / "checkpoints" / "00000009.partial").mkdir()
    remove(run.path)
    assert list(run.path.iterdir()) == []
    for foreign in ("samples", "checkpoints", "figures"):
        (run.path / foreign).mkdir()
        (run.path / foreign / "mine.png").write_text("mine")
    remove(run.path)
    assert {path.parent.name for path in run.path.rglob("mine.png")} == {"samples", "checkpoints", "figures"}


def test_the_device_and_the_iterations_may_change(data: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, data)
    asked = GeneratorSettings(data=str(data), size=16, num_steps=2, width=8)
    before = (run.path / "config.json").stat()
    same = run.with_settings(asked, "generator")
    same.configure()
    assert same == run
    assert (run.path / "config.json").stat() == before  # not even written again
    settled = run.with_settings(dataclasses.replace(asked, iterations=9, device="cpu"), "generator")
    assert (settled.settings.iterations, settled.settings.device) == (9, "cpu")
    settled.configure()
    assert Run.open(run.path) == settled
    with pytest.raises(InputError, match=r"^width: .* was begun with 8, got 32; only iterations may change"):
        run.with_settings(dataclasses.replace(asked, width=32), "generator")


def test_the_same_seed_gives_the_same_first_weights_and_leaves_torch_s_own_alone(data: Path, tmp_path: Path) -> None:
    recipe = begun(tmp_path, data).settings
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first, second = (build_learner(GENERATOR, recipe, torch.device("cpu")).model for _ in range(2))
    other = build_learner(GENERATOR, dataclasses.replace(recipe, seed=1), torch.device("cpu")).model
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.abs().sum() == 0 or not a.requires_grad or not torch.equal(a, c)
