"""Chains that start at the principal scores of their images."""

import pytest
import torch

from anasyn import GeneratorLearner, learn, mcmc
from anasyn.data.drawn import draw_cats, drawn_factors
from anasyn.learning import principal_components
from anasyn.learning import principal_scores as scores_on
from anasyn.models import Generator, Mask, Observed, networks
from anasyn.rng import streams

from ..planting import plant

CATS, OTHERS = draw_cats(drawn_factors(40), 32), draw_cats(drawn_factors(6, seed=9), 32)


def learner_of(start: str, d: int = 3) -> GeneratorLearner:
    torch.manual_seed(0)
    return GeneratorLearner(Generator(networks.deconv(d, 32, (8, 8)), d, 0.3), start=start)


def principal_scores(images, others, num: int):
    """The scores of the images, and those of others, on the images' components."""
    components = principal_components(images, num)
    return tuple(
        torch.cat([components[1].new_empty(0, len(components[2])), *scores_on(x, components)]) for x in (images, others)
    )


def test_scores_are_standardised_and_belong_to_their_images():
    """Mean 0 and covariance I; the same image has the same scores among the others, and in another order."""
    scores, others = principal_scores(CATS, CATS[:4], 3)
    torch.testing.assert_close(scores.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(scores.T.cov(correction=0), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(others, scores[:4], rtol=0, atol=1e-9)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    shuffled, _ = principal_scores(CATS[order], OTHERS, 3)
    torch.testing.assert_close(shuffled.abs(), scores[order].abs(), rtol=0, atol=1e-6)  # up to the components' signs


def test_scores_are_those_of_a_singular_value_decomposition():
    x = torch.randn(30, 7, generator=torch.Generator().manual_seed(1))
    scores, _ = principal_scores(x, x[:0], 4)
    left, _, _ = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
    torch.testing.assert_close(scores.abs(), left[:, :4].abs() * 30**0.5, rtol=1e-4, atol=1e-4)


def test_components_need_not_be_where_the_images_are() -> None:
    """As on a GPU, to which a process moves its images and not the whole data set: here to a device without values."""
    components = tuple(each.to("meta") for each in principal_components(CATS, 3))
    assert [z.shape for z in scores_on(OTHERS, components)] == [(6, 3)]
    assert all(z.is_meta for z in scores_on(OTHERS, components))


def check_masked_scores() -> None:
    """Each image's are the least squares fit, with a ridge of 0.1, to what is seen of it: some share a mask."""
    rng = torch.Generator().manual_seed(2)
    x, masks = torch.randn(12, 1, 4, 4, generator=rng), torch.rand(5, 1, 4, 4, generator=rng) < 0.7
    masks = masks[torch.tensor([0, 1, 0, 2, 3, 1, 1, 4, 0, 2, 2, 3])]
    images = Observed(x * masks, Mask(masks))
    mean, basis, scale = principal_components(images, 3)
    for image, mask, found in zip(x, masks, torch.cat(list(scores_on(images, (mean, basis, scale)))), strict=True):
        seen = mask.flatten()
        v, y = basis[seen], (image.flatten().double() - mean)[seen]
        torch.testing.assert_close(found, torch.linalg.solve(v.T @ v + 0.1 * torch.eye(3), v.T @ y) / scale)


def test_scores_of_what_is_seen_are_those_of_a_least_squares_fit():
    check_masked_scores()


def test_planted_the_mask_of_another_image_is_caught(monkeypatch):
    plant(monkeypatch, "anasyn.learning.principal:_fit", {"factors[which]": "factors[which - 1]"})
    with pytest.raises(AssertionError):
        check_masked_scores()


def test_there_are_no_more_scores_than_directions():
    assert principal_scores(CATS[:3], OTHERS, 8)[0].shape == (3, 2)
    assert principal_scores(CATS[:1].repeat(2, 1, 1, 1), OTHERS, 8)[0].shape == (2, 0)  # images that do not differ


@pytest.mark.parametrize("d", [2, 60])
def test_chains_start_there_and_elsewhere_at_draws_from_the_prior(d):
    learner = learner_of("principal", d)
    scores, others = principal_scores(CATS, OTHERS, d)
    k = scores.shape[1]
    learner.begin(torch.zeros(1, 3, 32, 32), 40, 6, rng=torch.Generator().manual_seed(0))
    drawn = learner.chains.positions.clone()
    learner.prepare(CATS, OTHERS, whole=CATS)
    torch.testing.assert_close(learner.chains.positions[:, :k], scores.float())
    torch.testing.assert_close(learner.held_out.positions[:, :k], others.float())
    assert torch.equal(learner.chains.positions[:, k:], drawn[:, k:])


@pytest.mark.parametrize("d", [2, 60])
def test_what_the_scores_replace_is_not_drawn(d, monkeypatch):
    """Where each image has a stream; the coordinates beyond the scores are the draws that there are without scores."""

    def begun() -> GeneratorLearner:
        learner = learner_of("principal", d)
        learner.begin(torch.zeros(1, 3, 32, 32), 40, 6, rng=streams(0, "chains", 0, torch.arange(46)))
        return learner

    without, learner = begun(), begun()
    drawn = [chains.positions.clone() for chains in (without.chains, without.held_out)]
    if d == 2:
        monkeypatch.setattr(mcmc.chains, "standard_normal", None)
    learner.prepare(CATS, OTHERS, whole=CATS)
    for chains, before, scores in zip(
        (learner.chains, learner.held_out), drawn, principal_scores(CATS, OTHERS, d), strict=True
    ):
        k = scores.shape[1]
        torch.testing.assert_close(chains.positions[:, :k], scores.float())
        assert torch.equal(chains.positions[:, k:], before[:, k:])


def test_learning_begins_there_once():
    """Also through `learn`; an interrupted learner does not return there."""

    def linear_far_out(start: str) -> GeneratorLearner:
        """Without the layers that squash z, in whose ball it moves further."""
        learner = learner_of(start)
        learner.model.network = learner.model.network[2:]
        return learner

    learner = linear_far_out("principal")
    list(learn(learner, CATS, num_iterations=2, seed=1))
    moved = learner.chains.positions.clone()
    list(learn(learner, CATS, num_iterations=2, seed=1))
    assert torch.equal(learner.chains.positions, moved)
    first = principal_scores(CATS, CATS[:0], 3)[0].float()
    assert (moved - first).abs().max() < 1  # two iterations away
    prior = linear_far_out("prior")
    list(learn(prior, CATS, num_iterations=2, seed=1))
    assert (prior.chains.positions - first).abs().max() > 1
