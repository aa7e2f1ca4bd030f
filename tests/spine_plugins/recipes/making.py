"""Recipes run by their command line, small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner, Result

from spine_plugins.__main__ import main
from spine_plugins.recipes import skeleton
from stylegan2ada.processes import StopRequest


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, ["recipe", *map(str, words)])


def run(*words: object) -> dict[str, Any]:
    """The JSON object of a command that must succeed."""
    result = invoke(*words, "--json=-")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(*words: object, code: int = 2) -> str:
    """The sentence of a command that must refuse."""
    result = invoke(*words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def check_exact(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *words: object, steps: int = 4, stop_after: int = 2
) -> None:
    """Trained in one go and stopped half way: the same weights, to the bit."""
    run(*words, f"--steps={steps}", f"--out={folder / 'whole'}")
    count = 0
    original: Callable[..., None] = skeleton.Resumable.save_if_asked_to_stop

    def stop(self: skeleton.Resumable, *rest: Any) -> None:
        nonlocal count
        count += 1
        if count == stop_after:
            self.stop.signal = "SIGTERM"
        original(self, *rest)

    assert isinstance(StopRequest().signal, str | None)
    with monkeypatch.context() as patch:
        patch.setattr(skeleton.Resumable, "save_if_asked_to_stop", stop)
        refusal(*words, f"--steps={steps}", f"--out={folder / 'parts'}", code=75)
    assert "--continue" in refusal(*words, f"--steps={steps}", f"--out={folder / 'parts'}")
    run(*words, f"--steps={steps}", f"--out={folder / 'parts'}", "--continue")
    a, b = (safetensors.torch.load_file(folder / name / skeleton.WEIGHTS) for name in ("whole", "parts"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not (folder / "parts" / skeleton.STATE).exists()
