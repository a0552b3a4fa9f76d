"""Without the private operators everything works and is slower: the exact checks on all four ways."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from anasyn import DescriptorLearner, GeneratorLearner, mcmc
from anasyn.models import Descriptor, Generator, networks
from anasyn.processor import freezing, frozen, onednn, probe

OPERATORS = [
    "_is_mkldnn_bf16_supported",
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
    "_convolution_pointwise",
    "_convolution_transpose_pointwise",
]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(seed))


def all_but(name: str, **instead: Any) -> SimpleNamespace:
    """oneDNN's operators without one of them, or with another in its place."""
    kept = {each: getattr(torch.ops.mkldnn, each) for each in OPERATORS if each != name}
    return SimpleNamespace(**kept, **instead)


def another_signature() -> SimpleNamespace:
    """As a later PyTorch's: the same operator with an argument more, which it refuses as PyTorch does."""
    convolution = torch.ops.mkldnn._convolution_pointwise.default
    one_more = SimpleNamespace(default=lambda *arguments: convolution(*arguments, None))
    return all_but("_convolution_pointwise", _convolution_pointwise=one_more)


def other_numbers() -> SimpleNamespace:
    convolution = torch.ops.mkldnn._convolution_transpose_pointwise.default
    wrong = SimpleNamespace(default=lambda *arguments: 1.01 * convolution(*arguments))
    return all_but("_convolution_transpose_pointwise", _convolution_transpose_pointwise=wrong)


WAYS = {
    "as it is": None,
    "hidden": SimpleNamespace,
    "another signature": another_signature,
    "other numbers": other_numbers,
}


@pytest.fixture
def probed_anew():
    probe.probed.cache_clear()
    yield
    probe.probed.cache_clear()


@pytest.fixture(params=WAYS)
def way(request, monkeypatch, probed_anew):
    """With oneDNN's private operators, and without: that it is tried is checked, too."""
    if make := WAYS[request.param]:
        monkeypatch.setattr(onednn, "mkldnn", make())
    network = networks.conv(16, (8, 12), strides=1)
    with frozen(network):
        assert ("forward" in vars(network)) == (request.param == "as it is")
    return request.param


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.usefixtures("probed_anew")
def test_every_operator_is_tried(name, monkeypatch, caplog):
    monkeypatch.setattr(onednn, "mkldnn", all_but(name))
    assert probe.dtypes() == ()
    assert name in caplog.text


@pytest.mark.usefixtures("probed_anew")
def test_what_pytorch_keeps_of_hooks_is_tried(monkeypatch, caplog):
    monkeypatch.delattr(nn.modules.module, "_has_any_global_hook")
    assert probe.dtypes() == ()
    assert "_has_any_global_hook" in caplog.text


def test_it_is_said_once_and_in_one_sentence(way, caplog):
    """Said when `way` has tried it: nothing is said again, and nothing where all is as it was."""
    probe.probed.cache_clear()
    with caplog.at_level(logging.INFO, "anasyn"):
        for _ in range(3):
            with frozen(networks.conv(16, (8, 12), strides=1)):
                pass
    said = [record.getMessage() for record in caplog.records if record.name.startswith("anasyn.")]
    assert len(said) == (way != "as it is")
    for sentence in said:
        assert f"because PyTorch {torch.__version__} lacks" in sentence
        assert "\n" not in sentence


@pytest.mark.usefixtures("probed_anew")
def test_probing_draws_no_random_numbers():
    state = torch.get_rng_state()
    probe.probed()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("probed_anew")
def test_probing_works_wherever_a_model_is_frozen():
    for within in (
        torch.no_grad(),
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
        torch.device("meta"),
    ):
        probe.probed.cache_clear()
        with within:
            assert torch.float32 in probe.dtypes()


def test_where_onednn_is_switched_off_nothing_is_accelerated(monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert probe.dtypes() == ()
    assert not caplog.records


# ---- exact checks with convolutional networks, each of the ways


def linear_generator() -> Generator:
    """f(z) = W z + b by two transposed convolutions without an activation: the posterior is Gaussian."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, 8, 4, 2, 1), nn.ConvTranspose2d(8, 3, 4, 2, 1)
    )
    return Generator(network, 2, sigma=0.5)


def check_moments(draws: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Independent draws, (n, d), within five standard errors."""
    n = len(draws)
    assert ((draws.mean(0) - mean).abs() < 5 * (covariance.diagonal() / n).sqrt()).all()
    scaled = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), (draws - mean).T, upper=False)
    assert ((scaled @ scaled.T / n - torch.eye(len(mean))).abs() < 5 * (2 / n) ** 0.5).all()


