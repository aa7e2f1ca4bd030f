"""The folder of a release: images under neutral names, audit, cards, checksums; and its check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from spine_plugins.release import pages
from spine_plugins.release.card import Sources, make_card, picked
from spine_plugins.release.schema import SCHEMA
from spine_plugins.runs.documents import Document, as_dict, as_list, parsed, read_json, whole
from spine_plugins.runs.reading import read_run
from stylegan2ada import files
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError

CARD, PAGE, TEXT, SUMS = "card.json", "card.html", "card.md", "checksums.txt"
IMAGES, AUDIT, SCHEMA_FILE = "images.zip", "audit.json", "card.schema.json"
FAIL = "FAIL"
_RECIPE_KEYS = ("tool", "version", "network_sha256", "truncation_psi", "noise_mode", "images_per_class",
                "first_seed")  # fmt: skip
_ORIGIN_KEYS = ("origin", "sha256", "licence")


class LeakError(UserError):
    """The audit found evidence of a leak, and nobody has taken the responsibility."""

    exit_code = 6


class ClaimError(UserError):
    """A release is not what its card says."""

    exit_code = 5


def read_audit(folder: Path) -> Document:
    """The public half of an audit."""
    audit = read_json(folder / AUDIT if folder.is_dir() else folder)
    if audit.get("verdict") not in ("FAIL", "NO EVIDENCE", "UNDERPOWERED"):
        raise UserError(f"--audit={folder} holds no audit; make one with `spinegan audit`")
    return audit


def check_may_be_released(audit: Document, accepted_risk: str | None) -> None:
    """The gate: a FAIL needs somebody who says why it is released all the same."""
    if audit.get("verdict") == FAIL and not (accepted_risk or "").strip():
        raise LeakError(
            "the audit found evidence of a leak (FAIL), so nothing is released; make other images, or "
            'take the risk by name: --accept-risk="who, and why", which becomes the first line of the card'
        )


def check_holdout(audit: Document, used: Mapping[str, str]) -> None:
    """Refuses a hold-out that something else was fitted to; `used`: {fingerprint: what for}."""
    mark = str(as_dict(as_dict(audit.get("inputs")).get("holdout")).get("fingerprint"))
    if mark in used:
        raise UserError(
            f"the held-out images of the audit were used before ({used[mark]}); audit with images that "
            "nothing has seen"
        )


def fitted_to(run: Path | None) -> dict[str, str]:
    """{fingerprint: what for} of the data that the classifier in a run's loss was fitted to or chosen on."""
    if run is None:
        return {}
    used = {}
    for role, facts in as_dict(as_dict(read_run(run).classifier).get("data")).items():
        for key in ("fingerprint", "source_fingerprint"):
            if mark := as_dict(facts).get(key):
                used[str(mark)] = f"as the {role} set of the classifier in its loss"
    return used


def write_images(source: str, target: Path) -> Document:
    """The images under running numbers, with labels alone; what is known of them for the card."""
    dataset = ImageFolderDataset(source, use_labels=True)
    dataset.name = "images"  # progress lines print it, and names of files can name people
    has_labels = dataset.has_labels
    labels = dataset.raw_labels()
    recipe = _public_recipe(as_dict(dataset.recipe))
    with DatasetWriter(target) as writer:
        if dataset.label_names and has_labels:
            writer.extra["label_names"] = dataset.label_names
        if recipe:
            writer.extra["recipe"] = recipe
        for i in range(len(dataset)):
            pixels = dataset.raw_image(i).transpose(1, 2, 0)
            image = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
            writer.add(image, labels[i] if has_labels else None)
    return image_facts(target)


def image_facts(path: Path) -> Document:
    """Facts of images.zip, as the card has them."""
    dataset = ImageFolderDataset(path, use_labels=True)
    channels, height, width = dataset.image_shape
    found: Document = {
        "images": len(dataset),
        "fingerprint": fingerprint(dataset),
        "sha256": files.sha256_file(path),
        "geometry": f"{width}x{height}, {channels} channel(s)",
    }
    if dataset.label_names:
        found["label_names"] = list(dataset.label_names)
    if dataset.recipe:
        found["recipe"] = as_dict(dataset.recipe)
    dataset.close()
    return found


def _public_recipe(recipe: Document) -> Document:
    """What says how the images were drawn, without names of files."""
    found = picked(recipe, _RECIPE_KEYS)
    origin = as_dict(recipe.get("provenance"))
    if origin:
        roots = [picked(as_dict(root), _ORIGIN_KEYS) for root in as_list(origin.get("starts_from"))]
        found["provenance"] = picked(origin, ("licence",)) | {"starts_from": roots}
    return found


