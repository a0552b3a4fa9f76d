"""A learned prior with a quadratic f: a Gaussian, and with a linear generator a Gaussian model (case 18)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from anasyn import LatentPriorLearner, mcmc
from anasyn.evaluation import bounding, likelihood
from anasyn.learning import LearnedNoise, draw_prior
from anasyn.models import Generator, LatentPrior
from anasyn.rng import derive, standard_normal

from ..planting import plant

FLOAT = torch.float64
STEP = "anasyn.learning.latent_prior:LatentPriorLearner.step"


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=FLOAT, generator=rng(seed))


def tensor(*rows) -> Tensor:
    return torch.tensor(rows, dtype=FLOAT)


class TwoModes(nn.Module):
    """f(z) = 8 |z₁|."""

    def forward(self, z):
        return 8 * z[:, 0].abs()


class Quadratic(nn.Module):
    """f(z) = −½ zᵀAz + bᵀz, so that p(z) = N(P⁻¹b, P⁻¹), P = I + A."""

    def __init__(self, a: Tensor, b: Tensor):
        super().__init__()
        self.A, self.b = nn.Parameter(a.clone()), nn.Parameter(b.clone())

    def forward(self, z):
        return -0.5 * ((z @ self.A) * z).sum(1) + z @ self.b


def linear(weight: Tensor, bias: Tensor, sigma: float, prior: LatentPrior, kind: type[Generator] = Generator):
    network = nn.Linear(weight.shape[1], weight.shape[0], dtype=FLOAT)
    with torch.no_grad():
        network.weight.copy_(weight)
        network.bias.copy_(bias)
    return kind(network, weight.shape[1], sigma, prior=prior)


A2, B2 = tensor([1.5, 0.6], [0.6, 0.2]), tensor(0.8, -1.2)
W3, C3, SIGMA = tensor([1.0, 0.4], [-0.3, 0.8], [0.5, 0.5]), tensor(0.3, -0.2, 0.1), 0.6


def assert_gaussian(z: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Independent draws, (n, d): mean and covariance within five standard errors."""
    error = (covariance.diagonal() / len(z)).sqrt()
    assert ((z.mean(0) - mean).abs() <= 5 * error).all(), (z.mean(0), mean)
    variances = covariance.diagonal()
    error = ((covariance**2 + variances[:, None] * variances) / len(z)).sqrt()
    assert ((z.T.cov() - covariance).abs() <= 5 * error).all(), (z.T.cov(), covariance)


# ---- planted faults in the densities


class WithoutGaussian(LatentPrior):
    def log_density(self, z):
        return self(z)


class DoubledGaussian(LatentPrior):
    def log_density(self, z):
        return 2 * super().log_density(z) - self(z)


class WrongSign(LatentPrior):
    def log_density(self, z):
        return super().log_density(z) - 2 * self(z)


DENSITIES = [WithoutGaussian, DoubledGaussian, WrongSign]


class PosteriorWithoutF(Generator):
    """The z-gradient of the posterior lacks ∂f/∂z."""

    def log_prior(self, z):
        return -0.5 * (z**2).sum(1)


# ---- the densities and their chains


def check_draws(draw=draw_prior, kind: type[LatentPrior] = LatentPrior) -> None:
    model = linear(W3, C3, SIGMA, kind(Quadratic(A2, B2)))
    covariance = torch.linalg.inv(torch.eye(2, dtype=FLOAT) + A2)
    assert_gaussian(draw(model, 20_000, num_steps=25, rng=rng()), covariance @ B2, covariance)


def test_draws_from_the_prior():
    check_draws()


@pytest.mark.parametrize("fault", DENSITIES)
def test_planted_faults_in_the_prior_move_its_draws(fault):
    with pytest.raises(AssertionError):
        check_draws(kind=fault)


@pytest.mark.parametrize(("chains", "share"), [(mcmc.PersistentChains(), 0.75), (mcmc.ColdChains(), 0.5)])
def test_draws_go_on_from_persistent_chains(chains, share):
    """f(z) = 8 |z₁| has two modes between which no chain moves: draws are in the mode of their starts."""
    network = nn.Linear(2, 3, dtype=FLOAT)
    learner = LatentPriorLearner(Generator(network, 2, 0.5, prior=LatentPrior(TwoModes())), prior_chains=chains)
    chains.positions = tensor([8.0, 0.0], [8.0, 1.0], [8.0, -1.0], [-8.0, 0.0])
    drawn = learner.draw(1000, rng())
    assert float((drawn[:, 0] > 0).double().mean()) == pytest.approx(share, abs=0.05)
    assert_gaussian(drawn[:, 1:], tensor(0.0), tensor([1.0]))


