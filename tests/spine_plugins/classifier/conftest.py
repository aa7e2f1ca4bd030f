from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spine_plugins.classifier.command import classify
from spine_plugins.classifier.fitting import Recipe, run
from tests.spine_plugins.classifier.making import write_spots


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of bright spots, trained once: c.safetensors, beside train.zip and test.zip."""
    folder = tmp_path_factory.mktemp("classifier")
    write_spots(folder / "train.zip", 150, groups="a")
    write_spots(folder / "test.zip", 60, seed=5, groups="b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNNLIB_CACHE_DIR", str(folder / "cache"))
        run(
            Recipe(
                data=str(folder / "train.zip"),
                test=str(folder / "test.zip"),
                out=str(folder / "c.safetensors"),
                arch="cnn13k",
                epochs=3,
                batch=16,
                lr=3e-3,
                device="cpu",
            ),
            log=lambda line: None,
        )
    return folder / "c.safetensors"


@pytest.fixture
def command():
    """Run `spinegan classify ...` in this process."""

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(classify, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