def write_release(sources: Sources, out: Path, others: list[str]) -> Document:
    """Cards and checksums beside images.zip, which is there; `others`: further files, such as weights."""
    audited = str(as_dict(as_dict(sources.audit.get("inputs")).get("fakes")).get("fingerprint"))
    if audited != sources.images["fingerprint"]:
        raise UserError(
            "the audit is of other images than those to be released; run `spinegan audit` on exactly these"
        )
    files.write_json(out / AUDIT, sources.audit)
    files.write_json(out / SCHEMA_FILE, SCHEMA)
    listed = {name: files.sha256_file(out / name) for name in (IMAGES, AUDIT, SCHEMA_FILE, *others)}
    card = make_card(sources, listed, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    files.write_json(out / CARD, card)
    _write(out / PAGE, pages.html(_as_read(card)))
    _write(out / TEXT, pages.markdown(_as_read(card)))
    _write(out / SUMS, _sums(out))
    return card


def _as_read(card: Document) -> Document:
    """The card as a reader of its file has it, so that pages made from either are the same."""
    return as_dict(parsed(json.dumps(card)))


def _write(path: Path, text: str) -> None:
    with files.atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))


def _sums(folder: Path) -> str:
    """As sha256sum writes them, every file but this one."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{files.sha256_file(folder / name)}  {name}\n" for name in names)


@dataclass(frozen=True)
class Verified:
    """A release that is what it says."""

    verdict: str
    n_images: int


def verify(folder: Path) -> Verified:
    """ClaimError with the first thing that is not as it was, or not as the card says."""
    if not (folder / CARD).is_file() or not (folder / SUMS).is_file():
        raise ClaimError(f"{folder} is no release: {CARD} or {SUMS} is missing")
    for path in folder.iterdir():
        if not path.is_file() or path.is_symlink():
            raise ClaimError(f"{path.name} does not belong to the release; remove it")
    if (folder / SUMS).read_bytes() != _sums(folder).encode():
        raise ClaimError(f"{_changed(folder)} is not as it was when {SUMS} was written")
    card = read_json(folder / CARD)
    for name, mark in as_dict(card.get("files")).items():
        if not (folder / name).is_file() or files.sha256_file(folder / name) != mark:
            raise ClaimError(f"{name} is not the file that the card describes")
    facts = _verify_claims(card, folder)
    verdict = as_dict(as_dict(card.get("privacy")).get("audit")).get("verdict")
    return Verified(str(verdict), whole(facts["images"]) or 0)


def _verify_claims(card: Document, folder: Path) -> Document:
    """What the card says of images and audit, read again from these; the facts of the images."""
    audit = read_json(folder / AUDIT)
    said = as_dict(as_dict(card.get("privacy")).get("audit"))
    tests = {name: as_dict(test).get("verdict") for name, test in as_dict(audit.get("tests")).items()}
    told = {name: as_dict(test).get("verdict") for name, test in as_dict(said.get("tests")).items()}
    if audit.get("verdict") != said.get("verdict") or tests != told:
        raise ClaimError("the verdicts of the card are not those of the audit")
    if audit.get("verdict") == FAIL and not card.get("first_line"):
        raise ClaimError("the audit says FAIL, and the card does not say who has taken the risk")
    facts = image_facts(folder / IMAGES)
    audited = as_dict(as_dict(audit.get("inputs")).get("fakes")).get("fingerprint")
    if facts["fingerprint"] != audited or as_dict(card.get("images")) != facts:
        raise ClaimError("the images are not those that were audited")
    for name, text in ((PAGE, pages.html(card)), (TEXT, pages.markdown(card))):
        if (folder / name).read_bytes() != text.encode("utf-8", "replace"):
            raise ClaimError(f"{name} does not say what {CARD} says")
    return facts


def _changed(folder: Path) -> str:
    """The first file whose line is missing or wrong; the list itself if none is."""
    lines = (folder / SUMS).read_text(errors="replace").splitlines()
    known = {line.partition("  ")[2]: line.partition("  ")[0] for line in lines}
    for line in _sums(folder).splitlines():
        digest, name = line.split("  ", 1)
        if known.pop(name, None) != digest:
            return name
    return next(iter(known), SUMS)


def check_free(out: Path) -> None:
    """A release never overwrites anything."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out={out} is not an empty folder; a release never overwrites one, give another")