def test_draws_from_the_normal_are_no_draws_from_the_prior():
    with pytest.raises(AssertionError):
        check_draws(draw=lambda model, num, num_steps, rng: standard_normal(torch.empty(num, 2, dtype=FLOAT), rng))


def check_evaluated_likelihood() -> None:
    """What `anasyn evaluate` computes: log p(Y) of a learned prior, in which log Z(α) is estimated, within 0.1 nat."""
    model = linear(W3, C3, SIGMA, LatentPrior(Quadratic(A2, B2)))
    pixels = (normal(8, 3, seed=4).clamp(-2, 2) * 40 + 127).to(torch.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounding, "floats", lambda x: x.double() / 127.5 - 1)
        patch.setattr(bounding, "dequantise", lambda x, rng: x.double() / 127.5 - 1)
        patch.setattr(bounding, "plan", lambda *_: bounding.Plan(8, 8, 64, 32, 2))
        measures = bounding.evaluate_likelihood(
            model, pixels, "images", draw_prior=lambda num, rng: draw_prior(model, num, rng=rng), seed=0
        )
    covariance = torch.linalg.inv(torch.eye(2, dtype=FLOAT) + A2)
    noise = SIGMA**2 * torch.eye(3, dtype=FLOAT)
    exact = MultivariateNormal(W3 @ covariance @ B2 + C3, W3 @ covariance @ W3.T + noise)
    expected = exact.log_prob(pixels.double() / 127.5 - 1).mean().item()
    assert abs(measures["log_likelihood"]["value"] - expected) < 0.1
    assert abs(measures["log_likelihood_bracket"]["value"]) < 0.2


def test_the_likelihood_with_a_learned_prior():
    check_evaluated_likelihood()


def test_a_bracket_needs_draws_from_a_learned_prior():
    model = linear(W3, C3, SIGMA, LatentPrior(Quadratic(A2, B2)))
    few = {"num_images": 2, "num_chains": 2, "num_temperatures": 4, "num_peaks": 1}
    with pytest.raises(ValueError, match="draw_prior: expected for a learned prior"):
        likelihood.bracket(model, normal(2, 3), **few, rng=rng())


def test_draws_are_asked_for_before_the_likelihood_is_computed(monkeypatch: pytest.MonkeyPatch):
    model = linear(W3, C3, SIGMA, LatentPrior(Quadratic(A2, B2)))
    monkeypatch.setattr(bounding, "log_likelihood", lambda *_, **__: pytest.fail("it is computed"))
    monkeypatch.setattr(bounding, "floats", lambda x: x.double())
    monkeypatch.setattr(bounding, "dequantise", lambda x, rng: x.double())
    with pytest.raises(ValueError, match="draw_prior: expected for a learned prior"):
        bounding.evaluate_likelihood(model, torch.zeros(2, 3, dtype=torch.uint8), "images", seed=0, seconds=0.1)


@pytest.mark.parametrize(
    "edits",
    [
        {"return found.value.item()": "return 0.0"},
        {"model.log_prior, standard_gaussian": "lambda z: 2 * model.log_prior(z), standard_gaussian"},
    ],
    ids=["log Z left out", "another prior's log Z"],
)
def test_planted_faults_in_the_likelihood_with_a_learned_prior(edits, monkeypatch):
    plant(monkeypatch, "anasyn.evaluation.bounding:_prior_normalizer", edits)
    with pytest.raises(AssertionError):
        check_evaluated_likelihood()


