"""A checkpoint is whole or not there, holds no pickle, and is refused when it is not what was written or expected."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anasyn.errors import InputError
from anasyn.learning import Divergence
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
        "double": torch.randn(3, generator=rng, dtype=torch.float64),
        "count": torch.arange(4),
        "none": torch.empty(0, 2),
    }


def written(folder: Path, iteration: int = 3, seed: int = 3) -> Path:
    return checkpoint.write(folder, iteration, tensors(seed), {"iteration": iteration})


def sign(path: Path) -> None:
    """Makes the manifest fit what the files hold now, as whoever forges a checkpoint would."""
    digests = {name: checkpoint._sha256(path / name) for name in ("tensors.safetensors", "state.json")}
    (path / "manifest.json").write_text(json.dumps(digests))


# ---- writing


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state = {"iteration": 12, "names": ["zoë <b>.png"], "factor": 0.1, "calm": True}
    path = checkpoint.write(tmp_path / "checkpoints", 12, tensors(0), state)
    assert path == tmp_path / "checkpoints" / "00000012"
    assert checkpoint.newest_first(tmp_path / "checkpoints") == [path]
    assert {file.name for file in path.iterdir()} == FILES
    assert checkpoint.read_state(path) == state
    found = checkpoint.read_tensors(path, {name: torch.zeros_like(tensor) for name, tensor in tensors(0).items()})
    assert found.keys() == tensors(0).keys()
    for name, tensor in tensors(0).items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_the_last_two_are_kept_in_the_order_of_iterations(tmp_path: Path) -> None:
    assert checkpoint.newest_first(tmp_path / "none") == []
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "77").write_text("a file is no checkpoint")
    for iteration in (9, 10, 100, 100):
        written(tmp_path, iteration, seed=iteration)
    assert {path.name for path in tmp_path.iterdir()} == {"00000010", "00000100", "mine.txt", "77"}
    assert checkpoint.newest_first(tmp_path) == [tmp_path / "00000100", tmp_path / "00000010"]
    assert torch.equal(checkpoint.read_tensors(tmp_path / "00000010", tensors(0))["weights"], tensors(10)["weights"])


def test_later_checkpoints_and_what_was_left_half_written_go_with_the_next_write(tmp_path: Path) -> None:
    """Those of later iterations were refused, or the run has been taken back: none may be read after this one."""
    for iteration in (20, 30):
        written(tmp_path, iteration)
    for left_behind in ("00000031.partial", "00000010.partial"):
        (tmp_path / left_behind).mkdir()
        (tmp_path / left_behind / "tensors.safetensors").write_bytes(b"half")
    (tmp_path / "mine.part").mkdir()
    written(tmp_path, 25)
    assert {path.name for path in tmp_path.iterdir()} == {"00000020", "00000025", "mine.part"}
    written(tmp_path, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"00000000", "mine.part"}
    checkpoint.read_tensors(tmp_path / "00000000", tensors(0))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("name", ["weights", "step", "double"])
def test_what_is_not_finite_is_not_written(name: str, value: float, tmp_path: Path) -> None:
    before = written(tmp_path, 1)
    broken = tensors(2)
    broken[name] = broken[name].clone()
    broken[name][(-1,) * broken[name].dim()] = value
    with pytest.raises(Divergence, match=f"^{name} is not finite"):
        checkpoint.write(tmp_path, 2, broken, {"iteration": 2})
    assert list(tmp_path.iterdir()) == [before]
    with pytest.raises(Divergence, match=name):
        checkpoint.write(tmp_path / "none", 2, broken, {"iteration": 2})
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("stage", ["save_file", "_sha256", "flush", "os.rename"])
def test_a_write_that_fails_leaves_the_one_before(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    written(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(f"anasyn.run.checkpoint.{stage}", fail)
        with pytest.raises(OSError, match="no space"):
            written(tmp_path, 2)
    assert checkpoint.newest_first(tmp_path) == [tmp_path / "00000001"]
    checkpoint.read_state(tmp_path / "00000001")
    checkpoint.read_tensors(tmp_path / "00000001", tensors(0))
    written(tmp_path, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"00000001", "00000002"}


def test_a_file_of_tensors_that_cannot_be_written_is_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors has an exception of its own for it."""

    def fail(*_: object) -> None:
        raise checkpoint.SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match=r"00000003\.partial/tensors\.safetensors: No space left"):
        written(tmp_path)
    assert checkpoint.newest_first(tmp_path) == []


