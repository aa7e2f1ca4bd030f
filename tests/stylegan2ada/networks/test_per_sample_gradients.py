"""Per-sample gradients through D by torch.func, first order and R1, against a loop over samples.

Minibatch-stddev is off: with it no sample has a gradient of its own.
"""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import softplus

from stylegan2ada.networks.stylegan2 import Discriminator
from tests.stylegan2ada.networks.comparing import relative_error

GAMMA = 10


@pytest.fixture(params=["resnet", "skip", "orig"])
def setting(request):
    torch.manual_seed(0)
    D = Discriminator(
        2,
        16,
        3,
        architecture=request.param,
        channel_base=128,
        channel_max=8,
        conv_clamp=256,
        mapping_kwargs={"num_layers": 2},
        epilogue_kwargs={"mbstd_num_channels": 0},
    )
    img, c = torch.randn([3, 3, 16, 16]), torch.nn.functional.one_hot(torch.tensor([0, 1, 1]), 2).float()
    return D, dict(D.named_parameters()), img, c


def functional_loss(D, has_r1):
    """loss(parameters, one image, one label), for torch.func."""

    def loss(parameters, img, c):
        def logit(x):
            return functional_call(D, parameters, (x[None], c[None])).squeeze()

        adversarial = softplus(-logit(img))
        return adversarial + GAMMA / 2 * grad(logit)(img).square().sum() if has_r1 else adversarial

    return loss


@pytest.mark.parametrize("has_r1", [False, True])
def test_vmap_equals_a_loop(setting, has_r1):
    D, parameters, img, c = setting
    detached = {key: value.detach() for key, value in parameters.items()}
    together = vmap(grad(functional_loss(D, has_r1)), in_dims=(None, 0, 0))(detached, img, c)

    for n in range(len(img)):
        x = img[n : n + 1].clone().requires_grad_(True)
        logits = D(x, c[n : n + 1])
        loss = softplus(-logits).sum()
        if has_r1:
            (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
            loss = loss + GAMMA / 2 * slope.square().sum()
        alone = torch.autograd.grad(loss, list(parameters.values()))
        for (key, values), expected in zip(together.items(), alone):
            assert relative_error(values[n], expected) < 1e-5, (key, n)


def test_per_sample_gradients_add_up_to_the_batch(setting):
    """With R1 included: mean over samples of the per-sample gradients = gradient of the mean loss."""
    D, parameters, img, c = setting
    detached = {key: value.detach() for key, value in parameters.items()}
    together = vmap(grad(functional_loss(D, True)), in_dims=(None, 0, 0))(detached, img, c)
    x = img.clone().requires_grad_(True)
    logits = D(x, c)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    loss = (softplus(-logits).flatten() + GAMMA / 2 * slope.square().sum([1, 2, 3])).mean()
    for (key, values), expected in zip(
        together.items(), torch.autograd.grad(loss, list(parameters.values()))
    ):
        assert relative_error(values.mean(0), expected) < 1e-5, key


def test_minibatch_stddev_does_mix_samples():
    """The reason why it must be off: another sample changes this one's gradient."""
    torch.manual_seed(0)
    D = Discriminator(0, 16, 3, channel_base=128, channel_max=8)
    img = torch.randn([4, 3, 16, 16], requires_grad=True)
    (slope,) = torch.autograd.grad(D(img, None)[0], img)
    assert slope[1:].abs().max() > 0
