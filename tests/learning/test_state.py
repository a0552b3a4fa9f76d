"""A learner's state as named tensors: saved and restored, with no effect on what follows."""

import math
from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from anasyn import (
    CooperativeLearner,
    DescriptorLearner,
    GeneratorLearner,
    LatentPriorLearner,
    RecoveryLearner,
    learn,
    mcmc,
)
from anasyn.learning import non_finite, prime, restore, tensors_of
from anasyn.models import Cooperative, Descriptor, DescriptorLadder, Generator, Ladder, LatentPrior, networks
from anasyn.models.levelled import LevelledConv


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = (torch.rand(5, 3, 8, 8, generator=rng()) * 2 - 1).contiguous(memory_format=torch.channels_last)


def generator_learner(seed: int) -> GeneratorLearner:
    torch.manual_seed(seed)
    return GeneratorLearner(Generator(networks.deconv(2, 8, (8, 6)), 2, sigma=0.3))


def descriptor_learner(seed: int, chains: mcmc.Chains | None = None) -> DescriptorLearner:
    torch.manual_seed(seed)
    model = Descriptor(networks.conv(8, (6, 8), strides=2), 0.4, scale=100.0)
    return DescriptorLearner(
        model, kernel=mcmc.MALA(0.01), num_steps=4, data_noise=0.03, chains=chains, chains_per_image=2
    )


def prior_learner(seed: int, chains: mcmc.Chains | None = None) -> LatentPriorLearner:
    torch.manual_seed(seed)
    prior = LatentPrior(networks.mlp(2, 8))
    torch.nn.init.normal_(prior.network[-2].weight)
    model = Generator(networks.deconv(2, 8, (8, 6)), 2, sigma=0.3, prior=prior)
    return LatentPriorLearner(model, num_prior_chains=7, prior_chains=chains)


def cooperative_learner(seed: int, kernel: mcmc.Kernel | None = None) -> CooperativeLearner:
    torch.manual_seed(seed)
    generator = Generator(networks.deconv(2, 8, (8, 6)), 2, sigma=0.3)
    model = Cooperative(generator, Descriptor(networks.conv(8, (6, 8), strides=2), 0.4, scale=100.0))
    return CooperativeLearner(model, kernel=kernel, num_steps=4, data_noise=0.03)


def recovery_learner(seed: int, labels: Sequence[str] | None = None) -> RecoveryLearner:
    torch.manual_seed(seed)
    network = LevelledConv(8, 3, (6, 8, 8), classes=len(set(labels or "a")))
    model = DescriptorLadder(network, Ladder.geometric(3, 0.1, 10.0))
    return RecoveryLearner(model, kernel=mcmc.MALA(0.5), num_steps=3, labels=labels)


LEARNERS = {
    "generator": generator_learner,
    "descriptor, cold": descriptor_learner,
    "descriptor, persistent": lambda seed: descriptor_learner(seed, mcmc.PersistentChains(mcmc.reference_noise(0.4))),
    "latent prior": prior_learner,
    "cooperative": cooperative_learner,
    "cooperative, adjusted": lambda seed: cooperative_learner(seed, mcmc.MALA(0.01)),
    "latent prior, cold": lambda seed: prior_learner(seed, mcmc.ColdChains(mcmc.reference_noise(1.0))),
    "recovery": recovery_learner,
    "recovery, classes": lambda seed: recovery_learner(seed, ["ab"[k % 2] for k in range(len(IMAGES))]),
}
learners = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS.keys())
OPTIONS = {"num_iterations": 20, "seed": 3, "batch_size": 3}


def begun(learner: GeneratorLearner | DescriptorLearner) -> GeneratorLearner | DescriptorLearner:
    learner.begin(IMAGES[:1], len(IMAGES), rng=rng(9))
    prime(learner.optimizer)
    return learner


def kept(learner: GeneratorLearner | DescriptorLearner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors_of(learner).items()}


