"""generate, style_mixing and projector by their command lines: recorded images, grey, classes, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner, Result

from stylegan2ada import generate, images, projector, style_mixing, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from tests.golden_data import assert_same_pictures, golden_arrays, golden_json, golden_path

ROOT = Path(__file__).parent.parent.parent
RGB32 = "checkpoints/uncond_rgb_r32"
GREY16 = "checkpoints/uncond_gray_r16"
COND16 = "checkpoints/cond_rgb_r16"


def run(command, *args: object) -> Result:
    return CliRunner().invoke(command.main, [str(arg) for arg in args])


def ok(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def read(path: Path) -> np.ndarray:
    with PIL.Image.open(path) as picture:
        pixels = np.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


# ---------------------------------------------------------------- recorded images


@pytest.mark.parametrize("psi", [1.0, 0.5])
@pytest.mark.parametrize("name", [RGB32, GREY16, COND16])
def test_generate_draws_the_recorded_images(name: str, psi: float, tmp_path: Path) -> None:
    label = "1" if name == COND16 else "none"
    flags = ["--class=1"] if name == COND16 else []
    ok(run(generate, f"--network={golden_path(name + '.pkl')}", "--seeds=0,7,85", f"--trunc={psi}",
           f"--outdir={tmp_path}", *flags))  # fmt: skip
    recorded = golden_arrays(f"{name}.expected.npz")
    assert_same_pictures(
        [
            (read(tmp_path / f"seed{seed:04d}.png"), recorded[f"generate/seed{seed}_psi{psi}_class{label}"])
            for seed in (0, 7, 85)
        ]
    )


def test_style_mixing_draws_the_recorded_images(tmp_path: Path) -> None:
    recorded = golden_arrays(f"{RGB32}.expected.npz").under("style_mixing")
    facts = golden_json("checkpoints/structure.json")["uncond_rgb_r32"]["style_mixing"]
    rows, columns = facts["rows"], facts["cols"]
    ok(run(style_mixing, f"--network={golden_path(RGB32 + '.pkl')}", f"--styles={facts['styles']}",
           f"--rows={','.join(map(str, rows))}", f"--cols={','.join(map(str, columns))}",
           f"--trunc={facts['trunc']}", f"--outdir={tmp_path}"))  # fmt: skip
    assert_same_pictures([(read(tmp_path / f"{name}.png"), pixels) for name, pixels in recorded.items()])
    grid = read(tmp_path / "grid.png")
    assert grid.shape == (3 * 32, 4 * 32, 3)
    assert not grid[:32, :32].any()
    for y, row in enumerate(rows, start=1):
        for x, column in enumerate(columns, start=1):
            tile = grid[32 * y : 32 * (y + 1), 32 * x : 32 * (x + 1)]
            np.testing.assert_array_equal(tile, read(tmp_path / f"{row}-{column}.png"))


# ---------------------------------------------------------------- beyond upstream


def test_a_labelled_data_set_is_drawn_class_by_class(tmp_path: Path) -> None:
    dest = tmp_path / "synthetic.zip"
    network = golden_path(f"{COND16}.pkl")
    ok(run(generate, f"--network={network}", "--per-class=3", f"--outdir={dest}", "--trunc=0.5"))
    dataset = ImageFolderDataset(dest, use_labels=True)
    assert dataset.raw_labels().tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    ok(
        run(
            generate,
            f"--network={network}",
            "--seeds=3-5",
            "--class=1",
            "--trunc=0.5",
            f"--outdir={tmp_path}/one",
        )
    )
    for i in range(3):  # image i of class k has the seed k * 3 + i
        single = read(tmp_path / "one" / f"seed{3 + i:04d}.png")
        np.testing.assert_array_equal(dataset[3 + i][0].transpose(1, 2, 0), single)
    card = json.loads((tmp_path / "synthetic_card.json").read_text())
    assert card["truncation_psi"] == 0.5
    assert card["images_per_class"] == 3
    assert card["is_synthetic"]
    assert len(card["network_sha256"]) == len(card["sha256"]) == 64


def test_a_vector_of_labels_is_a_label(tmp_path: Path) -> None:
    network = golden_path(f"{COND16}.pkl")
    ok(run(generate, f"--network={network}", "--seeds=4", "--label=0,1,0", f"--outdir={tmp_path}/vector"))
    ok(run(generate, f"--network={network}", "--seeds=4", "--class=1", f"--outdir={tmp_path}/class"))
    np.testing.assert_array_equal(
        read(tmp_path / "vector" / "seed0004.png"), read(tmp_path / "class" / "seed0004.png")
    )
    ok(
        run(
            generate, f"--network={network}", "--per-class=2", "--label=0.2,1,0", f"--outdir={tmp_path}/v.zip"
        )
    )
    dataset = ImageFolderDataset(tmp_path / "v.zip", use_labels=True)
    np.testing.assert_allclose(dataset[1][1], [0.2, 1, 0])


@pytest.mark.parametrize("name", [GREY16, COND16])
def test_projector_finds_grey_and_conditional_images_and_generate_draws_them(
    name: str, tmp_path: Path
) -> None:
    network = golden_path(f"{name}.pkl")
    flags = ["--class=2"] if name == COND16 else []
    ok(run(generate, f"--network={network}", "--seeds=1", f"--outdir={tmp_path}", *flags))
    ok(run(projector, f"--network={network}", f"--target={tmp_path}/seed0001.png", "--num-steps=4",
           "--detector", "vgg16=tiny", f"--outdir={tmp_path}/out", *flags))  # fmt: skip
    channels = 1 if name == GREY16 else 3
    np.testing.assert_array_equal(read(tmp_path / "out" / "target.png"), read(tmp_path / "seed0001.png"))
    assert read(tmp_path / "out" / "proj.png").shape == (16, 16, channels)
    assert (tmp_path / "out" / "proj.mp4").stat().st_size > 0
    w = np.load(tmp_path / "out" / "projected_w.npz")["w"]
    G = load_network(str(network))["G_ema"]
    assert w.shape == (1, G.num_ws, G.w_dim)
    ok(
        run(
            generate,
            f"--network={network}",
            f"--projected-w={tmp_path}/out/projected_w.npz",
            f"--outdir={tmp_path}",
        )
    )
    difference = read(tmp_path / "proj00.png").astype(int) - read(tmp_path / "out" / "proj.png").astype(int)
    assert np.abs(difference).max() <= 1  # the two commands round differently, as upstream's do


def test_the_film_falls_back_to_gif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    frames = [np.full((16, 16, 1), level, dtype=np.uint8) for level in (10, 200)]
    film = projector.write_film(tmp_path, frames[0], frames)
    assert film.suffix == ".gif"
    with PIL.Image.open(film) as pictures:
        assert pictures.n_frames == 2


def test_target_is_cropped_to_its_centre_square(tmp_path: Path) -> None:
    wide = np.zeros((8, 21, 3), dtype=np.uint8)
    wide[:, 6:14] = 200  # edges floor((21 - 8) / 2) = 6 and floor((21 + 8) / 2) = 14
    PIL.Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (projector.read_target(str(tmp_path / "wide.png"), 8, 1) == 200).all()


# ---------------------------------------------------------------- numbers for programs


def numbers(result: Result) -> dict:
    """The object on standard output, which holds nothing else."""
    return json.loads(ok(result).stdout)


def test_style_mixing_and_projector_tell_programs_what_they_did(tmp_path: Path) -> None:
    network = f"--network={golden_path(GREY16 + '.pkl')}"
    mixed = numbers(run(style_mixing, network, "--rows=1", "--cols=2", "--styles=0-1", f"--outdir={tmp_path}",
                        "--json=-"))  # fmt: skip
    assert (mixed["images"], mixed["rows"], mixed["cols"], mixed["styles"]) == (3, [1], [2], [0, 1])
    assert [Path(file).name for file in mixed["files"]] == ["1-1.png", "2-2.png", "1-2.png", "grid.png"]
    assert all(Path(file).is_file() for file in mixed["files"])
    result = run(projector, network, f"--target={tmp_path}/1-1.png", "--num-steps=3", "--detector=vgg16=tiny",
                 f"--outdir={tmp_path}/out", "--save-video=0", f"--json={tmp_path}/p.json")  # fmt: skip
    found = json.loads((tmp_path / "p.json").read_text())
    assert f"Took {found['seconds']:.1f} s" in ok(result).stdout
    assert (found["steps"], found["distance"] > 0) == (3, True)
    assert [Path(file).name for file in found["files"]] == ["target.png", "proj.png", "projected_w.npz"]


def test_a_small_network_mixes_the_coarse_layers_that_it_has(tmp_path: Path) -> None:
    def mixed(name: str, *flags: str) -> Result:
        return run(style_mixing, f"--network={golden_path(name + '.pkl')}", "--rows=1", "--cols=2",
                   f"--outdir={tmp_path}", "--json=-", *flags)  # fmt: skip

    assert numbers(mixed(GREY16))["styles"] == [0, 1, 2, 3, 4, 5]
    assert numbers(mixed(RGB32))["styles"] == [0, 1, 2, 3, 4, 5, 6]
    refused = mixed(GREY16, "--styles=0-6")
    assert (refused.exit_code, "names layer 6, but this network has 0 to 5" in refused.output) == (2, True)


def test_grids_carry_seeds_and_classes_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    plain = images.captioned_grid
    monkeypatch.setattr(
        images, "captioned_grid", lambda text, *a, **k: written.append(text) or plain(text, *a, **k)
    )
    cond = f"--network={golden_path(COND16 + '.pkl')}"
    ok(run(generate, cond, "--seeds=7,9,11", "--class=1", f"--outdir={tmp_path}/a", "--captions"))
    ok(run(generate, cond, "--seeds=7", "--label=0,0.5,1", f"--outdir={tmp_path}/b", "--captions"))
    assert written == [*(f"seed {seed}\nclass 1" for seed in (7, 9, 11)), "seed 7\n0,0.5,1"]
    sheet, tile = read(tmp_path / "a" / "grid.png"), read(tmp_path / "a" / "seed0009.png")
    assert sheet.shape == (2 * (96 + 26), 2 * 96, 3)  # two lines of words above pictures six times their size
    np.testing.assert_array_equal(sheet[26:122:6, 96::6], tile)
    assert sheet[:26].any() and not sheet[122:, 96:].any()
    written.clear()
    ok(run(style_mixing, cond, "--class=0", "--rows=1", "--cols=2,3", f"--outdir={tmp_path}/c", "--captions"))
    assert written == ["", "column 2", "column 3", "row 1", "1 with 2", "1 with 3"]
    mixed = read(tmp_path / "c" / "grid.png")
    assert mixed.shape == (2 * (96 + 14), 3 * 96, 3)
    np.testing.assert_array_equal(mixed[124::6, 192::6], read(tmp_path / "c" / "1-3.png"))


def test_words_for_a_label() -> None:
    named = {"label_names": ["normal", "abnormal"]}
    for card, chosen, words in ((named, 1, "abnormal"), (named, 2, "class 2"), (None, 1, "class 1")):
        assert synthesis.label_text(card, class_idx=chosen, label=None) == words
    assert synthesis.label_text(named, class_idx=None, label="1,0") == "1,0"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seeds=0"], "choose with --class=0..2"),
        (["--seeds=0", "--class=5"], "classes 0 to 2"),
        (["--class=1"], "say what to draw"),
        (["--seeds=zero", "--class=1"], "range like 0-9"),
        (["--seeds=0", "--class=1", "--label=a,b"], "numbers between commas"),
        (["--projected-w=nowhere.npz"], "projector.py writes"),
        (["--per-class=0"], "give at least 1"),
        (["--per-class=1", "--class=1", "--label=0,1,0"], "exclude each other"),
        (["--per-class=1", "--class=3"], "classes 0 to 2"),
        (["--seed=0", "--class=1"], "--seeds"),
    ],
)
def test_wrong_flags_say_what_to_do(flags: list[str], words: str, tmp_path: Path) -> None:
    result = run(generate, f"--network={golden_path(COND16 + '.pkl')}", f"--outdir={tmp_path}/out", *flags)
    assert result.exit_code in (2, 3), result.output
    assert words in result.output
    assert not (tmp_path / "out").exists()


def test_a_missing_network_and_a_missing_detector_leave_with_code_3(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path))
    assert run(generate, "--network=nowhere.pkl", "--seeds=0", f"--outdir={tmp_path}/out").exit_code == 3
    PIL.Image.new("L", (16, 16)).save(tmp_path / "t.png")
    result = run(projector, f"--network={golden_path(GREY16 + '.pkl')}", f"--target={tmp_path}/t.png",
                 f"--outdir={tmp_path}/out")  # fmt: skip
    assert result.exit_code == 3
    assert "spinegan detectors fetch vgg16" in result.output
    assert "--detector vgg16=tiny is built in" in result.output


@pytest.mark.slow  # test_as_script is the fast one
def test_commands_run_as_files_in_a_bare_clone(tmp_path: Path) -> None:
    script, network = ROOT / "stylegan2ada" / "generate.py", golden_path(f"{GREY16}.pkl")
    command = [sys.executable, str(script), f"--network={network}", "--seeds=0", f"--outdir={tmp_path}/out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "seed0000.png").is_file()


def test_generation_does_not_touch_the_random_state_of_others() -> None:
    G = load_network(str(golden_path(f"{GREY16}.pkl")))["G_ema"]
    before = torch.get_rng_state()
    list(synthesis.images_from_z(G, synthesis.seed_latents([0], G.z_dim), torch.zeros(1, 0)))
    assert torch.equal(before, torch.get_rng_state())
