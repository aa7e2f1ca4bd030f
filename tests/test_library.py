"""What a notebook may rely on: the names of both packages, found lazily, each with an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import spine_plugins as sp
import stylegan2ada as sg
from spine_plugins.classifier import new_classifier, save_classifier
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.losses import registry
from stylegan2ada.training import run_files

ROOT = Path(__file__).parent.parent
PACKAGES = {"stylegan2ada": sg, "spine_plugins": sp}
PROMISED = {  # typed from the contract, not taken from the packages
    "stylegan2ada": {
        "load_network", "save_network", "Generator", "Discriminator", "AugmentPipe", "StyleGAN2Loss",
        "ImageFolderDataset", "register_loss", "register_term", "find_loss", "Hook", "train_network",
        "generate_images", "project", "metrics", "data", "stats",
    },
    "spine_plugins": {
        "load_classifier", "read_radiograph", "convert_dicom", "draw_phantoms", "SpineGANLoss", "statistics",
        "audit", "privacy",
    },
}  # fmt: skip
NAMES = [(package, name) for package, names in PROMISED.items() for name in sorted(names)]
each_package = pytest.mark.parametrize("package", PROMISED)
each_name = pytest.mark.parametrize(("package", "name"), NAMES)


@each_package
def test_the_public_names_are_those_of_the_contract(package: str) -> None:
    assert set(PACKAGES[package].__all__) == PROMISED[package]
    assert len(PACKAGES[package].__all__) == len(PROMISED[package])


@each_package
def test_dir_lists_what_may_be_used(package: str) -> None:
    assert PROMISED[package] <= set(dir(PACKAGES[package]))


@each_package
def test_import_is_quick_and_loads_nothing_heavy(
    package: str, record_property: Callable[[str, object], None]
) -> None:
    heavy = ["torch", "numpy", "scipy", "PIL", "pydicom", "matplotlib", "click"]
    code = (
        "import json, sys, time; start = time.perf_counter(); "
        f"import {package}; seconds = time.perf_counter() - start; dir({package}); {package}.__all__; "
        f"print(json.dumps([seconds, [name for name in {heavy} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(done.stdout)
    record_property("seconds", seconds)  # reported, not asserted: machines differ
    assert loaded == []


@each_name
def test_every_name_leads_to_something(package: str, name: str) -> None:
    found = getattr(PACKAGES[package], name)
    assert isinstance(found, ModuleType) or callable(found)
    own = found.__name__ if isinstance(found, ModuleType) else found.__module__
    assert own.split(".")[0] == package


@each_package
def test_editors_and_mypy_see_the_same_names(package: str) -> None:
    """The imports for type checkers bring each public name, from where it is found at run time."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.module is not None
        seen |= {alias.name: node.module for alias in node.names}
    assert set(seen) == PROMISED[package]
    hidden = [ast.unparse(node) for node in tree.body if isinstance(node, ast.If) and node is not block]
    assert ["__getattr__" in text for text in hidden] == [True], "seen, it would let misspelt names pass"
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(PACKAGES[package], name), name


@each_package
def test_no_name_hides_a_file_of_the_same_name(package: str) -> None:
    """`package.NAME` would be one thing or another, by what was imported before."""
    for module in pkgutil.iter_modules(PACKAGES[package].__path__):
        if module.name in PROMISED[package]:
            found = getattr(PACKAGES[package], module.name)
            assert found is importlib.import_module(f"{package}.{module.name}"), module.name


def test_train_is_the_module_of_the_command() -> None:

    assert isinstance(sg.train, ModuleType)
    assert "train" not in PROMISED["stylegan2ada"], "hence train_network"


@pytest.mark.parametrize(
    ("command", "words"),
    [("train", "sg.train_network"), ("generate", "sg.generate_images"), ("projector", "sg.project")],
)
def test_a_command_that_is_called_says_what_to_call(command: str, words: str) -> None:
    for module in (vars(sg)["__getattr__"](command), importlib.import_module(f"stylegan2ada.{command}")):
        with pytest.raises(TypeError, match=rf"{command} is the module of a command; {words}"):
            module("images.zip", "runs")


def test_a_run_folder_is_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no network yet"):
        sg.load_network(tmp_path)
    for kimg in (0, 1):
        G = sg.Generator(8, 2, 8, 16, 1, synthesis_kwargs={"channel_base": 64, "channel_max": 4 << kimg})
        sg.save_network(
            {"G_ema": G, "card": {"label_names": ["a", "b"]}}, tmp_path / run_files.snapshot(kimg)
        )
    networks = sg.load_network(tmp_path)
    assert networks["card"] is not None and networks["G_ema"] is not None
    assert networks["card"]["origin"] == str(tmp_path / run_files.snapshot(1))
    drawn = [sg.generate_images(networks["G_ema"], [3], classes=k, noise="const") for k in ("b", 1, "a")]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'stylegan2ada' has no attribute 'load_networks'"):
        _ = sg.load_networks  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", ["stylegan2ada.metrics", "stylegan2ada.data", "spine_plugins.privacy"])
def test_rooms_find_their_modules(room: str) -> None:
    module = importlib.import_module(room)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


def test_importing_the_plugins_makes_the_spine_loss_known() -> None:
    code = (
        "from stylegan2ada.losses import registry; assert 'spine' not in registry.loss_names(); "
        "import spine_plugins; assert 'spine' in registry.loss_names() and 'spine' in registry.term_names()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Examples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples find where they run: 16 images, a network, a classifier, radiographs."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    with DatasetWriter(folder / "images.zip") as writer:
        for i in range(16):
            writer.add(rng.integers(0, 255, size=(8, 8), dtype=np.uint8), label=i % 2)
    torch.manual_seed(0)
    narrow = {"channel_base": 64, "channel_max": 4}
    shape = {"c_dim": 2, "img_resolution": 8, "img_channels": 1}
    G = sg.Generator(z_dim=16, w_dim=16, synthesis_kwargs=narrow, mapping_kwargs={"num_layers": 2}, **shape)
    D = sg.Discriminator(**shape, **narrow)
    sg.save_network({"G": G, "D": D, "G_ema": G}, folder / "network.pkl")
    classifier = new_classifier("cnn13k", "binary", ["normal", "abnormal"])
    save_classifier(classifier, folder / "classifier.safetensors")
    return folder


@each_name
def test_the_example_of(
    package: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(folder / "cache"))
    for names in (registry.LOSSES, registry.TERMS):
        monkeypatch.setattr(names, "table", dict(names.table))
    found = getattr(PACKAGES[package], name)
    text = found.__doc__ or ""
    own = {} if isinstance(found, ModuleType) else vars(sys.modules[found.__module__])  # as doctest has it
    given = {**own, "sg": sg, "sp": sp, "np": np, "torch": torch}
    example = doctest.DocTestParser().get_doctest(text, given, f"{package}.{name}", None, None)
    assert example.examples, f"{package}.{name} has no example"
    torch.manual_seed(0)
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert result.failed == 0, capsys.readouterr().out