@pytest.mark.parametrize("kernel", [mcmc.MALA(0.3), mcmc.HMC(0.2, 3)], ids=["MALA", "HMC"])
def test_the_posterior_of_a_linear_generator(way, kernel):
    """Case 7: N(M⁻¹ Wᵀ(y − b), σ² M⁻¹), M = WᵀW + σ² I."""
    model, image = linear_generator(), normal(3, 4, 4, seed=3)
    with torch.no_grad():
        bias = model(torch.zeros(1, 2)).flatten()
        weight = (model(torch.eye(2)).flatten(1) - bias).T
    m = torch.linalg.inv(weight.T @ weight + model.sigma**2 * torch.eye(2))
    images = image.expand(1500, -1, -1, -1)
    with frozen(model):
        state, info = mcmc.run(kernel, lambda z: model.log_joint(z, images), normal(1500, 2), num_steps=40, rng=rng(1))
    assert info.acceptance_rate.mean() > 0.5
    check_moments(state.position, m @ weight.T @ (image.flatten() - bias), model.sigma**2 * m)


def linear_descriptor() -> Descriptor:
    """f(Y) = w · Y + c by two convolutions without an activation: p is N(s² w, s² I)."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 4, 2, 1), nn.Conv2d(6, 4, 3, padding=1), nn.Flatten(), nn.Linear(24, 1), nn.Flatten(0)]
    return Descriptor(nn.Sequential(*layers), reference_std=0.7)


@pytest.mark.parametrize("kernel", [mcmc.MALA(0.5), mcmc.HMC(0.4, 3), mcmc.Langevin(0.2)], ids=["MALA", "HMC", "ULA"])
def test_the_density_of_a_linear_descriptor(way, kernel):
    """Case 10; unadjusted dynamics has the variance s² / (1 − δ²/4s²)."""
    model, start = linear_descriptor(), 0.7 * normal(1500, 1, 4, 6)
    mean = model.reference_std**2 * mcmc.init(model, start[:1], 1.0).gradient.flatten()
    assert mean.abs().max() > 0.02
    with frozen(model):
        state, _ = mcmc.run(kernel, model.log_density, start, num_steps=40, rng=rng(1))
    unadjusted = kernel.target_acceptance is None
    variance = model.reference_std**2 / (1 - (0.2 / model.reference_std) ** 2 / 4 if unadjusted else 1)
    check_moments(state.position.flatten(1), mean, variance * torch.eye(24))


def generator_step() -> tuple[GeneratorLearner, float]:
    torch.manual_seed(0)
    learner = GeneratorLearner(Generator(networks.deconv(2, (16, 24), (12, 8)), 2, 0.3), num_steps=4)
    images = normal(3, 3, 16, 24).tanh().contiguous(memory_format=torch.channels_last)
    learner.begin(images, 3, rng=rng(1))
    return learner, learner.step(torch.arange(3), images, rng=rng(2)).loss


def descriptor_step() -> tuple[DescriptorLearner, float]:
    torch.manual_seed(0)
    model = Descriptor(networks.conv((16, 24), (8, 12), strides=1, channels=1), 0.4, scale=100.0)
    learner = DescriptorLearner(model, kernel=mcmc.Langevin(0.02), num_steps=4, data_noise=0.03)
    images = normal(3, 1, 16, 24).tanh().contiguous(memory_format=torch.channels_last)
    learner.begin(images, 3, rng=rng(1))
    return learner, learner.step(torch.arange(3), images, rng=rng(2)).loss


@pytest.mark.parametrize("step", [generator_step, descriptor_step])
def test_a_learners_step_is_that_of_pytorchs_own_layers(way, step, monkeypatch):
    """The loss, and the weights after Adam's step, whose size is that of the rate: they tell the gradients' signs."""
    learner, loss = step()
    monkeypatch.setattr(freezing, "dtypes", tuple)
    expected, expected_loss = step()
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    for name, weight in learner.model.state_dict().items():
        torch.testing.assert_close(weight, expected.model.state_dict()[name], rtol=1e-4, atol=1e-5)
