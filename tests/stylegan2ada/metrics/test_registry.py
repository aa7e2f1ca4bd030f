"""From a metric's name to its record: the same whatever the batch, the processes and the file's age."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada import processes
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.detectors import Detectors, tiny_network
from stylegan2ada.metrics.features import FeatureStats, cache_tag
from stylegan2ada.metrics.fid import fid
from stylegan2ada.metrics.inception_score import inception_score
from stylegan2ada.metrics.precision_recall import precision_recall
from stylegan2ada.networks.stylegan2 import Generator
from tests.golden_data import golden_json
from tests.stylegan2ada.metrics.conftest import write_images

SMALL = {  # the public names with few images
    "fid1k_tiny": registry._fid(None, 50),
    "kid1k_tiny": registry._kid(None, 50, subsets=5, size=20),
    "pr1k3_tiny": registry._neighbours(None, 50, 3, precision_recall),
}


@pytest.fixture(autouse=True)
def _few_images(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, compute in SMALL.items():
        monkeypatch.setitem(
            registry.METRICS, name, dataclasses.replace(registry.METRICS[name], compute=compute)
        )


def test_the_public_names_and_their_order() -> None:
    assert registry.list_valid_metrics()[:12] == [
        "fid50k_full", "kid50k_full", "pr50k3_full", "ppl2_wend", "is50k",
        "fid50k", "kid50k", "pr50k3", "ppl_zfull", "ppl_wfull", "ppl_zend", "ppl_wend",
    ]  # fmt: skip
    assert registry.is_valid_metric("fid50k_full@mine")
    assert not registry.is_valid_metric("fid10k")
    with pytest.raises(UserError, match="choose from fid50k_full"):
        registry.find_metric("fid10k")


def test_cache_tags_as_recorded() -> None:
    for case in golden_json("metrics/metrics.json")["cache_tags"]:
        name = Path(case["dataset_kwargs"]["path"]).stem
        tag = cache_tag(
            name, case["dataset_kwargs"], case["detector_url"], case["detector_kwargs"], case["stats_kwargs"]
        )
        assert f"{tag}.pkl" == case["file"]


@pytest.mark.parametrize("metric", list(SMALL))
def test_the_batch_size_does_not_matter(metric: str, real, small_G) -> None:
    first = registry.calc_metric(metric, small_G, real, batch=64, cache=False)["results"]
    for batch in (4, 10):
        again = registry.calc_metric(metric, small_G, real, batch=batch, cache=False)["results"]
        assert again == pytest.approx(first, rel=1e-5)


def measure_in_a_group(path: str, G, out: str) -> None:
    processes.init(torch.device("cpu"))
    for name, compute in SMALL.items():
        registry.METRICS[name] = dataclasses.replace(registry.METRICS[name], compute=compute)
    dataset = ImageFolderDataset(path, use_labels=True)
    results = [registry.calc_metric(name, G, dataset, cache=False)["results"] for name in SMALL]
    Path(out, f"rank{processes.rank()}.json").write_text(json.dumps(results))
    processes.close()


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(real, small_G, tmp_path: Path) -> None:
    alone = [registry.calc_metric(name, small_G, real, cache=False)["results"] for name in SMALL]
    processes.launch(measure_in_a_group, (real.path, small_G, str(tmp_path)), 2)
    for rank in (0, 1):
        together = json.loads((tmp_path / f"rank{rank}.json").read_text())
        for mine, theirs in zip(alone, together):
            assert theirs == pytest.approx(mine, rel=1e-5)


def test_measuring_leaves_the_random_numbers_of_training_alone(real, small_G) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before, before_np = torch.get_rng_state(), np.random.get_state()[1].copy()
    buffers = {name: buffer.clone() for name, buffer in small_G.named_buffers()}
    registry.calc_metric("fid1k_tiny", small_G, real)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_np)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in small_G.named_buffers())


def test_statistics_are_cached_by_content_not_by_name(real, small_G, own_cache: Path, tmp_path: Path) -> None:
    first = registry.calc_metric("fid1k_tiny", small_G, real)["results"]
    (kept,) = (own_cache / "gan-metrics").iterdir()
    assert registry.calc_metric("fid1k_tiny", small_G, real)["results"] == first
    assert list((own_cache / "gan-metrics").iterdir()) == [kept]
    changed = ImageFolderDataset(
        write_images(Path(real.path), 40, seed=2), use_labels=True
    )  # same place and size
    fresh = registry.calc_metric("fid1k_tiny", small_G, changed, cache=False)["results"]
    assert registry.calc_metric("fid1k_tiny", small_G, changed)["results"] == fresh != first
    assert len(list((own_cache / "gan-metrics").iterdir())) == 2


def test_any_two_sets_of_images(real, tmp_path: Path) -> None:
    fakes = ImageFolderDataset(write_images(tmp_path / "fake.zip", 30, seed=3))
    record = registry.calc_metric("fid1k_tiny", fakes, real)
    features = []
    for dataset in (real, fakes):
        images = torch.from_numpy(np.stack([dataset[i][0] for i in range(len(dataset))])).expand(
            -1, 3, -1, -1
        )
        features.append(tiny_network()(images, return_features=True).numpy())
    assert record["results"]["fid1k_tiny"] == pytest.approx(fid(*features), rel=1e-5)
    assert (record["num_real"], record["num_fake"]) == (40, 30)
    assert record["real_fingerprint"] != record["fake_fingerprint"]
    assert record["is_comparable"] is False
    same = registry.calc_metric("pr1k3_tiny", real, real)["results"]
    assert same == {"pr1k3_tiny_precision": 1.0, "pr1k3_tiny_recall": 1.0}
    with pytest.raises(UserError, match="needs --network"):
        registry.calc_metric("ppl2_wend", fakes, real)


def test_a_scripted_detector_with_the_official_calls(real, small_G, stand_in_file: Path, monkeypatch) -> None:
    small = {
        "fid50k_full": registry._fid(None, 40),
        "is50k": registry._is(40, splits=4),
        "ppl2_wend": registry._ppl(7, "w", "end", False),
        "ppl_zfull": registry._ppl(6, "z", "full", True),
    }
    for name, compute in small.items():
        monkeypatch.setitem(
            registry.METRICS, name, dataclasses.replace(registry.METRICS[name], compute=compute)
        )
    detectors = Detectors({"inception": str(stand_in_file), "vgg16": str(stand_in_file)})
    for name in small:
        record = registry.calc_metric(name, small_G, real, detectors=detectors)
        assert all(np.isfinite(value) for value in record["results"].values())
        assert record["is_comparable"]
        assert len(record["detector_sha256"]) == 64
        other = registry.calc_metric(name, small_G, real, detectors=detectors, batch=8, cache=False)
        assert other["results"] == pytest.approx(record["results"], rel=1e-5)


def test_mirrored_subsets_are_measured_whole_and_unmirrored(real, small_G) -> None:
    expected = registry.calc_metric("fid1k_tiny", small_G, real)["results"]
    trained_on = ImageFolderDataset(real.path, use_labels=True, xflip=True, max_size=10)
    record = registry.calc_metric("fid1k_tiny", small_G, trained_on)
    assert record["num_real"] == 40
    assert record["results"] == expected
    assert len(trained_on) == 20  # the reader itself is as it was


def test_labels_come_from_data_or_are_not_needed(small_G, stand_in_file: Path, monkeypatch) -> None:
    for name, compute in {
        "is50k": registry._is(8, splits=2),
        "ppl2_wend": registry._ppl(4, "w", "end", False),
    }.items():
        monkeypatch.setitem(
            registry.METRICS, name, dataclasses.replace(registry.METRICS[name], compute=compute)
        )
    detectors = Detectors({"inception": str(stand_in_file), "vgg16": str(stand_in_file)})
    for name in ("is50k", "ppl2_wend"):
        with pytest.raises(
            UserError, match="conditional network needs a data set to draw labels from; give --data"
        ):
            registry.calc_metric(name, small_G, detectors=detectors)
    free = Generator(4, 0, 4, 16, 1, synthesis_kwargs={"channel_base": 64, "channel_max": 8}).eval()
    for name in ("is50k", "ppl2_wend"):
        record = registry.calc_metric(name, free, detectors=detectors)
        assert all(np.isfinite(value) for value in record["results"].values())
        assert record["real_fingerprint"] is None


def test_a_record_is_appended_beside_its_snapshot(tmp_path: Path) -> None:
    run = tmp_path / "00000-run"
    run.mkdir()
    record = {"results": {"fid1k_tiny": 1.5}, "metric": "fid1k_tiny", "total_time": 1.0, "num_gpus": 1}
    for _ in range(2):
        registry.report_metric(record, run, run / "network-snapshot-000001.pkl")
    lines = [json.loads(line) for line in (run / "metric-fid1k_tiny.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["snapshot_pkl"] == "network-snapshot-000001.pkl"
    assert lines[0]["results"] == {"fid1k_tiny": 1.5}
    assert lines[1]["timestamp"] >= lines[0]["timestamp"]


def test_feature_statistics_keep_exactly_the_first_items() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(25, 3)).astype(np.float32)
    stats = FeatureStats(capture_all=True, capture_mean_cov=True, max_items=20)
    for start in range(0, 25, 6):
        stats.append(x[start : start + 6])
    np.testing.assert_array_equal(stats.all(), x[:20])
    mean, covariance = stats.mean_cov()
    np.testing.assert_allclose(mean, x[:20].mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x[:20].astype(np.float64).T, bias=True), rtol=1e-10)


def test_inception_score_goes_through_the_same_road(real, small_G, stand_in_file: Path, monkeypatch) -> None:
    monkeypatch.setitem(
        registry.METRICS,
        "is50k",
        dataclasses.replace(registry.METRICS["is50k"], compute=registry._is(20, splits=2)),
    )
    detectors = Detectors({"inception": str(stand_in_file)})
    record = registry.calc_metric("is50k", real, real, detectors=detectors)
    images = torch.from_numpy(np.stack([real[i][0] for i in range(20)])).expand(-1, 3, -1, -1)
    probs = detectors.load("inception").module(images, no_output_bias=True)
    expected = inception_score(probs, splits=2)
    assert record["results"]["is50k_mean"] == pytest.approx(expected.mean, rel=1e-5)
    assert record["results"]["is50k_std"] == pytest.approx(expected.std, rel=1e-5, abs=1e-9)
