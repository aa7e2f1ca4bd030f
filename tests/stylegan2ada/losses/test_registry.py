"""Names, import paths, and clear answers to wrong ones."""

from __future__ import annotations

import sys
import types

import pytest

from stylegan2ada.errors import UserError
from stylegan2ada.losses import registry, terms
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.losses.registry import find_loss, find_term, register_loss, register_term
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss


@pytest.fixture(autouse=True)
def _own_tables(monkeypatch):
    monkeypatch.setattr(registry.LOSSES, "table", dict(registry.LOSSES.table))
    monkeypatch.setattr(registry.TERMS, "table", {})


@pytest.fixture
def plugin(monkeypatch):
    module = types.ModuleType("my_plugin_of_the_test")
    module.MyLoss = type("MyLoss", (), {})
    module.number = 3

    def make(weight=0.5, **options):
        return types.SimpleNamespace(name="mine", weight=weight, reduction="mean", options=options)

    module.make = make
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_a_loss(name):
    assert find_loss(name) is StyleGAN2Loss


def test_registered_names_and_import_paths(plugin):
    register_loss("mine", "my_plugin_of_the_test:MyLoss")
    assert find_loss("mine") is find_loss("my_plugin_of_the_test.MyLoss") is plugin.MyLoss
    assert find_loss("my_plugin_of_the_test:MyLoss") is plugin.MyLoss
    assert "mine" in registry.loss_names()


def test_registering_imports_nothing():
    register_loss("later", "module_that_does_not_exist:Loss")
    with pytest.raises(UserError, match="module_that_does_not_exist cannot be found"):
        find_loss("later")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "not known; use one of: .*stylegan2"),
        ("no_such_package.Loss", "cannot be found"),
        ("my_plugin_of_the_test.Missing", "no class or function Missing"),
        ("my_plugin_of_the_test.number", "no class or function number"),
    ],
)
def test_wrong_names(name, message, plugin):
    with pytest.raises(UserError, match=message):
        find_loss(name)


def test_a_broken_plugin_shows_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin_of_the_test.py").write_text("import something_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_that_is_not_installed"):
        find_loss("broken_plugin_of_the_test.Loss")


def test_terms_with_and_without_weight(plugin):
    register_term("mine", "my_plugin_of_the_test:make")
    assert find_term("mine") is plugin.make
    assert terms.make_term("mine").weight == 0.5
    assert terms.make_term("mine:0.25", device="cpu").weight == 0.25
    assert terms.make_term("mine:0.25", device="cpu").options == {"device": "cpu"}
    assert terms.make_term("my_plugin_of_the_test:make").weight == 0.5  # a path, not a weight
    assert terms.make_term("my_plugin_of_the_test:make:2").weight == 2
    for bad in ("mine:nan", "mine:-1", "mine:inf"):
        with pytest.raises(UserError, match="weight must be"):
            terms.make_term(bad)
    with pytest.raises(UserError, match="term 'other' is not known; use one of: mine"):
        terms.make_term("other:1")
