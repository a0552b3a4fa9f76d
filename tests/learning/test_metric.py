"""Metrics that follow what is learned, with which chains of z and of images move in all directions."""

import pytest
import torch
from torch import Tensor, nn

from anasyn import DescriptorLearner, GeneratorLearner, learn, mcmc
from anasyn.learning import ComponentMetric, SharedMetric, expand
from anasyn.methods import DescriptorSettings, Scale
from anasyn.methods.build import build_learner
from anasyn.methods.descriptor import DESCRIPTOR
from anasyn.models import Descriptor, FittedGaussian, Generator, Mask, Observed

from ..planting import plant

FLOAT = torch.float64
D, SIGMA = 8, 0.1
# J = U S Vᵀ with S = (10, 1, 0.1): the posterior is 0.01 wide in one direction and 0.7 in another
ROTATION = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=FLOAT)).Q
JACOBIAN = torch.eye(D, 3, dtype=FLOAT) @ torch.diag(torch.tensor([10.0, 1.0, 0.1], dtype=FLOAT)) @ ROTATION
PRECISION = torch.eye(3, dtype=FLOAT) + JACOBIAN.T @ JACOBIAN / SIGMA**2


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_generator() -> Generator:
    network = nn.Linear(3, D, dtype=FLOAT)
    with torch.no_grad():
        network.weight.copy_(JACOBIAN)
        network.bias.zero_()
    return Generator(network, 3, SIGMA)


def simulated(n: int) -> tuple[Tensor, Tensor]:
    """z and images of the model: each z is a draw from the posterior of its image."""
    z = torch.randn(n, 3, generator=rng(2), dtype=FLOAT)
    return z, z @ JACOBIAN.T + SIGMA * torch.randn(n, D, generator=rng(3), dtype=FLOAT)


def begun() -> SharedMetric:
    metric = SharedMetric(3)
    metric.begin(linear_generator(), torch.zeros((), dtype=FLOAT), rng())
    return metric


def check_curvature() -> None:
    """M is JᵀJ in every direction; L Lᵀ = (I + M/σ²)⁻¹."""
    model, metric = linear_generator(), begun()
    z = torch.randn(20_000, 3, generator=rng(), dtype=FLOAT)
    metric.update(model, z, z.new_zeros(20_000, D), 0, rng())
    close_in_all_directions(metric.curvature, JACOBIAN.T @ JACOBIAN)
    covariance = torch.linalg.inv(torch.eye(3, dtype=FLOAT) + metric.curvature / SIGMA**2)
    torch.testing.assert_close(metric.factor @ metric.factor.T, covariance, rtol=1e-9, atol=1e-12)
    x = torch.randn(5, 3, generator=rng(1), dtype=FLOAT)
    torch.testing.assert_close(metric.color(x), x @ metric.factor.T)
    torch.testing.assert_close((metric.color_transposed(x) * x).sum(1), (x * metric.color(x)).sum(1))


def close_in_all_directions(found: Tensor, expected: Tensor) -> None:
    root = torch.linalg.inv(torch.linalg.cholesky(expected))
    torch.testing.assert_close(root @ found @ root.T, torch.eye(3, dtype=FLOAT), rtol=0, atol=0.05)


def test_the_curvature_is_measured_without_the_jacobian():
    check_curvature()


def check_begun() -> None:
    """Before learning, M is measured at draws from the prior, by at least twice as many vectors as z has dimensions."""
    torch.manual_seed(0)
    model = Generator(nn.Linear(200, D, dtype=FLOAT), 200, SIGMA)
    metric = SharedMetric(200)
    metric.begin(model, torch.zeros((), dtype=FLOAT), rng())
    expected = model.network.weight.detach().square().sum()
    torch.testing.assert_close(metric.curvature.trace(), expected, rtol=0.1, atol=0)
    assert 400 <= metric.num_vectors < 500
    assert torch.linalg.matrix_rank(metric.curvature) == D
    precision = torch.eye(200, dtype=FLOAT) + metric.curvature / SIGMA**2
    torch.testing.assert_close(metric.factor @ metric.factor.T, torch.linalg.inv(precision), rtol=1e-6, atol=1e-9)


