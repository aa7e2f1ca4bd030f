"""Every file of networks/ runs as the original's loader runs it: bare text, with only torch_utils around."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from pathlib import Path

import pytest
import torch

from stylegan2ada.networks import persistent_class, stylegan2
from stylegan2ada.ops import bias_act, conv2d_resample, set_default, upfirdn2d

FILES = sorted(
    path for path in Path(inspect.getfile(stylegan2)).parent.glob("*.py") if path.stem != "__init__"
)


def _with_signature_of_upstream(function, names):
    """The function, refusing arguments that the original's ops do not know."""

    def call(*args, **kwargs):
        assert set(kwargs) <= set(names), set(kwargs) - set(names)
        assert len(args) <= len(names)
        return function(*args, **kwargs)

    return call


@pytest.fixture
def official_surroundings(monkeypatch):
    """torch_utils with stand-ins of the ops, and nothing of this project importable by the text."""
    act_names = ["x", "b", "dim", "act", "alpha", "gain", "clamp", "impl"]
    fir_names = ["x", "f", "up", "down", "padding", "flip_filter", "gain", "impl"]
    conv_names = ["x", "w", "f", "up", "down", "padding", "groups", "flip_weight", "flip_filter"]
    stand_ins = {
        "bias_act": types.SimpleNamespace(
            bias_act=_with_signature_of_upstream(bias_act.bias_act, act_names),
            activation_funcs=bias_act.activation_funcs,
        ),
        "conv2d_resample": types.SimpleNamespace(
            conv2d_resample=_with_signature_of_upstream(conv2d_resample.conv2d_resample, conv_names)
        ),
        "upfirdn2d": types.SimpleNamespace(
            setup_filter=upfirdn2d.setup_filter,
            upsample2d=_with_signature_of_upstream(upfirdn2d.upsample2d, fir_names),
            downsample2d=_with_signature_of_upstream(upfirdn2d.downsample2d, fir_names),
        ),
    }
    package, inner = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.ops")
    persistence = types.ModuleType("torch_utils.persistence")
    persistence.persistent_class = persistent_class
    for name, stand_in in stand_ins.items():
        setattr(inner, name, stand_in)
    for name, module in {
        "torch_utils": package,
        "torch_utils.ops": inner,
        "torch_utils.persistence": persistence,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in [key for key in sys.modules if key.split(".")[0] == "stylegan2ada"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing any of it fails


def test_text_runs_alone_and_computes_the_same(official_surroundings):
    set_default("fast")  # what an official checkout computes with is plain: equal bits need the same here
    text = inspect.getsource(stylegan2)
    module = types.ModuleType("_imported_module_0123456789abcdef")
    exec(compile(text, "<from a pickle>", "exec"), module.__dict__)
    torch.manual_seed(0)
    kwargs = {"z_dim": 8, "c_dim": 2, "w_dim": 8, "img_resolution": 16, "img_channels": 3}
    kwargs["synthesis_kwargs"] = {"channel_base": 64, "channel_max": 8, "num_fp16_res": 1, "conv_clamp": 256}
    theirs, ours = module.Generator(**kwargs).eval(), stylegan2.Generator(**kwargs).eval()
    theirs.load_state_dict(ours.state_dict())
    z, c = torch.randn([2, 8]), torch.eye(2)
    with torch.no_grad():
        same = (
            theirs(z, c, truncation_psi=0.7, noise_mode="const"),
            ours(z, c, truncation_psi=0.7, noise_mode="const"),
        )
    assert torch.equal(*same)
    D_kwargs = {"c_dim": 2, "img_resolution": 16, "img_channels": 3, "channel_base": 64, "channel_max": 8}
    D, own_D = (
        module.Discriminator(**D_kwargs, architecture="skip"),
        stylegan2.Discriminator(**D_kwargs, architecture="skip"),
    )
    D.load_state_dict(own_D.state_dict())
    assert torch.equal(D(same[0], c), own_D(same[0], c))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_are_torch_the_standard_library_and_the_seam(path):
    tree = ast.parse(path.read_text())
    outside_seam = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    roots = {
        (alias.name if isinstance(node, ast.Import) else node.module).split(".")[0]
        for node in outside_seam
        for alias in node.names
    }
    assert roots <= {"__future__", "torch", "numpy"} | set(sys.stdlib_module_names)
    everywhere = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    seam = next(node for node in tree.body if isinstance(node, ast.If))
    assert len(everywhere) == len(outside_seam) + len(seam.body) + len(seam.orelse)


def test_constructor_arguments_are_recorded_as_given():
    options = {"num_layers": 2}
    G = stylegan2.Generator(8, 0, c := 8, img_resolution=8, img_channels=1, mapping_kwargs=options)
    options["num_layers"] = 99
    assert G.init_args == (8, 0, c)
    assert G.init_kwargs == {"img_resolution": 8, "img_channels": 1, "mapping_kwargs": {"num_layers": 2}}
    G.init_kwargs["img_channels"] = 5  # a copy
    assert G.init_kwargs["img_channels"] == 1
    assert G.mapping.fc0.init_args == (8, 8)

    @persistent_class
    class Wider(stylegan2.FullyConnectedLayer):
        def __init__(self, width):
            super().__init__(width, 2 * width)

    assert Wider(3).init_args == (3,)
