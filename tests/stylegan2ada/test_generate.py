"""generate: what a synthetic set says of itself, numbers for programs, and the same pixels in a notebook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada import generate, provenance, synthesis
from stylegan2ada.checkpoints import load_network, save_network
from stylegan2ada.checkpoints.cards import FOREIGN_LICENCE
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.files import sha256_file
from tests.golden_data import golden_path
from tests.stylegan2ada.checkpoints.conftest import make_networks
from tests.stylegan2ada.test_image_commands import COND16, GREY16, RGB32, numbers, ok, read, run

ROOT = Path(__file__).parents[2]

# ---------------------------------------------------------------- where a synthetic set comes from


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A small conditional network, saved with the card that the snapshots of a run have."""
    networks = make_networks(resolution=16, c_dim=3)
    networks["card"] = {
        "label_names": ["normal", "fracture", "spondylolysis"], "dataset": "spine-train",
        "trained_by": "spinegan", "kimg": 12.5, "licence": None,
        "starts_from": [{"origin": "/home/me/ffhq.pkl", "sha256": "0" * 64, "licence": "non-commercial"}],
    }  # fmt: skip
    save_network(networks, tmp_path / "network-snapshot-000012.pkl")
    return tmp_path / "network-snapshot-000012.pkl"


def drawn_set(network: Path, dest: Path, *flags: str) -> tuple[ImageFolderDataset, dict]:
    """The data set and its card."""
    ok(run(generate, f"--network={network}", "--per-class=2", f"--outdir={dest}", *flags))
    return ImageFolderDataset(dest, use_labels=True), json.loads(
        dest.with_name(f"{dest.stem}_card.json").read_text()
    )


def test_a_synthetic_set_keeps_the_class_names_of_its_network(trained: Path, tmp_path: Path) -> None:
    names = ["normal", "fracture", "spondylolysis"]
    dataset, card = drawn_set(trained, tmp_path / "all.zip")
    assert dataset.label_names == names == card["label_names"]
    dataset, card = drawn_set(trained, tmp_path / "one.zip", "--class=1")
    assert dataset.label_names == names == card["label_names"]
    dataset, card = drawn_set(golden_path(f"{COND16}.pkl"), tmp_path / "nameless.zip")
    assert dataset.label_names is None
    assert "label_names" not in card


def test_names_that_do_not_fit_the_classes_are_not_passed_on(tmp_path: Path) -> None:
    networks = make_networks(resolution=16, c_dim=3)
    for number, names in enumerate((["a", "b"], "abc")):
        networks["card"] = {"label_names": names}
        save_network(networks, tmp_path / "net.pkl")
        dataset, card = drawn_set(tmp_path / "net.pkl", tmp_path / f"{number}.zip")
        assert dataset.label_names is None
        assert "label_names" not in card


def test_a_synthetic_set_says_what_its_network_was_trained_on(trained: Path, tmp_path: Path) -> None:
    dataset, card = drawn_set(trained, tmp_path / "set.zip", "--seeds=40-49", "--trunc=0.7")
    assert card["provenance"] == {
        "dataset": "spine-train", "trained_by": "spinegan", "kimg": 12.5, "licence": "non-commercial",
        "starts_from": [{"origin": "ffhq.pkl", "sha256": "0" * 64, "licence": "non-commercial"}],
    }  # fmt: skip
    assert card["network_sha256"] == sha256_file(trained)
    assert (card["tool"], card["network"], card["first_seed"], card["classes"]) == (
        "generate", trained.name, 40, [0, 1, 2],
    )  # fmt: skip
    assert card["sha256"] == sha256_file(tmp_path / "set.zip")
    # the same facts travel inside, in the one shape that recipes have
    assert dataset.recipe == {k: v for k, v in card.items() if k not in ("sha256", "label_names")}
    other = provenance.recipe("other", {}, resize_filter=None)
    assert set(other) <= set(dataset.recipe or {})
    assert card["flags"]["trunc"] == 0.7


def test_the_licence_of_a_foreign_network_travels_with_its_images(tmp_path: Path) -> None:
    official = golden_path(f"{COND16}.pkl")
    _, card = drawn_set(official, tmp_path / "set.zip")
    assert card["provenance"]["licence"] == FOREIGN_LICENCE
    assert card["provenance"]["starts_from"] == [
        {"origin": official.name, "sha256": sha256_file(official), "licence": FOREIGN_LICENCE}
    ]