# ---- reading: the files


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("fault", ["flipped", "cut", "longer", "empty", "gone"])
def test_damage_is_named(name: str, fault: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    content = (path / name).read_bytes()
    middle = len(content) // 2
    match fault:
        case "flipped":
            (path / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        case "cut":
            (path / name).write_bytes(content[:-1])
        case "longer":
            (path / name).write_bytes(content + b"\0")
        case "empty":
            (path / name).write_bytes(b"")
        case "gone":
            (path / name).unlink()
    with pytest.raises(InputError, match=r"00000003.*(not a complete checkpoint|its SHA-256 is not the manifest's)"):
        checkpoint.read_state(path)


@pytest.mark.parametrize(
    "content",
    ["[]", "null", "7", '"x"', "{}", '{"state.json": 1}', "\xff\xfe", "[" * 2000, '{"a":' * 600, "9" * 4090],
    ids=lambda content: content[:16],
)
def test_a_manifest_that_is_none_is_named(content: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    (path / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"00000003: not a complete checkpoint"):
        checkpoint.read_state(path)


def test_a_manifest_out_of_proportion_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    (path / "manifest.json").write_text("{" + " " * 2**22 + "}")
    with pytest.raises(InputError, match=r"manifest\.json: 4194306 bytes, at most 4194304 are read"):
        checkpoint.read_state(path)


def test_a_state_out_of_proportion_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"state\.json: 16 bytes, at most 10 are read"):
        checkpoint._json(written(tmp_path) / "state.json", 10)


@pytest.mark.parametrize("iteration", [4, 2, -3, 3.5, None, "3", [3], {}], ids=str)
def test_the_state_of_another_iteration_is_named(iteration: object, tmp_path: Path) -> None:
    path = written(tmp_path)
    (path / "state.json").write_text(json.dumps({"iteration": iteration}))
    sign(path)
    with pytest.raises(InputError, match=r"00000003/state\.json: of iteration .+, expected 3"):
        checkpoint.read_state(path)


@pytest.mark.parametrize(
    "content",
    [b"[]", b"null", b"7", b"{}", b"", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000],
    ids=lambda content: repr(content[:12]),
)
def test_a_state_that_is_none_is_named(content: bytes, tmp_path: Path) -> None:
    """Also one nested deeper than a reader's stack."""
    path = written(tmp_path)
    (path / "state.json").write_bytes(content)
    sign(path)
    with pytest.raises(InputError, match=r"00000003: not a complete checkpoint"):
        checkpoint.read_state(path)


# ---- reading: the tensors


def missing(found: dict[str, Tensor]) -> None:
    del found["weights"]


def extra(found: dict[str, Tensor]) -> None:
    found["another"] = torch.zeros(1)


def renamed(found: dict[str, Tensor]) -> None:
    found["weight"] = found.pop("weights")


def longer(found: dict[str, Tensor]) -> None:
    found["double"] = torch.zeros(4, dtype=torch.float64)


def flat(found: dict[str, Tensor]) -> None:
    found["weights"] = found["weights"].flatten()


def transposed(found: dict[str, Tensor]) -> None:
    found["weights"] = found["weights"].transpose(0, 1)


def a_vector(found: dict[str, Tensor]) -> None:
    found["step"] = found["step"].view(1)


def double(found: dict[str, Tensor]) -> None:
    found["weights"] = found["weights"].double()


def half(found: dict[str, Tensor]) -> None:
    found["weights"] = found["weights"].half()


def integers(found: dict[str, Tensor]) -> None:
    found["weights"] = found["weights"].int()


def floats(found: dict[str, Tensor]) -> None:
    found["started"] = found["started"].float()


def not_a_number(found: dict[str, Tensor]) -> None:
    found["weights"].view(-1)[-1] = math.nan


def infinite(found: dict[str, Tensor]) -> None:
    found["double"][0] = -math.inf


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (missing, "tensor weights is missing"),
        (extra, "tensor another does not belong to this run"),
        (renamed, r"tensor weights? (is missing|does not belong to this run)"),
        (longer, r"tensor double: expected F64 of shape \[3\], got F64 of shape \[4\]"),
        (flat, r"tensor weights: expected F32 of shape \[2, 3, 4, 4\], got F32 of shape \[96\]"),
        (transposed, r"tensor weights: expected F32 of shape \[2, 3, 4, 4\], got F32 of shape \[3, 2, 4, 4\]"),
        (a_vector, r"tensor step: expected F32 of shape \[\], got F32 of shape \[1\]"),
        (double, r"tensor weights: expected F32 of shape \[2, 3, 4, 4\], got F64 of shape \[2, 3, 4, 4\]"),
        (half, r"tensor weights: expected F32 of shape .+, got F16"),
        (integers, r"tensor weights: expected F32 of shape .+, got I32"),
        (floats, r"tensor started: expected BOOL of shape \[2\], got F32 of shape \[2\]"),
        (not_a_number, "tensor weights is not finite"),
        (infinite, "tensor double is not finite"),
    ],
)
def test_tensors_that_are_not_those_expected_are_named(
    forge: Callable[[dict[str, Tensor]], None], words: str, tmp_path: Path
) -> None:
    """Their digest fits: only what they hold is wrong."""
    path = written(tmp_path)
    found = {name: tensor.clone().contiguous() for name, tensor in tensors(3).items()}
    forge(found)
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, path / "tensors.safetensors")
    sign(path)
    checkpoint.read_state(path)
    with pytest.raises(InputError, match=rf"00000003/tensors\.safetensors: {words}"):
        checkpoint.read_tensors(path, tensors(3))


