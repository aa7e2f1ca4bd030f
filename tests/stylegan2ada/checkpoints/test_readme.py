"""The pages for people and hubs: front matter that parses, what is known, and no place or person."""

from __future__ import annotations

import pytest

from stylegan2ada.checkpoints.readme import dataset_readme, model_readme

yaml = pytest.importorskip("yaml")

CARD = {
    "dataset": "spine-train",
    "kimg": 12.0,
    "label_names": ["normal", 'ab: "normal" | <b>'],
    "sha256": "ab" * 32,
    "origin": "/home/jane doe/runs/network.pkl",
    "starts_from": [{"origin": "C:\\users\\jane\\ffhq.pkl", "licence": "non-commercial"}],
    "licence": "non-commercial use only",
    "secret": "of nobody's business",
}


def front_matter(page: str) -> dict:
    _, head, _ = page.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_page_of_a_network() -> None:
    page = model_readme(
        CARD, name="net.pkl", shape={"resolution": "32x32"}, metrics={"fid1k_tiny": 0.01234567}
    )
    head = front_matter(page)
    assert (head["library_name"], head["license"]) == ("spinegan", "other")
    assert "| fid1k_tiny | 0.01235 |" in page
    assert "| Weights from | ffhq.pkl |" in page
    assert "| Licence | non-commercial use only |" in page
    assert "| Classes | normal, ab: 'normal' / (b) |" in page
    for word in ("jane", "home", "secret", "nobody's business", "<b>"):
        assert word not in page
    assert "None were measured" in model_readme({}, name="n.pkl", shape={}, metrics={})
    assert front_matter(model_readme({}, name="n.pkl", shape={}, metrics={}))["license"] == "unknown"


@pytest.mark.parametrize(
    ("images", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (400_000, "100K<n<1M"), (1_000_000, "n>1M")]
)
def test_the_page_of_a_synthetic_set(images: int, size: str) -> None:
    card = {"classes": [0, 1], "images_per_class": images // 2, "truncation_psi": 1, "provenance": CARD}
    page = dataset_readme(card, name='x: "y".zip', images=images, resolution=32)
    head = front_matter(page)
    assert (head["size_categories"], head["pretty_name"]) == ([size], 'x: "y".zip')
    assert "synthetic" in head["tags"]
    assert f"{images} of 32x32, all of them drawn" in page
    assert "jane" not in page
    assert "not anonymous" in page
