"""What is fuzzed: bytes in, and only `InputError` may come out. Nothing here needs the fuzzer itself."""

import json
import struct
import tempfile
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import torch

from anasyn.data import frames
from anasyn.data.decoding import MAX_PIXELS, read_image
from anasyn.errors import InputError
from anasyn.run import checkpoint

CORPUS = Path(__file__).with_name("corpus")

EXPECTED = {"model.weight": torch.zeros(2, 3), "optimizer.0.step": torch.zeros(()), "chains.started": torch.ones(2) > 0}
"""The tensors of the checkpoint that is fuzzed."""

MANIFEST, STATE, TENSORS = checkpoint.MANIFEST, checkpoint.STATE, checkpoint.TENSORS


def image(data: bytes) -> None:
    """The file of an image."""
    with tempfile.TemporaryDirectory(prefix="anasyn-fuzz-") as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(data)
        try:
            found = read_image(path)
        except InputError as error:
            said = str(error)
            assert said.startswith(f"{path}: ")
            assert said.isprintable()
        else:
            assert found.mode == "RGB"
            assert 0 < found.width * found.height <= MAX_PIXELS


def film(data: bytes) -> None:
    """The file of an animation. It may have few pixels: so many as are read otherwise take a minute."""
    fewer = patch.object(frames, "MAX_FILM_PIXELS", 10**7)
    with fewer, tempfile.TemporaryDirectory(prefix="anasyn-fuzz-") as folder:
        path = Path(folder) / "a.gif"
        path.write_bytes(data)
        try:
            found = frames.read_frames(path, 8)
        except InputError as error:
            said = str(error)
            assert said.startswith(f"{path}: ")
            assert said.isprintable()
        else:
            assert found.shape == (len(found), 3, 8, 8)
            assert len(found) >= 2


def stored(data: bytes) -> None:
    """A checkpoint: the lengths of its manifest and its state, and then its manifest, its state and its tensors.

    Where the manifest is empty it is made, so that what is behind the checksums is reached.
    """
    lengths, content = data[:4].ljust(4, b"\0"), data[4:]
    first, second = struct.unpack("<HH", lengths)
    files = {
        MANIFEST: content[:first],
        STATE: content[first : first + second],
        TENSORS: content[first + second :],
    }
    if not files[MANIFEST]:
        files[MANIFEST] = json.dumps({name: sha256(files[name]).hexdigest() for name in (TENSORS, STATE)}).encode()
    with tempfile.TemporaryDirectory(prefix="anasyn-fuzz-") as folder:
        path = Path(folder) / "00000002"
        path.mkdir()
        for name, part in files.items():
            (path / name).write_bytes(part)
        try:
            state = checkpoint.read_state(path)
            tensors = checkpoint.read_tensors(path, EXPECTED)
        except InputError as error:
            said = str(error)
            assert said.startswith(str(path))
        else:
            assert state["iteration"] == 2
            assert {name: tensor.shape for name, tensor in tensors.items()} == {
                name: tensor.shape for name, tensor in EXPECTED.items()
            }
            assert all(tensor.isfinite().all() for tensor in tensors.values())


TARGETS = {"images": image, "films": film, "checkpoints": stored}