def test_a_header_out_of_proportion_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    file = path / "tensors.safetensors"
    content = file.read_bytes()
    for header in (10_000, 2**40, 2**64 - 1):
        file.write_bytes(struct.pack("<Q", header) + content[8:])
        with pytest.raises(InputError, match=rf"tensors\.safetensors: a header of {header} bytes, at most \d+ are"):
            checkpoint.read_tensors(path, tensors(3))
    padded = content[8:].split(b"}}")[0] + b"}}" + b" " * 10_000  # one that safetensors itself would read
    file.write_bytes(struct.pack("<Q", len(padded)) + padded)
    with pytest.raises(InputError, match=r"a header of 10\d+ bytes"):
        checkpoint.read_tensors(path, tensors(3))


def test_a_file_out_of_proportion_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    save_file({"weights": torch.zeros(1_000_000)}, path / "tensors.safetensors")
    with pytest.raises(InputError, match=r"tensors\.safetensors: 4000\d+ bytes, where tensors of \d+ are expected"):
        checkpoint.read_tensors(path, tensors(3))


def test_many_small_tensors_are_in_proportion(tmp_path: Path) -> None:
    """A header is longer than what it describes."""
    many = {f"optimizer.network.{k}.{'a' * 100}.step": torch.tensor(float(k)) for k in range(300)}
    path = checkpoint.write(tmp_path, 3, many, {"iteration": 3})
    assert checkpoint.read_tensors(path, many) == many


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"\x08" + b"\0" * 7 + b"{}", b"\x02" + b"\0" * 7 + b"[]"], ids=repr
)
def test_a_file_that_holds_no_tensors_is_named(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path)
    (path / "tensors.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"tensors\.safetensors: not a file of tensors"):
        checkpoint.read_tensors(path, tensors(3))
    (path / "tensors.safetensors").unlink()
    with pytest.raises(InputError, match=r"tensors\.safetensors: not a file of tensors"):
        checkpoint.read_tensors(path, tensors(3))


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = written(tmp_path)
    torch.save(tensors(3), path / "tensors.safetensors")
    sign(path)
    with pytest.raises(InputError, match=r"tensors\.safetensors: (not a file of tensors|a header of \d+ bytes)"):
        checkpoint.read_tensors(path, tensors(3))
