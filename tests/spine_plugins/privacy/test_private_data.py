"""One door that counts, and a face that no private record can move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.privacy.canaries import Canaries
from spine_plugins.privacy.noise import SeededChance, SystemChance
from spine_plugins.privacy.private_data import Door, PublicFace
from spine_plugins.privacy.private_run import PriorLabels, PrivateRun, read_prior
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from tests.spine_plugins.privacy.runs import (
    NAMES,
    SIDE,
    data_set,
    images,
    settings,
    with_a_broken_image,
)


def opened(path: Path) -> ImageFolderDataset:
    return ImageFolderDataset(str(path), use_labels=True)


def face_of(path: Path) -> PublicFace:
    return PrivateRun(settings()).open(str(path))


def neighbours(tmp_path: Path) -> dict[str, Path]:
    """The data set and others that differ in one record."""
    base = images()
    return {
        "base": data_set(tmp_path / "base.zip"),
        "one more, of a class of its own": data_set(
            tmp_path / "more.zip", [*base, images(1, seed=9)[0]], [*(i % 2 for i in range(12)), 2]
        ),
        "one less": data_set(tmp_path / "less.zip", base[:-1]),
        "another label": data_set(tmp_path / "label.zip", base, [2, *(i % 2 for i in range(1, 12))]),
    }


def test_nothing_that_is_public_differs_between_neighbours(tmp_path: Path) -> None:
    seen = set()
    for path in neighbours(tmp_path).values():
        face = face_of(path)
        info = face.info()
        seen.add((
            len(face), info.num_images, info.image_shape, info.label_dim, info.label_names, face.label_dim,
            face.has_onehot_labels, fingerprint(face), face.content_key(), face.get_labels().tobytes(),
            len(face.as_if_opened(use_labels=True)),
        ))  # fmt: skip
    assert len(seen) == 1
    ((length, num, _, dim, *_rest),) = seen
    assert length == num == 12 and dim == 3


def test_opening_the_face_looks_at_no_image(tmp_path: Path) -> None:
    face = face_of(data_set(tmp_path / "d.zip"))
    face.info(), fingerprint(face), face.get_labels(), face.label_dim  # noqa: B018
    assert dict(face.door.reads) == {"opening": 1}
    assert np.array_equal(face[3][0][0], images()[3])
    assert face.door.reads["picture"] == 1


def door_of(path: Path, q: float = 1.0, **more) -> Door:
    door = Door(opened(path), 3, "image", **more)
    door.share(q, SeededChance(0))
    return door


def test_every_look_is_counted(tmp_path: Path) -> None:
    door = door_of(data_set(tmp_path / "d.zip"))
    drawn = door.draw()
    assert len(drawn.images) == 12 and drawn.images.min() >= -1 and drawn.images.max() <= 1
    assert drawn.labels.tolist() == np.eye(3)[[i % 2 for i in range(12)]].tolist()
    door.histogram()
    door.fingerprint()
    assert dict(door.reads) == {"opening": 1, "batches": 1, "images": 12, "labels": 24, "fingerprint": 1}


def test_an_image_that_cannot_be_decoded_stops_nothing(tmp_path: Path) -> None:
    path = with_a_broken_image(data_set(tmp_path / "d.zip"), 5)
    door = door_of(path)
    drawn = door.draw()
    assert (drawn.images[5] == -1).all() and door.reads["undecodable"] == 1
    assert len(drawn.images) == 12


def test_a_label_beyond_the_declared_classes_is_nobodys(tmp_path: Path) -> None:
    door = Door(opened(data_set(tmp_path / "d.zip")), 1, "image")
    door.share(1.0, SeededChance(0))
    assert door.draw().labels.sum() == 6
    assert door.histogram().tolist() == [6]


def test_ranks_draw_disjoint_units(tmp_path: Path) -> None:
    path, seen = data_set(tmp_path / "d.zip"), []
    for rank in range(2):
        door = Door(opened(path), 3, "image")
        door.share(1.0, SystemChance(), rank, 2)
        seen += [tuple(image.flatten().tolist()) for image in door.draw().images]
    assert len(seen) == len(set(seen)) == 12


def test_canaries_are_units_of_their_own_and_half_of_them_are_there(tmp_path: Path) -> None:
    canaries = Canaries.toss(400, SystemChance())
    assert 140 < canaries.is_member.sum() < 260
    few = Canaries(canaries.seeds[:5], np.array([True, False, True, False, False]))
    planted = few.planted([1, SIDE, SIDE], 3)
    door = door_of(data_set(tmp_path / "d.zip"), canaries=planted)
    assert door.num_units == 14
    drawn = door.draw()
    assert np.array_equal(drawn.images[13, 0].numpy() > 0, planted[1][0][0] > 127)
    assert drawn.labels[13].argmax() == planted[1][1]
    few.save(tmp_path)
    again = Canaries.load(tmp_path)
    assert again is not None
    assert np.array_equal(again.record(3, [1, SIDE, SIDE], 3)[0], few.record(3, [1, 8, 8], 3)[0])
    assert (tmp_path / "privacy/private").stat().st_mode & 0o777 == 0o700


# Labels of fakes.


def test_fakes_are_asked_for_by_the_declared_prior_alone(tmp_path: Path) -> None:
    """All images have class 0; fakes have each class as often, and the picture a row of each."""
    private = PrivateRun(settings())
    face = private.open(str(data_set(tmp_path / "d.zip", labels=[0] * 12)))
    labels = private.make_labels(None, face)
    drawn = labels.draw(9000, np.random.RandomState(0))
    assert np.abs(drawn.mean(0) - 1 / 3).max() < 0.03
    assert labels.for_grid(4, 6).argmax(1).tolist() == [k for k in (0, 1, 2) * 2 for _ in range(4)]
    assert dict(face.door.reads) == {"opening": 1}
    assert PriorLabels(np.zeros(0)).draw(3, np.random.RandomState(0)).shape == (3, 0)


def test_a_prior_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    path.write_text("[1, 3, 0]")
    assert read_prior(str(path), 3).tolist() == [0.25, 0.75, 0]
    for text in ("[1, 2]", "[1, -1, 1]", "[0, 0, 0]", "{}", "x"):
        path.write_text(text)
        with pytest.raises(UserError, match="--dp-label-prior"):
            read_prior(str(path), 3)
    assert len(NAMES) == 3
