"""Distances, coverage and precision, compared with their definitions written out."""

import math

import pytest
import torch

from anasyn.data import to_float
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.evaluation import coverage, distance, evenly, mse, nearest, nearest_training, psnr


def brute_force(a, b):
    return torch.stack([((x - b) ** 2).flatten(1).mean(1) for x in a])  # (n, m)


def test_mse_is_each_images_own():
    a = torch.zeros(3, 3, 4, 4)
    b = a.clone()
    b[1] += 2
    b[2, 0] += 1  # one channel of three
    torch.testing.assert_close(mse(a, b), torch.tensor([0, 4, 1 / 3]))
    with pytest.raises(ValueError, match=r"the same shape.*\(1, 3, 4, 4\)"):
        mse(a, b[:1])  # would broadcast


def test_psnr_is_in_decibels_for_a_range_of_two():
    torch.testing.assert_close(psnr(torch.tensor([4.0, 0.04, 0.004])), torch.tensor([0.0, 20.0, 30.0]))


@pytest.mark.parametrize("chunk", [256, 3])
def test_nearest_agrees_with_brute_force_whatever_the_chunks(chunk, monkeypatch):
    monkeypatch.setattr(distance, "CHUNK", chunk)
    images = draw_cats(drawn_factors(7), 16)
    others = draw_cats(drawn_factors(11, seed=1), 16)
    table = brute_force(to_float(images), to_float(others))
    index, error = nearest(images, others)
    assert torch.equal(index, table.argmin(1))
    torch.testing.assert_close(error, table.amin(1))
    torch.testing.assert_close(coverage(images, others), table.amin(1))
    torch.testing.assert_close(nearest_training(others, images), table.amin(0))
    torch.testing.assert_close(coverage(to_float(images), others), table.amin(1))


def test_a_sample_that_repeats_an_image_is_at_distance_zero_exactly():
    images = draw_cats(drawn_factors(5), 16)
    assert (coverage(images, images.flip(0)) == 0).all()


def test_coverage_sees_the_image_that_no_sample_resembles_and_precision_does_not():
    images = draw_cats(drawn_factors(4), 16)
    collapsed = images[:1].expand(9, -1, -1, -1)
    assert (nearest_training(collapsed, images) == 0).all()
    assert (coverage(images, collapsed)[1:] > 0.005).all()


def test_no_others_is_an_error():
    images = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="at least one image"):
        coverage(images, images[:0])


def test_evenly_takes_the_first_and_the_last():
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    chosen = evenly(100_000, 257)
    assert len(chosen.unique()) == 257
    assert chosen[[0, -1]].tolist() == [0, 99_999]
    assert (chosen.diff() - math.floor(99_999 / 256)).abs().max() <= 1