def check_posterior(kind: type[Generator] = Generator, prior: type[LatentPrior] = LatentPrior) -> None:
    """p(z | y) = N(M⁻¹ [Wᵀ(y − c)/σ² + b], M⁻¹),   M = I + A + WᵀW/σ²."""
    model = linear(W3, C3, SIGMA, prior(Quadratic(A2, B2)), kind)
    y = tensor(0.5, 1.0, -0.7)
    covariance = torch.linalg.inv(torch.eye(2, dtype=FLOAT) + A2 + W3.T @ W3 / SIGMA**2)
    mean = covariance @ (W3.T @ (y - C3) / SIGMA**2 + B2)
    images = y.expand(20_000, -1)
    state, _ = mcmc.run(
        mcmc.MALA(0.5), lambda z: model.log_joint(z, images), normal(20_000, 2), num_steps=40, rng=rng(1)
    )
    assert_gaussian(state.position, mean, covariance)


def test_the_posterior_by_mcmc():
    check_posterior()


@pytest.mark.parametrize("fault", [{"kind": PosteriorWithoutF}, *({"prior": kind} for kind in DENSITIES)])
def test_planted_faults_move_the_posterior(fault):
    with pytest.raises(AssertionError):
        check_posterior(**fault)


def check_evidence(kind: type[LatentPrior] = LatentPrior) -> None:
    """∫ p(y, z) dz = Z(α) N(y; Wm + c, WP⁻¹Wᵀ + σ²I), exact;  log Z = ½ bᵀP⁻¹b − ½ log det P, m = P⁻¹b."""
    a, b, weight, bias = tensor([1.5]), tensor(0.8), tensor([1.0], [0.4]), tensor(0.2, -0.1)
    model = linear(weight, bias, 0.6, kind(Quadratic(a, b)))
    y, z = tensor(0.7, 0.3), torch.linspace(-12, 12, 2401, dtype=FLOAT)[:, None]
    found = torch.logsumexp(model.log_joint(z, y.expand(len(z), -1)), 0) + math.log(0.01)
    precision = 1 + a
    log_z = (b @ torch.linalg.solve(precision, b) - precision.logdet()) / 2
    covariance = weight @ torch.linalg.inv(precision) @ weight.T + 0.36 * torch.eye(2, dtype=FLOAT)
    marginal = torch.distributions.MultivariateNormal(weight @ torch.linalg.solve(precision, b) + bias, covariance)
    assert found.item() == pytest.approx((marginal.log_prob(y) + log_z).item(), abs=1e-10)


def test_the_evidence_is_the_marginal_gaussian():
    check_evidence()


@pytest.mark.parametrize("fault", DENSITIES)
def test_planted_faults_change_the_evidence(fault):
    with pytest.raises(AssertionError):
        check_evidence(fault)


# ---- learning


@dataclass(frozen=True)
class FixedMALA(mcmc.MALA):
    """MALA whose step size the learner leaves alone: exact, which one that is still adapted is not quite."""

    target_acceptance: ClassVar[float | None] = None


def test_the_learning_step_is_the_published_one():
    """α moves by γ' [mean ∂f(z_i)/∂α − mean ∂f(z̃_j)/∂α], W by γ mean (y − c − Wz) zᵀ/σ², exact."""
    images, model = normal(10, 3), linear(W3, C3, SIGMA, LatentPrior(Quadratic(A2, B2)))
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.1)
    optimizer.add_param_group({"params": model.prior.parameters(), "lr": 0.03})
    learner = LatentPriorLearner(model, optimizer=optimizer, num_prior_chains=7)
    learner.begin(images, 10, rng=rng())
    record = learner.step(torch.arange(10), images, rng=rng(1))
    z, drawn = learner.chains.positions, learner.prior_chains.positions
    assert drawn.shape == (7, 2)
    f = Quadratic(A2, B2)
    assert record.measures["prior_gap"] == pytest.approx((f(z).mean() - f(drawn).mean()).item(), abs=1e-12)
    curvature = A2 - 0.03 * (z.T @ z / 10 - drawn.T @ drawn / 7) / 2
    expected = {"A": curvature, "b": B2 + 0.03 * (z.mean(0) - drawn.mean(0))}
    for name, value in expected.items():
        torch.testing.assert_close(getattr(model.prior.network, name).detach(), value, rtol=0, atol=1e-12)
    ascent = ((images - C3 - z @ W3.T) / SIGMA**2).T @ z / 10
    torch.testing.assert_close(model.network.weight.detach(), W3 + 0.1 * ascent, rtol=0, atol=1e-12)


