"""Single layers against recorded numbers and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegan2ada.networks import stylegan2
from stylegan2ada.networks.stylegan2 import MinibatchStdLayer, modulated_conv2d, normalize_2nd_moment
from stylegan2ada.ops import upfirdn2d
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.networks.comparing import assert_forward, assert_gradient

CASES = golden_json("networks/layers.json")
GOLDEN = golden_arrays("networks/layers.npz")


@pytest.mark.parametrize(
    "entry", [case for case in CASES if case["key"].startswith("c")], ids=lambda e: e["key"]
)
def test_modulated_convolution(entry):
    key = entry["key"]
    x, w, styles = (torch.tensor(GOLDEN[f"{key}/{name}"]).requires_grad_() for name in ("x", "w", "styles"))
    kwargs = dict(entry["kwargs"])
    kwargs["resample_filter"] = upfirdn2d.setup_filter(kwargs["resample_filter"])
    noise = torch.tensor(GOLDEN[f"{key}/noise"]) if entry["noise"] else None
    assert list(w.shape[2:]) == [entry["kernel"]] * 2

    unfused = modulated_conv2d(x, w, styles, noise=noise, fused_modconv=False, **kwargs)
    assert_forward(unfused, GOLDEN[f"{key}/y_unfused"])
    assert_forward(
        modulated_conv2d(x, w, styles, noise=noise, fused_modconv=True, **kwargs), GOLDEN[f"{key}/y_fused"]
    )
    found = torch.autograd.grad((unfused * torch.tensor(GOLDEN[f"{key}/dy"])).sum(), [x, w, styles])
    for gradient, name in zip(found, ("dx", "dw", "dstyles")):
        assert_gradient(gradient, GOLDEN[f"{key}/{name}"], name)

    for n in range(len(x)):  # one sample: the style is folded into the kernel
        own = noise[n : n + 1] if entry["noise"] == "full" else noise
        one = modulated_conv2d(x[n : n + 1], w, styles[n : n + 1], noise=own, fused_modconv=True, **kwargs)
        assert_forward(one, GOLDEN[f"{key}/y_fused"][n : n + 1])


@pytest.mark.parametrize(
    "entry", [case for case in CASES if case["key"].startswith("mb")], ids=lambda e: e["key"]
)
def test_minibatch_stddev(entry):
    layer = MinibatchStdLayer(entry["group_size"], entry["num_channels"])
    assert_forward(layer(torch.tensor(GOLDEN[f"{entry['key']}/x"])), GOLDEN[f"{entry['key']}/y"])


def test_minibatch_stddev_by_brute_force():
    x = torch.randn([6, 4, 3, 3], dtype=torch.float64)
    y = MinibatchStdLayer(3, 2)(x).numpy()
    for sample in range(6):
        members = x.numpy()[[n for n in range(6) if n % 2 == sample % 2]]
        for band in range(2):
            spread = np.sqrt(members[:, 2 * band : 2 * band + 2].var(axis=0) + 1e-8).mean()
            assert np.allclose(y[sample, 4 + band], spread, rtol=1e-12)


def test_unit_mean_square():
    assert_forward(normalize_2nd_moment(torch.tensor(GOLDEN["norm2/x"])), GOLDEN["norm2/y"])


@pytest.mark.parametrize("n", [1, 3])
def test_no_per_sample_kernels(n):
    """Demodulation must not build [N, O, I, k, k]: no tensor anywhere is larger than the kernel."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    x = torch.randn([n, 16, 4, 4], requires_grad=True)
    w, styles = torch.randn([16, 16, 3, 3], requires_grad=True), torch.randn([n, 16], requires_grad=True)
    with Sizes():
        for fused in (True, False):
            modulated_conv2d(x, w, styles, padding=1, fused_modconv=fused).square().sum().backward()
    assert largest <= w.numel()


@pytest.mark.parametrize("trainable", [True, False])
def test_plain_convolution_against_torch(trainable):
    layer = stylegan2.Conv2dLayer(3, 5, 3, activation="lrelu", conv_clamp=0.5, trainable=trainable)
    assert len(list(layer.parameters())) == (2 if trainable else 0)
    x = torch.randn([2, 3, 6, 6])
    plain = torch.nn.functional.conv2d(x, layer.weight / np.sqrt(27), layer.bias, padding=1)
    expected = torch.nn.functional.leaky_relu(plain, 0.2) * np.sqrt(2) * 0.7
    torch.testing.assert_close(layer(x, gain=0.7), expected.clamp(-0.35, 0.35), rtol=1e-5, atol=1e-6)


def test_equalised_learning_rate():
    torch.manual_seed(0)
    layer = stylegan2.FullyConnectedLayer(400, 300, lr_multiplier=0.01, bias_init=2)
    assert abs(float(layer.weight.detach().std()) - 100) < 1
    x = torch.randn([64, 400])
    torch.testing.assert_close(layer(x), x @ layer.weight.t() * 0.01 / 20 + 2 * 0.01, rtol=1e-4, atol=1e-5)
    assert stylegan2.FullyConnectedLayer(4, 3, bias=False).bias is None