def test_the_recipe_does_not_depend_on_where_things_lie(trained: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / trained.name
    elsewhere.parent.mkdir()
    shutil.copy(trained, elsewhere)
    drawn_set(trained, tmp_path / "a.zip")
    drawn_set(elsewhere, tmp_path / "elsewhere" / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "elsewhere" / "b.zip").read_bytes()


# ---------------------------------------------------------------- numbers for programs


def test_generate_tells_programs_what_it_wrote(trained: Path, tmp_path: Path) -> None:
    result = run(
        generate, f"--network={trained}", "--seeds=3,5", "--class=0", f"--outdir={tmp_path}/out", "--json=-"
    )
    assert numbers(result) == {
        "images": 2, "seeds": [3, 5],
        "files": [str(tmp_path / "out" / "seed0003.png"), str(tmp_path / "out" / "seed0005.png")],
    }  # fmt: skip
    assert result.stderr == f"2 images in {tmp_path}/out\n"
    dest = tmp_path / "set.zip"
    found = numbers(run(generate, f"--network={trained}", "--per-class=2", f"--outdir={dest}", "--json=-"))
    assert found == {
        "images": 6, "images_per_class": 2,
        "files": [str(dest), str(tmp_path / "set_card.json"), str(tmp_path / "set_README.md")],
        "classes": [0, 1, 2], "first_seed": 0, "sha256": sha256_file(dest),
    }  # fmt: skip
    assert all(Path(file).is_file() for file in found["files"])


def test_a_name_that_is_no_text_is_written_with_escapes(trained: Path, tmp_path: Path) -> None:
    dest = os.fsencode(tmp_path) + b"/b\xff.zip"
    flags = [f"--network={trained}", "--per-class=1", b"--outdir=" + dest]
    program = [sys.executable, ROOT / "stylegan2ada" / "generate.py"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    made = subprocess.run([*program, *flags], capture_output=True, cwd=tmp_path, env=environment)
    assert made.returncode == 0, made.stderr
    assert b"b\\udcff.zip" in made.stdout and os.path.exists(dest)


def test_a_file_of_the_tensorflow_era_says_so_beside_the_numbers(tmp_path: Path) -> None:
    result = run(generate, f"--network={golden_path('checkpoints/legacy_tf_style.pkl')}", "--seeds=0",
                 "--class=0", f"--outdir={tmp_path}", "--json=-")  # fmt: skip
    assert numbers(result)["images"] == 1
    assert "TensorFlow" in result.stderr


# ---------------------------------------------------------------- the same pixels in a notebook


@pytest.mark.parametrize(
    ("name", "label", "psi", "noise"),
    [(GREY16, None, 1.0, "const"), (COND16, 2, 0.6, "random"), (RGB32, None, 0.8, "none")],
)
def test_generate_images_gives_the_pixels_of_the_command(
    name: str, label: int | None, psi: float, noise: str, tmp_path: Path
) -> None:
    network, seeds = golden_path(f"{name}.pkl"), range(3, 21)  # more than one batch
    flags = [] if label is None else [f"--class={label}"]
    torch.manual_seed(7)  # as a process begins: with any
    ok(run(generate, f"--network={network}", "--seeds=3-20", f"--trunc={psi}", f"--noise-mode={noise}",
           f"--outdir={tmp_path}", *flags))  # fmt: skip
    written = np.stack([read(tmp_path / f"seed{seed:04d}.png") for seed in seeds])
    torch.manual_seed(3)  # of random noise: the first seed
    G = load_network(str(network))["G_ema"]
    images = synthesis.generate_images(G, seeds, classes=label, psi=psi, noise=noise)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, written[..., 0] if name == GREY16 else written)


# ---------------------------------------------------------------- by run and by name


def test_a_run_and_a_class_by_name_are_a_network_and_a_number(trained: Path, tmp_path: Path) -> None:
    by_number = [f"--network={trained}", "--seeds=3", "--class=1", f"--outdir={tmp_path / 'a'}"]
    by_name = [f"--network={trained.parent}", "--seeds=3", "--class=fracture", f"--outdir={tmp_path / 'b'}"]
    for flags in (by_number, by_name):
        ok(run(generate, *flags))
    assert (tmp_path / "a" / "seed0003.png").read_bytes() == (tmp_path / "b" / "seed0003.png").read_bytes()
    wrong = run(generate, f"--network={trained}", "--seeds=3", "--class=ill", f"--outdir={tmp_path / 'c'}")
    assert wrong.exit_code == 2
    assert "--class=ill: its classes are normal, fracture, spondylolysis" in wrong.output
    nameless = run(generate, f"--network={golden_path(f'{COND16}.pkl')}", "--seeds=0", "--class=ill",
                   f"--outdir={tmp_path / 'c'}")  # fmt: skip
    assert "this network knows no names of classes" in nameless.output


def test_a_grid_shows_all_images_row_by_row(trained: Path, tmp_path: Path) -> None:
    flags = ["--seeds=0-4", "--class=0", "--grid", "--json=-", f"--outdir={tmp_path / 'g'}"]
    result = run(generate, f"--network={trained}", *flags)
    ok(result)
    assert numbers(result)["images"] == 5
    grid = read(tmp_path / "g" / "grid.png")
    for seed in range(5):
        top, left = 16 * (seed // 3), 16 * (seed % 3)
        single = read(tmp_path / "g" / f"seed{seed:04d}.png")
        np.testing.assert_array_equal(grid[top : top + 16, left : left + 16], single)
    assert not grid[16:, 32:].any()
