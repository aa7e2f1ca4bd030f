"""AnoGAN: what a generator of normal spines cannot draw is a finding (arXiv:1703.05921; f-AnoGAN 2019).

With a class-conditional snapshot of ours, the nearest image of the class "normal" is a counterfactual: what
this spine would look like without its finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spine_plugins.classifier.model import load_classifier, save_classifier
from spine_plugins.recipes import asked, latents, padim, skeleton, workshop
from spine_plugins.recipes.anomalies import Detector, Found, Normals
from spine_plugins.recipes.pairs import Pairs, phantom_pairs, read_pairs, write_pairs
from spine_plugins.recipes.sheets import save_sheet
from spine_plugins.resumable import seeded
from spine_plugins.statistics import auc, delong_interval
from stylegan2ada import files
from stylegan2ada.errors import UserError
from stylegan2ada.images import save_png, to_float, to_uint8
from stylegan2ada.protocols import JsonObject

_JUDGE = "classifier.safetensors"  # beside the model
_MOST_SHOWN = 8
_LEAST_NORMALS, _LEAST_HELD_OUT = 32, 8


@dataclass(frozen=True, kw_only=True)
class Train(workshop.Train):
    """What `recipe anogan train` was asked."""

    classifier: str | None


def train(given: Train) -> asked.Numbers:
    """GAN (unless --network), encoder and what is usual, from normal images alone."""
    data = read_pairs(given.data, needs_masks=False)
    judge = load_classifier(given.classifier) if given.classifier else None
    normals = data.part(np.flatnonzero(is_normal(data)))
    if given.val is None:
        normals, held = normals.split(0.15, given.seed)
    else:
        whole = read_pairs(given.val, needs_masks=False)
        held = whole.part(np.flatnonzero(is_normal(whole)))
    if len(normals.images) < _LEAST_NORMALS or len(held.images) < _LEAST_HELD_OUT:
        raise UserError(
            f"{given.data} has {len(normals.images)} normal images to learn from and {len(held.images)} to "
            f"compare with; give at least {_LEAST_NORMALS} and {_LEAST_HELD_OUT}"
        )
    img, usual_img = normals.tensors("cpu")[0], held.tensors("cpu")[0]
    work = workshop.Workshop(given, img, has_holes=False)
    side = img.shape[2]
    with torch.no_grad():
        judged = padim.of_classifier(judge, img[:1]) if judge else work.latents.features(img[:1])
    features = sum(m.shape[1] for m in judged)
    settings: JsonObject = {
        "channels": img.shape[1], "side": side, "search": given.search, "features": features,
        "gan_steps": work.before, **work.about,
    }  # fmt: skip
    facts: JsonObject = {
        "fingerprint": data.fingerprint, "normals": len(img), "held_out": len(usual_img),
        "classifier_sha256": judge.card["sha256"] if judge else None,
    }  # fmt: skip
    course = skeleton.Course("anogan", given, settings, facts, before=work.before)
    usual = Normals(side, features)
    work.parts.networks["normals"] = usual
    work.to(course.device)

    def finish() -> JsonObject:
        workshop.keep_snapshot(given)
        if judge is not None:
            save_classifier(judge, Path(given.out) / _JUDGE)
        with seeded(given.seed):
            Detector(work.finished(), usual, given.search, judge).fit(work.images, usual_img)
        return {"residual_usual": float(usual.terms[0, 0]), "feature_usual": float(usual.terms[1, 0])}

    card = course.run(work.parts, work.step, extra=finish)
    found: asked.Numbers = {"out": given.out, "normals": len(img), "held_out": len(usual_img)}
    return {**found, "training_sec": card["facts"]["training_sec"]}


def is_normal(data: Pairs) -> np.ndarray:
    """By the class called normal (else the first), or by labels of no finding; without any by empty masks."""
    if data.labels is None:
        return np.asarray(~data.masks.any((1, 2)))
    normal = latents.normal_class(data.class_names)
    if data.labels.ndim == 1:
        return np.asarray(data.labels == normal)
    is_named = bool(data.class_names) and data.class_names[normal].lower() in latents.NORMAL
    findings = np.delete(data.labels, normal, 1) if is_named else data.labels
    return np.asarray(~(findings > 0).any(1))


def load(model: skeleton.Model) -> Detector:
    """The detector of a trained model."""
    usual = Normals(skeleton.number(model, "side", 4096), skeleton.number(model, "features"))
    model.into("normals", usual)
    judge = load_classifier(model.folder / _JUDGE) if model.facts.get("classifier_sha256") else None
    return Detector(latents.load(model), usual, skeleton.number(model, "search", 100_000), judge)


def apply(given: asked.Apply) -> asked.Numbers:
    """A folder: scores.csv, and per image a picture of it, its normal version and where they differ."""
    if given.data is None:
        raise UserError("give --data, the images to score")
    out = skeleton.demo_folder(given.out)
    data = read_pairs(given.data, needs_masks=False)
    found = _found(skeleton.load_model(given.model, "anogan"), data)
    columns = ("name", "label", "score", "residual", "feature", "padim")
    labels = [""] * len(data.names) if data.labels is None else map(_spelled, data.labels.tolist())
    numbers = torch.stack([found.score, found.residual, found.feature, found.padim], 1).tolist()
    rows = [(*facts, *(f"{v:.4f}" for v in row)) for *facts, row in zip(data.names, labels, numbers)]
    files.write_csv(out / "scores.csv", columns, rows)
    for name, picture in zip(data.names, overlays(data.tensors("cpu")[0], found)):
        place = out / "overlays" / Path(name).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        save_png(picture, place)
    show(data, found, out / "sheet.png")
    return {
        "out": given.out,
        "n": len(rows),
        "scores": str(out / "scores.csv"),
        "sheet": str(out / "sheet.png"),
    }


def _spelled(label: float | list[float]) -> str:
    return " ".join(f"{v:g}" for v in label) if isinstance(label, list) else f"{label:g}"


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """AUC of images, of each kind of finding and, with masks, of pixels; the baseline beside it."""
    if given.data is None:
        raise UserError("give --data, normal and abnormal images")
    data = read_pairs(given.data, needs_masks=False)
    return scores(data, _found(skeleton.load_model(given.model, "anogan"), data))


def scores(data: Pairs, found: Found) -> asked.Numbers:
    """The numbers of `evaluate`."""
    normal = is_normal(data)
    if normal.all() or not normal.any():
        raise UserError(
            f"all {len(normal)} images are {'normal' if normal.all() else 'abnormal'}; an AUC needs both"
        )
    result: asked.Numbers = {}
    for name, score in (("", found.score), ("padim_", found.padim)):
        interval = delong_interval(~normal, score.numpy())
        result |= {f"{name}auc": interval.value, f"{name}low": interval.low, f"{name}high": interval.high}
    truth = data.masks > 0
    result["pixel_auc"] = float(auc(truth.ravel(), found.map.numpy().ravel())) if truth.any() else None
    result["padim_pixel_auc"] = (
        float(auc(truth.ravel(), found.padim_map.numpy().ravel())) if truth.any() else None
    )
    result["per_kind"] = {
        name: {
            "n": int(has.sum()),
            "auc": delong_interval(has[has | normal], found.score.numpy()[has | normal]).as_dict(),
        }
        for name, has in _kinds(data, normal).items()
    }
    return {**result, "residual_auc": float(auc(~normal, found.residual.numpy())),
            "feature_auc": float(auc(~normal, found.feature.numpy())), "n": len(normal)}  # fmt: skip


def _kinds(data: Pairs, normal: np.ndarray) -> dict[str, np.ndarray]:
    """{kind of finding: which images have it}, by masks, else by class."""
    if data.kinds:
        names = dict(enumerate(data.kind_names, 1))
        return {
            names.get(k, f"kind {k}"): has & ~normal
            for k in range(1, data.kinds + 1)
            if (has := (data.masks == k).any((1, 2))).any()
        }
    assert data.labels is not None
    if data.labels.ndim == 2:
        return {
            data.class_names[k] if data.class_names else f"class {k}": has
            for k in range(data.labels.shape[1])
            if (has := (data.labels[:, k] > 0) & ~normal).any()
        }
    return {
        (data.class_names[c] if c < len(data.class_names) else f"class {c}"): data.labels == c
        for c in np.unique(data.labels[~normal])
    }


def _found(model: skeleton.Model, data: Pairs) -> Found:
    img = data.tensors("cpu")[0]
    latents.check_fits(model, img)
    return load(model)(img)


def overlays(img: Tensor, found: Found) -> np.ndarray:
    """uint8 [N, R, 3 R, 3]: image, its normal version, and the image with what differs in red."""
    high = torch.quantile(found.map.flatten(1), 0.995, dim=1).clamp_min(1e-6)[:, None, None]
    heat = (found.map / high).clamp(0, 1)[:, None]
    grey = img.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    red = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None]
    shown = torch.cat(
        [t.expand(-1, 3, -1, -1) for t in (img, found.normal)] + [torch.lerp(grey, red, 0.7 * heat)], 3
    )
    return to_uint8(shown).permute(0, 2, 3, 1).numpy()


def show(data: Pairs, found: Found, path: Path) -> None:
    """A sheet of the most suspicious images."""
    top = found.score.argsort(descending=True)[:_MOST_SHOWN]
    img, side = data.tensors("cpu")[0][top], data.images.shape[3]
    part = Found(*(values[top] for values in found))
    pictures = to_float(torch.from_numpy(overlays(img, part)).permute(0, 3, 1, 2))
    names = ("image", "as if normal", "difference")
    rows = [(name, pictures[..., i * side : (i + 1) * side]) for i, name in enumerate(names)]
    if data.masks.any():
        rows.append(("truth", (torch.from_numpy(data.masks[top.numpy()] > 0).float() * 2 - 1)[:, None]))
    save_sheet(rows, path)


def demo(given: asked.Demo) -> asked.Numbers:
    """Phantoms from the side; what a small GAN of normal ones cannot draw."""
    folder = skeleton.demo_folder(given.out)
    for name, n, seed in (("train", 400, given.seed), ("test", 80, given.seed + 1)):
        images, masks, labels = phantom_pairs(n, seed, what="kinds", view="lateral")
        write_pairs(folder / f"{name}.zip", images, masks, labels.tolist())
    train(Train(
        out=str(folder / "model"), steps=120, seed=given.seed, continue_run=False, device="cpu",
        json_file=None, data=str(folder / "train.zip"), val=None, network=None, class_idx=None,
        gan_steps=200, search=10, classifier=None,
    ))  # fmt: skip
    data = read_pairs(folder / "test.zip")
    found = _found(skeleton.load_model(folder / "model", "anogan"), data)
    show(data, found, folder / "anogan.png")
    return {"picture": str(folder / "anogan.png"), **scores(data, found)}
