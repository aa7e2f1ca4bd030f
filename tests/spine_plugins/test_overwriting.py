"""What is there already stays, unless --overwrite is given: in everything that is ours."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
from click.testing import CliRunner, Result

from spine_plugins.__main__ import main
from stylegan2ada.checkpoints import save_network
from tests.spine_plugins.training.test_command import classifier, data
from tests.stylegan2ada.checkpoints.conftest import make_networks

SIZES = ["--size=64x64", "--workers=1"]


def said(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("verb", ["sheet", "zip", "dicom", "fig4", "report", "predict", "eval"])
def test_an_earlier_result_stays_unless_asked(
    verb: str, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = PIL.Image.new("L", (8, 8))  # the real sheet takes a second
    monkeypatch.setattr("spine_plugins.phantom.dataset.contact_sheet", lambda *_, **__: drawn)
    images, judge = data(tmp_path / "images.zip"), classifier(tmp_path / "s.safetensors")
    save_network(make_networks(channels=1, resolution=16), tmp_path / "n.pkl")
    common = [f"--classifier={judge}", f"--data={images}"]
    words, file = {
        "sheet": (["phantom", f"--sheet={tmp_path}/s.png", *SIZES], "s.png"),
        "zip": (["phantom", f"--zip={tmp_path}/p.zip", "--n=1", "--resolution=32", *SIZES], "p.zip"),
        "dicom": (["phantom", f"--out={tmp_path}/d", "--n=1", *SIZES], "d/factors.csv"),
        "fig4": (["figures", "fig4", f"--networks={tmp_path}/n.pkl", f"--data={images}",
                  f"--out={tmp_path}/f.png", "--per-class=1"], "f.png"),
        "report": (["report", run_dir, f"--out={tmp_path}/r.html"], "r.html"),
        "predict": (["classify", "predict", *common, f"--out={tmp_path}/p.csv"], "p.csv"),
        "eval": (["classify", "eval", *common, f"--outdir={tmp_path}/e", "--no-plots", "--resamples=100"],
                 "e/metrics.json"),
    }[verb]  # fmt: skip
    first = said(*words)
    assert first.exit_code == 0, first.output
    (tmp_path / file).write_bytes(b"somebody's")
    refused = said(*words)
    assert refused.exit_code == 2, refused.output
    assert "--overwrite" in refused.output.replace("\n", " ")
    assert (tmp_path / file).read_bytes() == b"somebody's"
    assert said(*words, "--overwrite").exit_code == 0
    assert (tmp_path / file).read_bytes() != b"somebody's"


def test_the_page_in_the_runs_own_folder_is_renewed(run_dir: Path) -> None:
    assert said("report", run_dir).exit_code == 0
    assert said("report", run_dir).exit_code == 0


def test_a_wrong_place_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spine_plugins.phantom.dataset.contact_sheet", lambda *_, **__: pytest.fail("drawn"))
    for place in ("/nope/x.png", str(tmp_path)):
        result = said("phantom", f"--sheet={place}")
        assert (result.exit_code, "is not a file in an existing folder" in result.output) == (2, True)
