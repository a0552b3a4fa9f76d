"""A checkpoint is whole or not there, holds no pickle, and is refused when it is not what was written."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anasyn.errors import InputError
from anasyn.run import checkpoint

FILES = {"tensors.safetensors", "state.json", "manifest.json"}


def tensors(seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, 4, 4, generator=rng)
    return {
        "weights": image.contiguous(memory_format=torch.channels_last),
        "step": torch.tensor(7.0),
        "started": torch.tensor([True, False]),
        "expanded": torch.ones(1).expand(5),
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path / "checkpoints", 12, tensors(0), {"iteration": 12})
    assert path == checkpoint.latest(tmp_path / "checkpoints") == tmp_path / "checkpoints" / "00000012"
    assert {file.name for file in path.iterdir()} == FILES
    found, state = checkpoint.read(path)
    assert state == {"iteration": 12}
    assert found.keys() == tensors(0).keys()
    for name, tensor in tensors(0).items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_the_last_two_are_kept_in_the_order_of_iterations(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    (tmp_path / "mine.txt").write_text("mine")
    for iteration in (9, 10, 100, 100):
        checkpoint.write(tmp_path, iteration, tensors(iteration), {})
    assert {path.name for path in tmp_path.iterdir()} == {"00000010", "00000100", "mine.txt"}
    assert checkpoint.latest(tmp_path) == tmp_path / "00000100"
    assert torch.equal(checkpoint.read(tmp_path / "00000010")[0]["weights"], tensors(10)["weights"])


@pytest.mark.parametrize("stage", ["save_file", "_sha256", "os.rename"])
def test_a_write_that_fails_leaves_the_one_before(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    checkpoint.write(tmp_path, 1, tensors(1), {"iteration": 1})
    with monkeypatch.context() as patch:
        patch.setattr(f"anasyn.run.checkpoint.{stage}", fail)
        with pytest.raises(OSError, match="no space"):
            checkpoint.write(tmp_path, 2, tensors(2), {"iteration": 2})
    assert checkpoint.latest(tmp_path) == tmp_path / "00000001"
    checkpoint.read(tmp_path / "00000001")
    checkpoint.write(tmp_path, 2, tensors(2), {"iteration": 2})
    assert {path.name for path in tmp_path.iterdir()} == {"00000001", "00000002"}


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("fault", ["flipped", "cut", "empty", "gone"])
def test_damage_is_named(name: str, fault: str, tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, 3, tensors(3), {"iteration": 3})
    content = (path / name).read_bytes()
    middle = len(content) // 2
    match fault:
        case "flipped":
            (path / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        case "cut":
            (path / name).write_bytes(content[:-1])
        case "empty":
            (path / name).write_bytes(b"")
        case "gone":
            (path / name).unlink()
    with pytest.raises(InputError, match=r"00000003.*remove that checkpoint to go on from the one before"):
        checkpoint.read(path)


@pytest.mark.parametrize("content", ["[]", "null", "7", "{}", '{"state.json": 1}'])
def test_a_manifest_that_is_none_is_named(content: str, tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, 3, tensors(3), {})
    (path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="00000003"):
        checkpoint.read(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, 3, tensors(3), {})
    torch.save(tensors(3), path / "tensors.safetensors")
    digests = {name: checkpoint._sha256(path / name) for name in ("tensors.safetensors", "state.json")}
    (path / "manifest.json").write_text(json.dumps(digests))
    with pytest.raises(InputError, match="not a whole checkpoint"):
        checkpoint.read(path)