def observed(num: int, mean: Tensor, covariance: Tensor, seed: int = 5) -> Tensor:
    """Images whose sample mean and covariance are exactly these."""
    white = normal(num, len(mean), seed=seed)
    white = white - white.mean(0)
    white = white @ torch.linalg.inv(torch.linalg.cholesky(white.T.cov(correction=0))).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def learned(
    model: Generator,
    images: Tensor,
    rate: float,
    prior_rate: float,
    *,
    prior_chains: mcmc.Chains | None = None,
    prior_steps: int = 3,
    num_iterations: int = 160,
):
    """Each parameter, and the loading W P⁻¹ Wᵀ, averaged over the second half of the learning; the standard errors."""
    optimizer = torch.optim.SGD(model.network.parameters(), lr=rate)
    optimizer.add_param_group({"params": model.prior.parameters(), "lr": prior_rate})
    chains = {"prior_steps": prior_steps, "prior_chains": prior_chains, "num_prior_chains": len(images)}
    kernels = {"kernel": FixedMALA(0.6), "prior_kernel": FixedMALA(0.9)}
    learner = LatentPriorLearner(model, num_steps=3, optimizer=optimizer, **kernels, **chains)
    learner.begin(images, len(images), rng=derive(0, "chains"))
    trace = []
    for t in range(num_iterations):
        learner.step(torch.arange(len(images)), images, rng=derive(0, "noise", t))
        a, weight = model.prior.network.A.detach(), model.network.weight.detach()
        loading = weight @ torch.linalg.inv(torch.eye(len(a), dtype=FLOAT) + a) @ weight.T
        trace.append(torch.cat([a.flatten(), model.prior.network.b.detach(), loading.flatten()]))
    means = torch.stack(trace[num_iterations // 2 :]).unflatten(0, (10, -1)).mean(1)
    return means.mean(0), means.std(0) / 10**0.5


WEIGHT, BIAS = tensor([1.2, 0.3], [-0.2, 0.9]), tensor(0.4, -0.1)


def check_prior_learned(*, rate: float = 0.8, kind: type[Generator] = Generator, **options) -> None:
    """W known and square: the maximum likelihood is P⁻¹ = W⁻¹(S − σ²I)W⁻ᵀ, A = P − I, b = P W⁻¹(ȳ − c)."""
    sigma, mean, covariance = 0.5, tensor(0.5, -0.3), tensor([1.5, 0.4], [0.4, 0.8])  # of z
    model = linear(WEIGHT, BIAS, sigma, LatentPrior(Quadratic(0 * A2, 0 * B2)), kind)
    noise = sigma**2 * torch.eye(2, dtype=FLOAT)
    images = observed(400, WEIGHT @ mean + BIAS, WEIGHT @ covariance @ WEIGHT.T + noise)
    precision = torch.linalg.inv(covariance)
    expected = torch.cat([(precision - torch.eye(2, dtype=FLOAT)).flatten(), precision @ mean])
    value, error = learned(model, images, 0.0, rate, **options)
    assert error[:6].max() < 0.04
    assert ((value[:6] - expected).abs() <= 5 * error[:6] + 0.03).all(), (value, expected, error)


def cold() -> mcmc.Chains:
    return mcmc.ColdChains(mcmc.reference_noise(1.0))


@pytest.mark.parametrize(
    "options", [{}, {"prior_chains": cold(), "prior_steps": 12}], ids=["persistent", "cold from N(0, I)"]
)
def test_learning_reaches_the_most_likely_prior(options):
    check_prior_learned(**options)


STEP_FAULTS = {
    "wrong sign of α's gradient": {"- prior_gap\n": "+ prior_gap\n"},
    "prior chains without N(0, I)": {"self.prior.log_density,": "self.prior,"},
    "draws from N(0, I)": {"drawn = state.position": "drawn = torch.randn(state.position.shape, generator=rng).to(z)"},
}


@pytest.mark.parametrize("edits", STEP_FAULTS.values(), ids=STEP_FAULTS.keys())
def test_planted_faults_in_the_step_keep_the_prior_from_it(edits, monkeypatch):
    plant(monkeypatch, STEP, edits)
    with pytest.raises(AssertionError):
        check_prior_learned()


@pytest.mark.parametrize(
    "options",
    [{"kind": PosteriorWithoutF}, {"rate": 0.0}, {"prior_chains": cold(), "prior_steps": 1}],
    ids=["posterior without f", "no learning", "cold chains far too short"],
)
def test_planted_faults_keep_the_prior_from_it(options):
    with pytest.raises(AssertionError):
        check_prior_learned(**options)


def check_all_learned(**options) -> None:
    """W, c and α learned together: Wm + c = ȳ and, as in case 7, the loading W P⁻¹ Wᵀ = diag(3, 0, 0)."""
    sigma, mean, covariance = 1.0, tensor(1.0, 0.2, -0.4), torch.diag(tensor(4.0, 1.0, 1.0))
    prior = LatentPrior(Quadratic(tensor([0.5]), tensor(0.4)))
    model = linear(tensor([0.8], [0.8], [0.8]), torch.zeros(3, dtype=FLOAT), sigma, prior, **options)
    value, error = learned(model, observed(600, mean, covariance), 0.1, 0.02)
    loading, error = value[-9:], error[-9:]
    expected = torch.diag(tensor(3.0, 0.0, 0.0)).flatten()
    assert error.max() < 0.1
    assert ((loading - expected).abs() <= 5 * error + 0.06).all(), (loading, error)


def test_weights_and_prior_reach_the_maximum_likelihood_together():
    check_all_learned()


def test_planted_faults_keep_both_from_the_maximum_likelihood():
    with pytest.raises(AssertionError):
        check_all_learned(kind=PosteriorWithoutF)


class Tilted(nn.Module):
    """g(z) = 2 z₁, so that p(z) = N((2s, 0), I): the most likely s for z of mean (μ, ·) is μ/2."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(tensor(2.0, 0.0))

    def forward(self, z):
        return z @ self.b


def check_scale(mean: float, expected: float, *, holds_out: bool = True) -> None:
    """s, after whole iterations whose held-out z, of this mean, stay; the training images' z have the mean of s = 1."""
    model = linear(WEIGHT, BIAS, 1.0, LatentPrior(Tilted()))
    images, held_out = (BIAS + (normal(50, 2, seed=k) + tensor(m, 0.0)) @ WEIGHT.T for k, m in ((0, 2.0), (1, mean)))
    learner = LatentPriorLearner(
        model,
        kernel=FixedMALA(0.6),
        prior_kernel=FixedMALA(1.2),
        num_prior_chains=200,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
        noise=LearnedNoise(0.02),
    )
    learner.begin(images, 50, 50 if holds_out else 0, rng=rng())
    learner.held_out.positions = (held_out - BIAS) @ torch.linalg.inv(WEIGHT).T
    learner.held_out.positions[:, 0] += mean - learner.held_out.positions[:, 0].mean()
    scales = []
    for t in range(600):
        record = learner.step(torch.arange(50), images, rng=derive(0, "noise", t))
        scales.append(record.measures["prior_scale"])
    assert scales[0] == 1
    assert sum(scales[-200:]) / 200 == pytest.approx(expected, abs=0.02)


def test_the_scale_of_the_prior_is_the_most_likely_one_for_the_held_out_z():
    check_scale(1.0, 0.5)


def test_the_scale_stays_where_the_held_out_z_are_as_the_others():
    check_scale(2.0, 1.0)
    check_scale(3.0, 1.0)


def test_the_scale_stays_where_no_image_is_held_out():
    check_scale(1.0, 1.0, holds_out=False)


@pytest.mark.parametrize(
    ("edits", "check"),
    [
        ({"f_held_out / num - self.prior": "self.prior(drawn).double().mean() - f_held_out / num + 0 * self.prior"},
         lambda: check_scale(1.0, 0.5)),
        ({"self.held_out.positions": "self.chains.positions"}, lambda: check_scale(1.0, 0.5)),
        ({"f_held_out / num": "f_held_out"}, lambda: check_scale(1.0, 0.5)),
        ({"- self.prior(drawn).double().mean()": ""}, lambda: check_scale(-1.0, 0.0)),
        ({".clamp_(max=1)": ""}, lambda: check_scale(3.0, 1.0)),
    ],
    ids=["wrong sign", "training z for held-out ones", "sum for mean", "draws forgotten", "not bounded by 1"],
)  # fmt: skip
def test_planted_faults_in_the_scale_are_caught(edits, check, monkeypatch):
    plant(monkeypatch, "anasyn.learning.latent_prior:LatentPriorLearner.scale_prior", edits)
    with pytest.raises(AssertionError):
        check()
