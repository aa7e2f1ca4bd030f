"""AnoGAN: terms, baseline, exact continuation, a snapshot of ours by command line, wrong data, the gates."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from spine_plugins.recipes import anogan, latents, padim, skeleton
from spine_plugins.recipes.anomalies import Detector, Normals
from spine_plugins.recipes.pairs import phantom_pairs, read_pairs, write_pairs
from stylegan2ada.checkpoints import save_network
from tests.spine_plugins.recipes.making import check_exact, refusal, run
from tests.stylegan2ada.checkpoints.conftest import make_networks


def spines(folder: Path, n: int = 130, side: int = 32, seed: int = 0, **how: object) -> Path:
    """Phantoms with labels and numbered lesions."""
    images, masks, labels = phantom_pairs(n, seed, resolution=side, what="kinds", **how)  # type: ignore[arg-type]
    path = folder / f"spines{seed}.zip"
    write_pairs(path, images, masks, labels.tolist())
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spines(tmp_path_factory.mktemp("data"))


def snapshot(folder: Path, names: list[str]) -> Path:
    networks = make_networks(channels=1, resolution=32, c_dim=2)
    networks["card"] = {"label_names": names}
    save_network(networks, folder / "network-snapshot-000001.pkl")
    return folder / "network-snapshot-000001.pkl"


def small() -> latents.Latents:
    torch.manual_seed(0)
    G, D = latents.new_networks(1, 32)
    return latents.Latents(G, D, latents.Encoder(1, 32, G.w_dim), None).freeze()


def test_the_baseline_measures_mahalanobis_distances() -> None:
    torch.manual_seed(0)
    found = torch.randn(200, 5, padim.GRID, padim.GRID)
    found[:, 1] += found[:, 0]
    gaussians = padim.Gaussians(5)
    gaussians.fit(found)
    values = found[:, :, 3, 7].double().numpy()
    centred = found.flatten(2).permute(2, 0, 1) - gaussians.mean[:, None]
    variances = (centred.square().sum(1) / 199).mean().item()
    cov = np.cov(values.T) + 0.01 * variances * np.eye(5)
    wanted = mahalanobis(values[4], values.mean(0), np.linalg.inv(cov))
    assert gaussians(found)[4, 3, 7].item() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_a_search_comes_nearer_and_knows_no_neighbours() -> None:
    net = small()
    torch.manual_seed(1)
    with torch.no_grad():
        truth = net.draw(net.sample(2))
    detector = Detector(net, Normals(32, 48 + 48), 0, None)
    before, _, _ = detector._distances(truth, net.draw(net.E(truth)))
    detector.search = 15
    found = detector(truth)
    after, _, _ = detector._distances(truth, found.normal)
    assert (after < 0.8 * before).all()
    # With a mean of 0 and deviations of 1 the terms are plain, and the score is that of the five strangest of
    # 32 x 32 pixels.
    torch.testing.assert_close(found.residual, after)
    strangest = found.map.flatten(1).sort(1, descending=True).values[:, :5]
    torch.testing.assert_close(found.score, strangest.mean(1))
    detector.search = 5  # Adam makes rounding errors grow with every step
    alone, among = detector(truth[1:2]), detector(truth)
    torch.testing.assert_close(alone.normal[0], among.normal[1], atol=1e-3, rtol=1e-3)


def test_features_are_taken_before_the_batch_is_seen() -> None:
    net, img = small(), torch.rand(4, 1, 32, 32)
    maps = net.features(img)
    assert [m.shape[-1] for m in maps] == [16, 8]
    for whole, single in zip(maps, net.features(img[2:3])):
        torch.testing.assert_close(whole[2:3], single)
    torch.testing.assert_close(net.realness(img)[2:3], net.realness(img[2:3]))


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [2, 4])  # in the GAN, in the encoder
def test_continuation_is_exact(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    words = ("anogan", "train", f"--data={data}", "--gan-steps=3", "--search=1")
    check_exact(tmp_path, monkeypatch, *words, steps=3, stop_after=stop_after)


def test_a_snapshot_of_ours_by_command_line(data: Path, tmp_path: Path) -> None:
    network = snapshot(tmp_path, ["abnormal", "normal"])
    model = tmp_path / "model"
    run(
        "anogan",
        "train",
        f"--data={data}",
        f"--network={network}",
        f"--out={model}",
        "--steps=2",
        "--search=2",
    )
    card = json.loads((model / skeleton.CARD).read_text())
    assert card["settings"]["class"] == 1  # the one called normal, wherever it stands
    # The model is whole: without the run that it was made from it works on.
    network.unlink()
    out = tmp_path / "scored"
    assert run("anogan", "apply", f"--model={model}", f"--data={data}", f"--out={out}")["n"] == 130
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert list(rows[0]) == ["name", "label", "score", "residual", "feature", "padim"]
    assert len(rows) == len(list((out / "overlays").rglob("*.png"))) == 130
    found = run("anogan", "evaluate", f"--model={model}", f"--data={data}")
    assert {"auc", "pixel_auc", "per_kind", "padim_auc"} <= set(found)
    kinds = np.unique(read_pairs(data).masks)
    assert len(found["per_kind"]) == len(kinds) - 1
    # Its copy of the network belongs to the card.
    (model / "network.pkl").write_bytes(b"another")
    assert "is not the snapshot" in refusal("anogan", "evaluate", f"--model={model}", f"--data={data}")


def test_wrong_data(data: Path, tmp_path: Path) -> None:
    out = f"--out={tmp_path / 'm'}"
    assert "is a table" in refusal("anogan", "train", "--data=x.csv", out)
    few = spines(tmp_path, 20, seed=3)
    assert "give at least 32" in refusal("anogan", "train", f"--data={few}", out)
    network = snapshot(tmp_path, ["normal", "abnormal"])
    pairs = read_pairs(data)
    assert pairs.labels is not None
    other = tmp_path / "large.zip"
    write_pairs(
        other, pairs.images[:, 0].repeat(2, 1).repeat(2, 2), pairs.masks.repeat(2, 1).repeat(2, 2),
        pairs.labels.tolist(),
    )  # fmt: skip
    said = refusal("anogan", "train", f"--data={other}", f"--network={network}", out)
    assert "draws 32x32" in said
    said = refusal("anogan", "train", f"--data={data}", f"--network={network}", "--class=7", out)
    assert "does not exist" in said
    run("anogan", "train", f"--data={data}", out, "--steps=1", "--gan-steps=1", "--search=0")
    model = f"--model={tmp_path / 'm'}"
    assert "1 x 32 x 32" in refusal("anogan", "evaluate", model, f"--data={other}")
    images, masks, _ = phantom_pairs(20, 5, resolution=32, what="kinds")
    write_pairs(tmp_path / "same.zip", images, masks, [0] * 20)
    assert "an AUC needs both" in refusal("anogan", "evaluate", model, f"--data={tmp_path / 'same.zip'}")
    assert "not of inpaint" in refusal("inpaint", "evaluate", model, f"--data={data}")


def test_normal_is_what_labels_or_masks_say(data: Path) -> None:
    pairs = read_pairs(data)
    assert pairs.labels is not None
    by_label = anogan.is_normal(pairs)
    np.testing.assert_array_equal(by_label, pairs.labels == 0)
    several = np.stack([pairs.labels == 0, pairs.labels == 1], 1).astype(np.float32)
    named = replace(pairs, labels=several, class_names=("No finding", "Osteophytes"))
    np.testing.assert_array_equal(anogan.is_normal(named), by_label)
    masked = replace(pairs, labels=None)
    np.testing.assert_array_equal(anogan.is_normal(masked), ~pairs.masks.any((1, 2)))


@pytest.mark.slow
def test_findings_stand_out_and_shuffled_truth_does_not(tmp_path: Path) -> None:
    """The shortened gate: strong lesions, one view, small images. A broken method falls to a half."""
    how = {"view": "lateral", "difficulty": 0.5}
    data, held = spines(tmp_path, 500, seed=0, **how), spines(tmp_path, 120, seed=1, **how)
    model = f"--model={tmp_path / 'm'}"
    run(
        "anogan", "train", f"--data={data}", f"--out={tmp_path / 'm'}", "--gan-steps=200", "--steps=150",
        "--search=15",
    )  # fmt: skip
    found = run("anogan", "evaluate", model, f"--data={held}")
    print(found)
    pairs = read_pairs(held)
    assert pairs.labels is not None
    order = np.random.default_rng(0).permutation(len(pairs.labels))
    write_pairs(
        tmp_path / "shuffled.zip", pairs.images[:, 0], pairs.masks[order], pairs.labels[order].tolist()
    )
    shuffled = run("anogan", "evaluate", model, f"--data={tmp_path / 'shuffled.zip'}")
    assert found["auc"] > 0.75
    assert found["pixel_auc"] > 0.8
    assert shuffled["low"] < 0.5 < shuffled["high"]
    assert shuffled["pixel_auc"] < found["pixel_auc"] - 0.1


@pytest.mark.proof
def test_the_gate(tmp_path: Path) -> None:
    from tests.spine_plugins.recipes.proving import leave

    how = {"view": "lateral", "difficulty": 0.5}
    data, held = spines(tmp_path, 1200, 64, 0, **how), spines(tmp_path, 400, 64, 1, **how)
    found = {}
    for search in (0, 40):
        out = tmp_path / str(search)
        run("anogan", "train", f"--data={data}", f"--out={out}", f"--search={search}")
        found[f"search {search}"] = run("anogan", "evaluate", f"--model={out}", f"--data={held}")
    leave("recipe-anogan", found)
    assert found["search 0"]["auc"] > 0.88
    assert found["search 40"]["auc"] > 0.9
    assert found["search 40"]["pixel_auc"] > 0.9
