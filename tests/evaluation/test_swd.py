"""The sliced Wasserstein distance agrees with the published definition written plainly."""

import numpy as np
import pytest
import torch

from anasyn.data import to_float
from anasyn.data.drawn import draw_cats, draw_egrets, drawn_factors
from anasyn.evaluation import sliced_wasserstein, swd_levels


def reference(a, b, levels=3, n_patches=512, dirs=64, seed=0):
    """Images (n, H, W, 3) in grey levels; one patch after the other."""

    def down(x):
        k = np.array([1, 4, 6, 4, 1], float) / 16
        for ax in (1, 2):
            p = [(0, 0)] * 4
            p[ax] = (2, 2)
            y = np.pad(x, p, mode="reflect")
            x = sum(k[i] * np.take(y, range(i, i + x.shape[ax]), axis=ax) for i in range(5))
        return x[:, ::2, ::2]

    def up(x, shape):
        return x.repeat(2, 1).repeat(2, 2)[:, : shape[1], : shape[2]]

    def patches(x, rng):
        n, h, w, _ = x.shape
        out = np.empty((n_patches, 7 * 7 * 3))
        i, r, c = (rng.integers(0, most, n_patches) for most in (n, h - 6, w - 6))
        for k in range(n_patches):
            out[k] = x[i[k], r[k] : r[k] + 7, c[k] : c[k] + 7].ravel()
        return out

    a, b = np.asarray(a, float), np.asarray(b, float)
    res = []
    for lev in range(levels):
        if lev < levels - 1:
            da, db = down(a), down(b)
            la, lb = a - up(da, a.shape), b - up(db, b.shape)
        else:
            la, lb, da, db = a, b, a, b
        rng = np.random.default_rng(seed + lev)
        pa, pb = patches(la, rng), patches(lb, rng)
        mu, sd = pb.reshape(-1, 3).mean(0), pb.reshape(-1, 3).std(0) + 1e-9
        pa = ((pa.reshape(-1, 3) - mu) / sd).reshape(n_patches, -1)
        pb = ((pb.reshape(-1, 3) - mu) / sd).reshape(n_patches, -1)
        d = rng.standard_normal((pa.shape[1], dirs))
        d /= np.linalg.norm(d, axis=0)
        res.append(np.abs(np.sort(pa @ d, 0) - np.sort(pb @ d, 0)).mean() * 1e3)
        a, b = da, db
    return float(np.mean(res)), res


@pytest.mark.parametrize(("size", "levels"), [(32, 3), (31, 2), (16, 1)])
@pytest.mark.parametrize("seed", [0, 5])
def test_agrees_with_the_reference(size, levels, seed):
    cats, egrets = draw_cats(drawn_factors(5), size), draw_egrets(drawn_factors(8), size)
    mean, by_level = reference(*(x.permute(0, 2, 3, 1).numpy() for x in (cats, egrets)), levels, seed=seed)
    ours = sliced_wasserstein(cats, egrets, levels=levels, num_patches=512, num_directions=64, seed=seed)
    assert ours.mean == pytest.approx(mean, abs=1e-6)
    assert ours.levels == pytest.approx(by_level, abs=1e-6)
    floats = sliced_wasserstein(
        to_float(cats), to_float(egrets), levels=levels, num_patches=512, num_directions=64, seed=seed
    )
    assert floats.mean == pytest.approx(mean, rel=1e-5)  # grey levels once, at the border


def test_an_image_may_be_oblong():
    a, b = (torch.randint(0, 256, (3, 3, 28, 40), generator=torch.Generator().manual_seed(s)).byte() for s in (0, 1))
    mean, _ = reference(a.permute(0, 2, 3, 1).numpy(), b.permute(0, 2, 3, 1).numpy())
    assert sliced_wasserstein(a, b, num_patches=512, num_directions=64).mean == pytest.approx(mean, abs=1e-6)


def test_orders_sets_as_the_eye_does():
    factors = drawn_factors(24)
    cats = draw_cats(factors, 32)
    more = draw_cats(drawn_factors(24, seed=1), 32)
    blurred = torch.nn.functional.avg_pool2d(more.float(), 2).repeat_interleave(2, 2).repeat_interleave(2, 3).byte()
    others = (more, blurred, draw_egrets(factors, 32))
    same, blur, other = (sliced_wasserstein(x, cats, num_patches=2048, num_directions=64).mean for x in others)
    assert 2 * same < blur < other


def test_says_what_size_is_needed():
    small = torch.zeros(2, 3, 24, 40, dtype=torch.uint8)
    with pytest.raises(ValueError, match="levels: expected 1 to 2 for 24 × 40 pixels, got 3"):
        sliced_wasserstein(small, small)
    assert [swd_levels(side) for side in (6, 7, 12, 13, 24, 25, 64)] == [0, 1, 1, 2, 2, 3, 4]
