"""Learning from images that stay in their file is learning from the same images in memory."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image

from anasyn import GeneratorLearner, learn
from anasyn.data import draw_cats, drawn_factors, read_folder, reading, save_image
from anasyn.learning import tensors_of
from anasyn.learning.loading import loaded
from anasyn.models import Generator, Observed, Stored, data_set, networks, observe

NUM, SIDE = 12, 16


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANASYN_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "images"
    images.mkdir()
    for number, image in enumerate(draw_cats(drawn_factors(NUM), SIDE)):
        save_image(images / f"{number}.png", image)
    return images


def transparent(folder: Path) -> None:
    """Makes the upper half of every image transparent."""
    for file in folder.iterdir():
        image = Image.open(file).convert("RGBA")
        image.paste((0, 0, 0, 0), (0, 0, SIDE, SIDE // 2))
        image.save(file)


@pytest.mark.parametrize("hidden", [False, True], ids=["whole", "half hidden"])
def test_what_is_learned_is_the_same_to_the_last_bit(
    hidden: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hidden:
        transparent(folder)
    found = []
    for least in (2**40, 0):  # what is cached once is read from the cache
        monkeypatch.setattr(reading, "LEAST_CACHED", least)
        images = read_folder(folder, SIDE, transparent="hidden")
        training, held_out = (data_set(part) for part in images.split(3))
        assert isinstance(training, Stored) == (least == 0)
        torch.manual_seed(0)
        model = Generator(networks.deconv(2, SIDE, (8, 8)), 2, 0.3)
        learner = GeneratorLearner(model, start="principal", expansion=0.3)
        options = {"num_iterations": 7, "batch_size": 4, "held_out": held_out}
        losses = [record.loss for record in learn(learner, training, **options)]
        found.append((losses, {name: tensor.clone() for name, tensor in tensors_of(learner).items()}))
    (losses, tensors), (others, other_tensors) = found
    assert losses == others
    assert all(torch.equal(tensor, other_tensors[name]) for name, tensor in tensors.items())


def test_the_next_batch_is_read_ahead_and_none_after_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LEAST_CACHED", 0)
    images = read_folder(folder, SIDE)
    asked: list[int] = []

    def order():
        for number in range(5):
            asked.append(number)
            yield torch.tensor([number, number + 1])

    coming = loaded(data_set(images), order(), torch.device("cpu"))
    for number, (index, batch) in enumerate(islice(coming, 3)):
        assert index.tolist() == [number, number + 1]
        assert asked == list(range(number + 2))
        expected = observe(images)[index]
        assert not isinstance(batch, Observed)
        torch.testing.assert_close(batch, expected.float() / 127.5 - 1)
    assert len(list(coming)) == 2