def test_it_begins_with_the_curvature_of_the_first_network():
    check_begun()


def test_what_is_not_seen_has_no_curvature():
    """Half of the images have the first four values hidden, the others the rest: each value is seen in half of them."""
    network = nn.Sequential(linear_generator().network, nn.Unflatten(1, (1, 2, D // 2)))
    model, metric = Generator(network, 3, SIGMA), begun()
    z = torch.randn(20_000, 3, generator=rng(), dtype=FLOAT)
    seen = torch.zeros(20_000, 1, 2, D // 2, dtype=torch.bool)
    seen[::2, :, 0], seen[1::2, :, 1] = True, True
    metric.update(model, z, Observed(z.new_zeros(20_000, 1, 2, D // 2), Mask(seen)), 0, rng())
    close_in_all_directions(metric.curvature, JACOBIAN.T @ JACOBIAN / 2)


def check_running_mean() -> None:
    """The mean of all products at first, later of as many as are remembered; measured every fourth iteration."""
    metric = begun()
    metric._products = lambda model, z, *_: torch.full((3, 3), float(z.sum()), dtype=FLOAT)
    metric.curvature.zero_()
    metric.num_vectors.fill_(4)

    def update(value: float, iteration: int) -> None:
        batch = torch.full((4, 1), value, dtype=FLOAT)
        metric.update(linear_generator(), batch, batch, iteration, rng())

    update(3.0, 0)
    update(6.0, 4)
    torch.testing.assert_close(metric.curvature, torch.full((3, 3), 3.0, dtype=FLOAT))
    for iteration in range(5, 1000):
        update(float(iteration % 4 > 0), iteration)
    update(1.0, 1000)
    torch.testing.assert_close(metric.curvature, torch.full((3, 3), 0.1, dtype=FLOAT), rtol=0, atol=1e-6)


def test_old_measurements_are_forgotten():
    check_running_mean()


def widths(kernel: mcmc.Kernel) -> Tensor:
    """The variances of z around the exact mean of its posterior, over the exact ones, in the directions of J.

    Each of 400 chains begins at z = (2, 2, 2), and makes 300 transitions; no weight is learned.
    """
    model = linear_generator()
    _, images = simulated(400)
    learner = GeneratorLearner(
        model, kernel=kernel, num_steps=10, optimizer=torch.optim.SGD(model.parameters(), lr=0.0)
    )
    with torch.no_grad():
        model.network.weight.mul_(0.01)  # the metric begins with another network, and has to follow
        learner.begin(images, len(images), rng=rng())
        model.network.weight.copy_(JACOBIAN)
    learner.chains.positions = torch.full((len(images), 3), 2.0, dtype=FLOAT)
    for _ in learn(learner, images, num_iterations=30):
        pass
    covariance = torch.linalg.inv(PRECISION)
    mean = images @ JACOBIAN @ covariance / SIGMA**2
    offsets = (learner.chains.positions - mean) @ ROTATION.T
    return (offsets**2).mean(0) / torch.diag(ROTATION @ covariance @ ROTATION.T)


def check_all_directions(kernel: type[mcmc.MALA] | type[mcmc.HMC] = mcmc.MALA) -> None:
    found = widths(kernel(1.0, preconditioner=SharedMetric(3)))
    assert (found - 1).abs().max() < 0.3, found


@pytest.mark.parametrize("kernel", [mcmc.MALA, mcmc.HMC])
def test_chains_with_the_metric_find_the_posterior_in_every_direction(kernel):
    check_all_directions(kernel)


def test_chains_without_it_do_not():
    """They stay near their start where the posterior is wide: the reason for the metric."""
    assert widths(mcmc.MALA(0.03))[2] > 1.5


def check_expanded() -> None:
    """M follows the change of coordinates, A ← A Σ^½ and J ← J Σ^½; step sizes, in widths of the posterior, stay."""
    layer = linear_generator().network
    before = layer.weight.detach().clone()
    chains, metric = mcmc.WarmChains(3), begun()
    z, _ = simulated(4000)
    chains.allocate(len(z), 1.0, like=z, rng=rng())
    chains.positions = z @ torch.tensor([[0.7, 0.2, 0.0], [0.2, 0.4, 0.0], [0.0, 0.0, 1.5]], dtype=FLOAT)
    metric.curvature.copy_(JACOBIAN.T @ JACOBIAN)
    expand([layer], torch.optim.SGD(layer.parameters(), lr=0.1), chains, metric=metric, strength=1.0)
    root = torch.linalg.lstsq(before, layer.weight.detach()).solution
    assert (root - torch.eye(3, dtype=FLOAT)).abs().max() > 0.2
    torch.testing.assert_close(metric.curvature, root.T @ JACOBIAN.T @ JACOBIAN @ root, rtol=1e-6, atol=1e-6)
    assert (chains.step_sizes == 1.0).all()


def test_it_follows_the_expansion():
    check_expanded()


# ----------------------------------------------------------------------------------------- the metric of components

SHAPE, NARROW = (3, 8, 8), torch.tensor([0.05, 1.0, 0.3, 1.0], dtype=FLOAT)  # widths of p along U, of the reference's
SCALES = (NARROW * (3 * 8 * 8 / 4) ** (1 / 6)).clamp_max(1)  # of the metric, of the reference's


def component_metric() -> ComponentMetric:
    """That of a reference with four components, in which the images vary a hundred times as much as in the rest."""
    basis = torch.randn(4, *SHAPE, generator=rng(4), dtype=FLOAT)
    images = torch.einsum("nk,kchw->nchw", torch.randn(60, 4, generator=rng(5), dtype=FLOAT), basis)
    images = images + 0.01 * torch.randn(images.shape, generator=rng(6), dtype=FLOAT)
    reference = FittedGaussian(SHAPE, 4).double()
    reference.fit(images, 0.05)
    metric = ComponentMetric(reference)
    metric.begin()
    return metric


def narrow_density(reference: FittedGaussian):
    """log p of the Gaussian that is `NARROW` as wide as the reference along its components, and as wide elsewhere."""

    def log_density(images: Tensor) -> Tensor:
        scores = reference.whiten(images).flatten(1) @ reference.components.T
        return -reference.energy(images) - (scores.square() * (NARROW**-2 - 1)).sum(1) / 2

    return log_density


def check_products() -> None:
    """At first L is the reference's; then its scales along the components are others."""
    metric = component_metric()
    reference = metric.reference
    x = torch.randn(5, *SHAPE, generator=rng(), dtype=FLOAT)
    torch.testing.assert_close(metric.color(x), reference.color(x))
    torch.testing.assert_close(metric.color_transposed(x), reference.color_transposed(x))
    metric.log_precisions = metric.log_precisions - 2 * NARROW.log()
    torch.testing.assert_close(metric.scales, SCALES * reference.scales)
    along = reference.whiten(reference.mean + metric.color(x)).flatten(1) @ reference.components.T
    torch.testing.assert_close(along, SCALES * (x.flatten(1) @ reference.components.T), rtol=0, atol=1e-5)
    torch.testing.assert_close((metric.color_transposed(x) * x.flip(0)).sum(), (x * metric.color(x.flip(0))).sum())
    metric.log_precisions = metric.log_precisions - 100
    torch.testing.assert_close(metric.color(x), reference.color(x))  # never wider than the reference


def check_followed() -> None:
    """Scales are the density's widths along the components, though a few chains are far from equilibrium."""
    metric = component_metric()
    reference = metric.reference
    log_density = narrow_density(reference)
    for t in range(300):
        x = torch.randn(50, *SHAPE, generator=rng(t), dtype=FLOAT)
        flat = x.flatten(1)
        flat = flat + (flat @ reference.components.T * (NARROW - 1)) @ reference.components  # of p, whitened
        flat[0] = x[0].flatten()  # of the reference
        images = reference.mean + reference.color(flat.view(x.shape))
        metric.update(mcmc.init(log_density, images, 1.0).gradient)
    torch.testing.assert_close(metric.scales, SCALES * reference.scales, rtol=0.15, atol=0)


def check_learning() -> None:
    """The learner's chains keep their step sizes where f is steep along the components alone."""
    metric = component_metric()
    model = Descriptor(Narrow(metric.reference), 1.0, reference=metric.reference).double()
    learner = DescriptorLearner(
        model,
        kernel=mcmc.MALA(0.5, metric),
        chains=mcmc.PersistentChains(model.draw_reference),
        num_steps=10,
        data_noise=0.05,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
    )
    images = torch.zeros(30, *SHAPE, dtype=FLOAT)
    learner.begin(images, 30, rng=rng())
    for t in range(150):
        learner.step(torch.arange(30), images, rng=rng(t))
    torch.testing.assert_close(metric.scales, SCALES * metric.reference.scales, rtol=0.35, atol=0)
    assert learner.chains.step_sizes.mean() > 0.5
    assert learner.kept()["metric.log_precisions"] is metric.log_precisions


class Narrow(nn.Module):
    """The f of `narrow_density`."""

    def __init__(self, reference: FittedGaussian):
        super().__init__()
        self.density, self.energy = narrow_density(reference), reference.energy
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.density(images) + self.energy(images) + self.offset


def test_the_metric_of_components_is_one_matrix():
    check_products()


def test_the_metric_of_components_has_the_widths_of_the_density():
    check_followed()


@pytest.mark.parametrize(("num", "kind"), [(7, FittedGaussian), (33, ComponentMetric)])
def test_the_chains_of_many_images_have_it(num, kind):
    settings = DescriptorSettings(reference="fitted", size=16).resolve(Scale(num, 16, has_bfloat16=False))
    learner = build_learner(DESCRIPTOR, settings, torch.device("cpu"))
    assert type(learner.kernel.preconditioner) is kind


def test_chains_of_images_move_where_f_is_steep_along_components():
    check_learning()


@pytest.mark.parametrize(
    ("where", "edits", "check"),
    [
        ("metric:SharedMetric.set_factor", {"upper, identity, upper=True": "upper.mT, identity, upper=False"},
         check_curvature),
        ("metric:SharedMetric.set_factor", {"self.curvature / model.sigma**2": "self.curvature"}, check_curvature),
        ("metric:SharedMetric.begin", {"None, rounds, rng) / num": "None, rounds, rng) / NUM_FIRST"}, check_begun),
        ("metric:SharedMetric.color", {"self.factor.T": "self.factor"}, check_curvature),
        ("metric:SharedMetric.update", {"/ self.num_vectors": "/ (self.num_vectors + num)"}, check_running_mean),
        ("metric:SharedMetric.update", {"torch.minimum(self.num_vectors + num, most)": "self.num_vectors + num"},
         check_running_mean),
        ("metric:SharedMetric.update", {"iteration % INTERVAL == 0": "True"}, check_running_mean),
        ("latent:LatentLearner.infer", {"if self.metric:": "if False:"}, check_all_directions),
        ("expansion:expand", {"metric.expand(root)": "metric.expand(inverse)"}, check_expanded),
        ("expansion:expand", {"metric.expand(root)": "pass"}, check_expanded),
        ("metric:ComponentMetric.update", {".log().sum(0)": ".sum(0)", "logs / num": "(logs / num).log()"},
         check_followed),
        ("metric:ComponentMetric.update", {" - OF_NORMAL": ""}, check_followed),
        ("metric:ComponentMetric.update", {"logs / num": "logs"}, check_followed),
        ("metric:ComponentMetric.color_transposed", {"gradient, self.scales": "gradient"}, check_products),
        ("descriptor:DescriptorLearner.step", {"self.metric.update(state.gradient)": "pass"}, check_learning),
    ],
    ids=["L of the transposed factor", "σ forgotten", "too few counted at first", "Lᵀ x for L x", "too slow a mean",
         "nothing forgotten", "measured in every iteration", "never updated", "the inverse change", "left behind",
         "outliers in the mean", "the mean log of x² forgotten", "a sum for a mean", "L of another matrix",
         "components never updated"],
)  # fmt: skip
def test_planted_faults_are_caught(where, edits, check, monkeypatch):
    plant(monkeypatch, f"anasyn.learning.{where}", edits)
    with pytest.raises(AssertionError):
        check()
