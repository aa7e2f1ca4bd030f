"""Cards: read, checked against their weights and judged, all without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.__main__ import main
from spine_plugins.classifier.architectures import BUILDERS
from spine_plugins.classifier.cards import card_path, read_card, write_card
from spine_plugins.classifier.defaults import ARCHITECTURES
from stylegan2ada.checkpoints import save_network
from stylegan2ada.errors import MissingError
from tests.stylegan2ada.checkpoints.conftest import make_networks

ROOT = Path(__file__).parents[3]


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_torch_to_read_a_card_or_to_doubt_it(trained: Path) -> None:
    code = (
        "import sys\n"
        "from spine_plugins.classifier import answers, cards, defaults, evaluation, gate, recipe\n"
        f"card = cards.read_card({str(trained)!r})\n"
        "print(card['class_names'], gate.doubts(card), 'torch' in sys.modules)\n"
    )
    assert in_a_new_process(code) == "['normal', 'abnormal'] [] False\n"


def test_a_card_belongs_to_one_file(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    card = read_card(trained)
    write_card(card, path)
    assert card_path(path).read_bytes() == card_path(trained).read_bytes()
    with pytest.raises(MissingError, match="c.safetensors does not exist; train one"):
        read_card(path)
    assert read_card(path, check_weights=False) == card
    path.write_bytes(trained.read_bytes()[:-1])
    with pytest.raises(MissingError, match="is of another file than .* copy both"):
        read_card(str(path))
    path.write_bytes(trained.read_bytes())
    assert read_card(str(path)) == card


def test_what_is_no_card_is_refused_without_looking_at_weights(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    for content, sentence in (("{", "not valid JSON"), ("[]", "not the card"), ("{}", "not the card")):
        card_path(path).write_text(content)
        with pytest.raises(MissingError, match=sentence):
            read_card(path, check_weights=False)
    card_path(path).write_text(
        json.dumps({"format": "spinegan-classifier", "task": "binary", "arch": "cnn13k", "format_version": 2})
    )
    with pytest.raises(MissingError, match="newer version"):
        read_card(path, check_weights=False)


def test_every_architecture_of_the_table_can_be_built() -> None:
    assert BUILDERS.keys() == ARCHITECTURES.keys()


def test_a_classifier_given_as_a_network_and_a_network_given_as_a_classifier(
    trained: Path, tmp_path: Path
) -> None:
    """Both are .safetensors with a .json beside: each says what the other is."""
    out = tmp_path / "out"
    words = ["generate", f"--network={trained}", "--seeds=0", f"--outdir={out}"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2, result.output
    assert "cannot be used as a network file: it is a classifier, not a generator" in result.output
    assert not out.exists()
    save_network(make_networks(channels=1), tmp_path / "n.safetensors")
    with pytest.raises(MissingError, match=r"n\.json is not the card of a SpineClassifier"):
        read_card(tmp_path / "n.safetensors")
