"""Sums of latents and directions between classes: against the mapping network called by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada import generate, synthesis
from stylegan2ada.checkpoints import load_network, save_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.label_rows import read_label_rows
from stylegan2ada.drawing.arithmetic import Arithmetic
from stylegan2ada.drawing.strips import read_amounts
from stylegan2ada.errors import UserError
from tests.stylegan2ada.checkpoints.conftest import make_networks
from tests.stylegan2ada.test_image_commands import ok, read, run

NAMES = ["normal", "abnormal", "No finding"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    networks = make_networks(resolution=16, c_dim=3)
    networks["card"] = {"label_names": NAMES}
    save_network(networks, tmp_path / "net.pkl")
    return tmp_path / "net.pkl"


@pytest.fixture
def arithmetic(network: Path) -> Arithmetic:
    loaded = load_network(network)
    G = synthesis.averaged_generator(loaded, "cpu")
    return Arithmetic(G, loaded["card"], 1.0, synthesis.labels(G, 1, class_idx=0))


def by_hand(arithmetic: Arithmetic, seed: int, class_idx: int = 0) -> torch.Tensor:
    z = torch.from_numpy(np.random.RandomState(seed).randn(1, arithmetic.G.z_dim)).float()
    with torch.no_grad():
        return arithmetic.G.mapping(z, torch.eye(3)[[class_idx]])[0]


def test_a_sum_is_the_sum(arithmetic: Arithmetic) -> None:
    w = {seed: by_hand(arithmetic, seed) for seed in (3, 7, 12)}
    found = arithmetic.evaluate("w(3)-w(7)+w(12)")
    torch.testing.assert_close(found.result.w, w[3] - w[7] + w[12])
    assert (found.result.total, list(found.parts)) == (1, ["w(3)", "w(7)", "w(12)"])
    found = arithmetic.evaluate("(w(3) + 3*w(7, 1))/4 - -0.5*(w(12) - w(3))*2")
    wanted = (w[3] + 3 * by_hand(arithmetic, 7, 1)) / 4 + w[12] - w[3]
    torch.testing.assert_close(found.result.w, wanted)
    assert found.result.total == 1


def test_means_of_seeds_and_of_classes(arithmetic: Arithmetic) -> None:
    mean = torch.stack([by_hand(arithmetic, seed, 2) for seed in range(5, 9)]).mean(0)
    torch.testing.assert_close(arithmetic.evaluate("w(5-8, 'No finding')").result.w, mean)
    latents = torch.from_numpy(np.random.RandomState(123).randn(2000, arithmetic.G.z_dim)).float()
    with torch.no_grad():
        a, b = (arithmetic.G.mapping(latents, torch.eye(3)[[i]].expand(2000, -1)).mean(0) for i in (0, 1))
    found = arithmetic.evaluate("mean(abnormal) - mean(0)").result
    torch.testing.assert_close(found.w, b - a, atol=1e-5, rtol=1e-4)
    assert found.total == 0
    torch.testing.assert_close(arithmetic.direction("normal", "1"), b - a, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "w(3", "w()", "w(1,2,3)", "w(-1)", "w(3.5)", "w(9-3)", "w(0-99999)", "w(3)*w(4)", "w(3)/0",
        "1/w(3)", "w(3)+1", "w(3)**2", "w(3, 'nobody')", "w(3, 9)", "mean()", "mean(9)", "x(3)", "w(seed=3)",
        "__import__('os').getcwd()", "w(True)", "[w(3)]", "(" * 300 + "w(3)", "-" * 499 + "3",
        "w(3)*1" + "0" * 400,
        "w(3)" * 400, "lambda: w(3)", "w(3) if 1 else w(4)",
    ],
)  # fmt: skip
def test_what_is_no_sum_of_latents_is_refused(arithmetic: Arithmetic, text: str) -> None:
    with pytest.raises(UserError) as caught:
        arithmetic.evaluate(text)
    assert "\n" not in str(caught.value)


def test_an_expression_by_command_line(network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ok(run(generate, f"--network={network}", "--expr=w(3)-w(7)+w(12)", "--class=1",
                    f"--outdir={out}", f"--json={tmp_path / 'x.json'}"))  # fmt: skip
    assert "Warning" not in result.output
    assert json.loads((tmp_path / "x.json").read_text())["sum_of_weights"] == 1
    # Its w is a file that draws the same picture.
    ok(run(generate, f"--network={network}", f"--projected-w={out / 'expr.npz'}", f"--outdir={out}"))
    np.testing.assert_array_equal(read(out / "proj00.png"), read(out / "expr.png"))
    assert read(out / "strip.png").shape[1] >= 4 * 16
    # One seed is that seed's image; a difference is no place among images.
    ok(run(generate, f"--network={network}", "--seeds=3", "--class=1", f"--outdir={out}"))
    ok(run(generate, f"--network={network}", "--expr=w(3)", "--class=1", f"--outdir={out}"))
    np.testing.assert_array_equal(read(out / "seed0003.png"), read(out / "expr.png"))
    flags = ("--expr=w(3, 1)-w(4, 1)", f"--outdir={tmp_path / 'b'}")
    assert "add up to 0 of one" in ok(run(generate, f"--network={network}", *flags)).output
    refused = run(generate, f"--network={network}", "--expr=w(3)", f"--outdir={out}")
    assert refused.exit_code == 2
    assert "give --class" in refused.output


def test_a_direction_by_command_line(network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ok(run(generate, f"--network={network}", "--seeds=0,5", "--direction=normal:abnormal",
           "--amount=-2..2", f"--outdir={out}"))  # fmt: skip
    assert sorted(p.name for p in out.iterdir()) == [
        "direction.png", "seed0000-strip.png", "seed0005-strip.png",
    ]  # fmt: skip
    ok(run(generate, f"--network={network}", "--seeds=5", "--class=normal", f"--outdir={out}"))
    plain = read(out / "seed0005.png").astype(int)
    # The middle tile, amount 0, is the seed's own image; those beside it are not.
    # Five tiles of 96 pixels below two lines of text; a pixel of the image is six of the tile.
    strip = read(out / "seed0005-strip.png").astype(int)[-96::6, ::6]
    apart = [np.abs(strip[:, i * 16 : (i + 1) * 16] - plain).max() for i in range(5)]
    assert apart[2] <= 1
    assert min(apart[:2] + apart[3:]) > 1
    for flags in (["--direction=normal"], ["--direction=normal:nobody"], ["--direction=0:0"],
                  ["--direction=0:1", "--amount=2..1"], ["--direction=0:1", "--amount=x"],
                  ["--direction=0:1", "--expr=w(1)"]):  # fmt: skip
        assert run(generate, f"--network={network}", "--seeds=0", f"--outdir={out}", *flags).exit_code == 2


def test_amounts() -> None:
    assert read_amounts("-2..2") == [-2, -1, 0, 1, 2]
    assert read_amounts("-1,0,0.5") == [-1, 0, 0.5]
    for text in ("", "2..1", "0..1000", "nan", "1..inf"):
        with pytest.raises(UserError):
            read_amounts(text)


def test_labels_from_a_table(network: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("abnormal,other,No finding,normal\n1,7,0,0\n0,7,1,1\n1,7,1,0\n")
    ok(run(generate, f"--network={network}", f"--labels-from={table}", "--seeds=4",
           f"--outdir={tmp_path / 'x.zip'}"))  # fmt: skip
    drawn = ImageFolderDataset(tmp_path / "x.zip", use_labels=True)
    # In the order of the network's classes, whatever the table's.
    assert drawn.get_labels().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 1]]
    assert drawn.label_names == NAMES
    for i, label in enumerate(("0,1,0", "1,0,1", "0,1,1")):
        out = tmp_path / str(i)
        ok(run(generate, f"--network={network}", f"--seeds={4 + i}", f"--label={label}", f"--outdir={out}"))
        apart = read(out / f"seed{4 + i:04d}.png").astype(int)[..., 0] - drawn.raw_image(i)[0]
        assert np.abs(apart).max() <= 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no rows"), ("a,b,c\n", "no rows"), ("a,b\n0,1\n", "2 columns"), ("a,b,c\n0,1\n", "2 cells"),
     ("a,b,c\n0,nan,1\n", "no number"), ("a,b,c\n0,x,1\n", "no number"), ("\xff", "no rows")],
)  # fmt: skip
def test_tables_that_are_no_labels(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_label_rows(str(path), 3, None)
    path.write_text("x,y,z\n0,1,0\n")
    with pytest.raises(UserError, match="no column 'normal'"):
        read_label_rows(str(path), 3, NAMES)
    assert read_label_rows(str(path), 3, None) == [[0, 1, 0]]