def different(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


@learners
def test_another_learner_goes_on_as_the_first_does_and_is_not_tied_to_it(make):
    """Ten iterations, restored into another learner, and ten more equal twenty; the source does not change."""
    whole, first, second = make(0), make(0), begun(make(1))
    records = list(learn(whole, IMAGES, **OPTIONS))
    list(islice(learn(first, IMAGES, **OPTIONS), 10))
    assert first.iteration == 10
    source = tensors_of(first)
    before = kept(first)
    assert {name.split(".")[0] for name in different(before, tensors_of(second))} >= {"model", "optimizer"}
    restore(second, source)
    assert different(before, tensors_of(second)) == []
    second.iteration = 10
    again = list(learn(second, IMAGES, **OPTIONS))
    assert different(tensors_of(whole), tensors_of(second)) == []
    assert [record.loss for record in again] == [record.loss for record in records[10:]]
    assert different(before, tensors_of(first)) == []


@learners
def test_tensors_are_the_learner_s_own_and_keep_their_strides(make):
    """They are restored in place: references to a weight or a chain stay valid."""
    learner = make(0)
    list(learn(learner, IMAGES, **OPTIONS))
    own = tensors_of(learner)
    layout = {name: (tensor.data_ptr(), tensor.stride()) for name, tensor in own.items()}
    restore(learner, {name: torch.zeros_like(tensor) for name, tensor in own.items()})
    assert not any(tensor.any() for tensor in own.values())
    assert {name: (tensor.data_ptr(), tensor.stride()) for name, tensor in tensors_of(learner).items()} == layout


@learners
def test_tensors_have_a_name_each_from_the_start(make):
    """Weights, each weight's moments by the weight's name, chains; the same names before as after an iteration."""
    learner = begun(make(0))
    weights = [name for name, weight in learner.model.named_parameters() if weight.requires_grad]
    names = {f"optimizer.{name}.{slot}" for name in weights for slot in ("step", "exp_avg", "exp_avg_sq")}
    names |= {f"model.{name}" for name in learner.model.state_dict()}
    names |= {f"chains.{name}" for name in learner.chains.state_dict()}
    names |= learner.kept().keys()
    names |= {name for kept in learner.kept_of_images() for name in kept}
    assert tensors_of(learner).keys() == names
    list(islice(learn(learner, IMAGES, **OPTIONS), 1))
    assert tensors_of(learner).keys() == names


def test_a_missing_tensor_is_an_error():
    learner = begun(generator_learner(0))
    with pytest.raises(KeyError, match="positions"):
        restore(learner, {name: tensor for name, tensor in kept(learner).items() if name != "chains.positions"})


OPTIMIZERS = {
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.01, betas=(0.5, 0.999)),
    "AdamW": lambda weights: torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1),
    "Adam, weight decay": lambda weights: torch.optim.Adam(weights, lr=0.01, weight_decay=0.1),
    "AMSGrad": lambda weights: torch.optim.Adam(weights, lr=0.01, amsgrad=True),
    "SGD": lambda weights: torch.optim.SGD(weights, lr=0.01),
    "SGD, momentum": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.5),
    "SGD, Nesterov": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.5, nesterov=True, weight_decay=0.1),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_primed_optimiser_makes_the_steps_of_a_new_one(make):
    """Bit for bit; and being primed moves no weight."""
    torch.manual_seed(0)
    plain, primed = (nn.Linear(4, 3) for _ in range(2))
    primed.load_state_dict(plain.state_dict())
    optimizers = [make(list(plain.parameters())), make(list(primed.parameters()))]
    prime(optimizers[1])
    assert torch.equal(plain.weight, primed.weight)
    assert all(weight.grad is None for weight in primed.parameters())
    assert not any(slot.any() for kept in optimizers[1].state.values() for slot in kept.values() if slot is not None)
    for seed in range(4):
        x = torch.randn(6, 4, generator=rng(seed))
        for network, optimizer in zip((plain, primed), optimizers, strict=True):
            optimizer.zero_grad()
            network(x).square().mean().backward()
            optimizer.step()
        assert torch.equal(plain.weight, primed.weight)
        assert torch.equal(plain.bias, primed.bias)


@learners
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
def test_a_tensor_that_is_not_finite_is_named(make, value):
    learner = begun(make(0))
    assert non_finite(learner) is None
    for name, tensor in tensors_of(learner).items():
        if tensor.is_floating_point() and tensor.numel():
            before = tensor.detach().clone()
            with torch.no_grad():
                tensor.view(-1)[-1:].fill_(value) if tensor.is_contiguous() else tensor[-1].fill_(value)
            assert non_finite(learner) == name
            with torch.no_grad():
                tensor.copy_(before)
    assert non_finite(learner) is None
