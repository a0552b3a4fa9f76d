"""Parameter expansion: f(z_i) stays the same, and learning goes on in the new coordinates."""

import pytest
import torch
from torch import Tensor, nn

from anasyn import GeneratorLearner, LatentPriorLearner, learn, mcmc
from anasyn.learning import expand, expandable_layer, prime, shrunk_moments
from anasyn.models import Generator, LatentPrior, networks

from ..planting import plant

FLOAT = torch.float64


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chains_at(z: Tensor) -> mcmc.WarmChains:
    chains = mcmc.WarmChains(z.shape[1])
    chains.allocate(len(z), 0.1, like=z, rng=rng())
    chains.positions = z.clone()
    return chains


def stretched(n: int = 400, d: int = 3, dtype: torch.dtype = FLOAT) -> Tensor:
    """Latent vectors that do not fit N(0, I): correlated, of different scales, off the origin."""
    mixing = torch.tensor([[0.7, 0, 0], [0.3, 0.4, 0], [0, 0.1, 1.5]], dtype=dtype)[:d, :d]
    return torch.randn(n, d, generator=rng(1), dtype=dtype) @ mixing.T + 0.5


def linear_layer(d: int = 3, dtype: torch.dtype = FLOAT) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(d, 5, dtype=dtype)


def check_unchanged(strength: float, dtype: torch.dtype = FLOAT, d: int = 3) -> None:
    """f(z_i) of every chain, also of the held-out ones, is the same before and after; d is a multiple of 3."""
    torch.manual_seed(0)
    network = networks.deconv(d, 16, (32, 16)).to(dtype)
    z = stretched(400 * d // 3, dtype=dtype).reshape(400, d)
    chains, others = chains_at(z), chains_at(2 * z[:50])
    optimizer = torch.optim.Adam(network.parameters())
    prime(optimizer)
    layer = expandable_layer(network, d)
    assert layer is not None
    before = [network(each.positions) for each in (chains, others)]
    start = chains.positions.clone()
    expand([layer], optimizer, chains, [others], strength=strength)
    assert (chains.positions - start).abs().max() > 0.01  # something has happened
    for each, images in zip((chains, others), before, strict=True):
        torch.testing.assert_close(network(each.positions), images, rtol=0, atol=1e-6 if dtype == FLOAT else 5e-6)


def check_whitened() -> None:
    """The whole way takes many z to mean 0 and covariance I, whatever they were."""
    chains = chains_at(stretched(4000))
    layer = linear_layer()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    expand([layer], optimizer, chains, strength=1.0)
    torch.testing.assert_close(chains.positions.mean(0), torch.zeros(3, dtype=FLOAT), rtol=0, atol=1e-9)
    torch.testing.assert_close(chains.positions.T.cov(correction=0), torch.eye(3, dtype=FLOAT), rtol=0, atol=2e-2)


def check_step_sizes() -> None:
    """δ is multiplied by det(Σ)^{−κ/2d}: the volume of a step in the data stays the same."""
    chains = chains_at(stretched(4000))
    layer, covariance = linear_layer(), stretched(4000).T.cov(correction=0)
    expand([layer], torch.optim.SGD(layer.parameters(), lr=0.1), chains, strength=0.4)
    expected = 0.1 * torch.linalg.det(covariance) ** (-0.4 / 6)
    torch.testing.assert_close(chains.step_sizes, expected.expand(4000), rtol=1e-3, atol=0)


def check_moment() -> None:
    """Adam's first moment of A, set to the gradient, is the gradient at the new A and z."""
    chains, layer = chains_at(stretched()), linear_layer()
    optimizer = torch.optim.Adam(layer.parameters())
    prime(optimizer)
    weights = torch.randn(400, 5, generator=rng(2), dtype=FLOAT)

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad((weights * layer(chains.positions).sin()).sum(), (layer.weight, layer.bias))

    for weight, gradient in zip(layer.parameters(), gradients(), strict=True):
        optimizer.state[weight]["exp_avg"].copy_(gradient)
    expand([layer], optimizer, chains, strength=0.5)
    for weight, gradient in zip(layer.parameters(), gradients(), strict=True):
        torch.testing.assert_close(optimizer.state[weight]["exp_avg"], gradient, rtol=1e-9, atol=1e-9)


def check_all_chains() -> None:
    """A batch of a few images expands all chains by the moments of all, the held-out ones too."""
    images = torch.randn(60, 5, generator=rng(3), dtype=FLOAT)
    model = Generator(linear_layer(), 3, 0.3)
    learner = GeneratorLearner(model, expansion=0.5, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    learner.begin(images, 60, 10, rng=rng())
    learner.chains.positions = stretched(60)
    learner.num_steps = 0
    before = [model(each.positions).detach() for each in (learner.chains, learner.held_out)]
    learner.step(torch.arange(6), images[:6], rng=rng())
    strength = 1 - 0.5 ** (6 / 60)
    mean, covariance = shrunk_moments(stretched(60))
    values, vectors = torch.linalg.eigh(covariance)
    expected = (stretched(60) - strength * mean) @ vectors @ torch.diag(values ** (-strength / 2)) @ vectors.T
    torch.testing.assert_close(learner.chains.positions, expected, rtol=0, atol=1e-9)
    for each, reconstructed in zip((learner.chains, learner.held_out), before, strict=True):
        torch.testing.assert_close(model(each.positions).detach(), reconstructed, rtol=0, atol=1e-9)


@pytest.mark.parametrize("d", [3, 9])  # with and without the layers before the first that is learned
@pytest.mark.parametrize(("strength", "dtype"), [(1.0, FLOAT), (0.05, FLOAT), (1.0, torch.float32)])
def test_no_reconstruction_changes(strength, dtype, d):
    check_unchanged(strength, dtype, d)


def test_the_whole_way_leads_to_the_prior():
    check_whitened()


def test_step_sizes_follow():
    check_step_sizes()


def test_the_optimizer_goes_on_as_if_it_had_always_been_there():
    check_moment()


def test_a_batch_expands_by_all_chains():
    check_all_chains()


@pytest.mark.parametrize(
    ("edits", "check"),
    [
        ({"values ** (strength / 2)": "values ** strength"}, lambda: check_unchanged(1.0)),
        (
            {"values ** (strength / 2)": "values ** strength", "values ** (-strength / 2)": "values ** -strength"},
            check_whitened,
        ),
        ({"weight @ mean": "0 * weight @ mean"}, lambda: check_unchanged(1.0)),
        ({"mean = strength * mean": "mean = 0 * mean"}, check_whitened),
        ({"each.step_sizes *=": "each.step_sizes * "}, check_step_sizes),
        ({"- torch.outer(of_bias": "+ torch.outer(of_bias"}, check_moment),
        ({"slots[name].copy_(moment @ inverse)": "pass"}, check_moment),
    ],
    ids=["Σ for Σ^½ in A", "Σ for Σ^½", "bias without the mean", "the mean forgotten", "step sizes not scaled",
         "moment of the wrong sign", "moments left behind"],
)  # fmt: skip
def test_planted_faults_in_the_expansion_are_caught(edits, check, monkeypatch):
    plant(monkeypatch, "anasyn.learning.expansion:expand", edits)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize(
    "edits",
    [
        {"self.optimizer, self.chains, [self.held_out]": "self.optimizer, self._batch(index), [self.held_out]"},
        {"[self.held_out]": "[]"},
        {"strength=strength": "strength=self.expansion"},
    ],
    ids=["covariance of the batch for that of all", "held-out chains left behind", "an epoch's strength in each batch"],
)
def test_planted_faults_in_its_use_are_caught(edits, monkeypatch):
    monkeypatch.setattr(
        GeneratorLearner, "_batch", lambda self, index: chains_at(self.chains.positions[index]), raising=False
    )
    plant(monkeypatch, "anasyn.learning.latent:LatentLearner.expand", edits)
    with pytest.raises(AssertionError):
        check_all_chains()


def test_few_images_are_shrunk():
    """With fewer images than dimensions Σ is still invertible, and its scale is that of z; with many, Σ is S."""
    z = 0.5 * torch.randn(4, 10, generator=rng(4), dtype=FLOAT)
    _, covariance = shrunk_moments(z)
    assert torch.linalg.eigvalsh(covariance).min() > 0.02
    torch.testing.assert_close(covariance.trace(), z.var(0, correction=0).sum())
    two = torch.tensor([[1.0, 0.3], [-1.0, 0.1]], dtype=FLOAT)
    assert torch.linalg.eigvalsh(shrunk_moments(two)[1]).min() > 0.3
    same = torch.tensor([[0.5], [0.5], [-1.0]], dtype=FLOAT)
    torch.testing.assert_close(shrunk_moments(same)[1], torch.tensor([[0.5]], dtype=FLOAT))  # one dimension: S itself
    many = stretched(20_000)
    torch.testing.assert_close(shrunk_moments(many)[1], many.T.cov(correction=0), rtol=0, atol=2e-3)


def test_shrinkage_lowers_the_error():
    """Against the true covariance, over a hundred sets of twelve z."""
    truth = torch.diag(torch.tensor([1.5, 1.0, 0.7, 0.5], dtype=FLOAT))
    z = torch.randn(100, 12, 4, generator=rng(5), dtype=FLOAT) @ truth.sqrt()
    errors = torch.tensor(
        [[((c - truth) ** 2).sum() for c in (shrunk_moments(s)[1], s.T.cov(correction=0))] for s in z]
    )
    assert errors[:, 0].mean() < 0.75 * errors[:, 1].mean()


class Squared(nn.Module):
    """Begins with a linear layer in the order of its modules, but not of its computation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z**2)


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Tanh(), nn.Linear(3, 5)), nn.Sequential(nn.Linear(3, 5, bias=False)), Squared()],
    ids=["tanh first", "no bias", "z²"],
)  # fmt: skip
def test_other_networks_are_refused(network):
    assert expandable_layer(network, 3) is None
    with pytest.raises(ValueError, match="begins with a linear layer"):
        GeneratorLearner(Generator(network, 3, 0.3), expansion=0.05)


def iterations_to_the_maximum(expansion: float) -> int:
    """Until ‖W‖² has come within 5 % of case 7's maximum, 3, from a W so small that z fills little of its prior."""
    rows = torch.diag(torch.tensor([12.0, 3.0, 3.0], dtype=FLOAT)).sqrt()
    images = torch.cat([rows, -rows]).repeat(100, 1)
    network = nn.Linear(1, 3, dtype=FLOAT)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.3], [0.1], [0.1]]))
        network.bias.zero_()
    model = Generator(network, 1, 1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    learner = GeneratorLearner(model, num_steps=5, optimizer=optimizer, expansion=expansion)
    for record in learn(learner, images, num_iterations=2000, schedule=lambda progress: 1.0):
        if (network.weight.detach() ** 2).sum() > 0.95 * 3:
            return record.iteration
    raise AssertionError("the maximum is not reached")


def test_the_maximum_of_the_linear_generator_is_reached_in_fewer_iterations():
    """PX-EM converges faster than EM (Liu, Rubin and Wu 1998, theorem 3)."""
    plain, expanded = iterations_to_the_maximum(0.0), iterations_to_the_maximum(1.0)
    assert expanded < 0.7 * plain, (expanded, plain)


def check_both_networks() -> None:
    """With a learned prior, neither f(z_i) nor f_α(z_i) changes."""
    images = torch.randn(60, 5, generator=rng(3), dtype=FLOAT)
    prior = LatentPrior(networks.mlp(3, 8).to(FLOAT))
    with torch.no_grad():
        prior.network[-2].weight.normal_(generator=rng(6))  # it begins at 0
    model = Generator(linear_layer(), 3, 0.3, prior=prior)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    learner = LatentPriorLearner(model, expansion=0.5, optimizer=optimizer, num_prior_chains=4)
    learner.begin(images, 60, rng=rng())
    learner.chains.positions = stretched(60)
    learner.num_steps = 0
    before = [network(learner.chains.positions).detach() for network in (model, prior)]
    assert before[1].std() > 0
    learner.step(torch.arange(60), images, rng=rng())
    for network, values in zip((model, prior), before, strict=True):
        torch.testing.assert_close(network(learner.chains.positions).detach(), values, rtol=0, atol=1e-9)


def test_a_learned_prior_expands_too():
    check_both_networks()


def test_a_planted_fault_in_the_prior_s_expansion_is_caught(monkeypatch):
    plant(
        monkeypatch,
        "anasyn.learning.latent:LatentLearner.expand",
        {"expand(self.layers": "expand(self.layers[:1]"},
    )
    with pytest.raises(AssertionError):
        check_both_networks()
