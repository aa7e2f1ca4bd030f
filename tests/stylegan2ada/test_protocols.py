"""Our classes play the parts that protocols.py describes, and the packages tell that they are typed."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stylegan2ada
from stylegan2ada import protocols
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.metrics.detectors import tiny_network
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator

ROOT = Path(stylegan2ada.__file__).parent.parent
BUILD = """
import sys, warnings
warnings.simplefilter("ignore")
import setuptools
distribution = setuptools.Distribution()
distribution.parse_config_files(["pyproject.toml"])
distribution.include_package_data = False  # it would write an .egg-info
command = distribution.get_command_obj("build_py")
command.ensure_finalized()
print(*[f"{package}/{name}" for package, _, _, names in command.data_files for name in names])
"""


def members(part: type) -> set[str]:
    """What a protocol asks for: attributes and methods, its parents' included."""
    asked: set[str] = set()
    for cls in part.__mro__:
        if cls.__module__ == protocols.__name__:
            asked |= {
                *inspect.get_annotations(cls),
                *(n for n in vars(cls) if inspect.isroutine(vars(cls)[n])),
            }
            asked |= {name for name, value in vars(cls).items() if isinstance(value, property)}
    return {name for name in asked if name == "__call__" or not name.startswith("_")}


def players() -> list[tuple[type, object]]:
    G = Generator(4, 2, 4, 8, 1, synthesis_kwargs={"channel_base": 64, "channel_max": 8})
    D = Discriminator(2, 8, 1, channel_base=64, channel_max=8)
    return [
        (protocols.Generator, G),
        (protocols.Mapping, G.mapping),
        (protocols.Synthesis, G.synthesis),
        (protocols.Discriminator, D),
        (protocols.AugmentPipe, AugmentPipe()),
        (protocols.FeatureNetwork, tiny_network()),
        (protocols.Loss, StyleGAN2Loss(torch.device("cpu"), G.mapping, G.synthesis, D)),
        (protocols.Stateful, StyleGAN2Loss(torch.device("cpu"), G.mapping, G.synthesis, D)),
        (protocols.LabelSource, Dataset("empty", [1, 1, 8, 8])),
    ]


@pytest.mark.parametrize(("part", "player"), players(), ids=lambda x: getattr(x, "__name__", ""))
def test_our_classes_have_all_that_their_part_asks_for(part: type, player: object) -> None:
    asked = members(part)
    assert asked
    assert not [name for name in asked if not hasattr(player, name)]


@pytest.mark.parametrize(("part", "player"), players(), ids=lambda x: getattr(x, "__name__", ""))
def test_methods_take_the_arguments_of_their_part(part: type, player: object) -> None:
    for name in members(part):
        is_torchs_own = name != "__call__" and hasattr(torch.nn.Module, name)
        if is_torchs_own or not inspect.isfunction(getattr(part, name, None)):
            continue
        method = getattr(player, "forward" if name == "__call__" else name)
        here = inspect.signature(method).parameters
        for asked in list(inspect.signature(getattr(part, name)).parameters.values())[1:]:
            taken = here.values() if asked.kind is asked.VAR_KEYWORD else [here.get(asked.name)]
            assert any(own is not None and own.kind is asked.kind for own in taken), (name, asked)


def test_wheels_contain_the_marks_of_typed_packages() -> None:
    pytest.importorskip("setuptools")
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"stylegan2ada/py.typed", "spine_plugins/py.typed"} <= set(done.stdout.split())


def test_protocols_need_no_torch() -> None:
    code = "import sys, stylegan2ada.protocols; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
