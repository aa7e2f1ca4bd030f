"""The figures of an experiment: those of networks are drawn by other commands of ours, as processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spine_plugins.experiments import blog, curves, plots
from spine_plugins.experiments.results import Arm, Experiment, Task
from spine_plugins.runs.documents import Document, as_dict, as_list
from stylegan2ada import files
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.training import run_files

FOLDER = "figures"
_PER_CLASS = 4


def make(experiment: Experiment, blog_facts: Document) -> tuple[dict[str, Path], list[str]]:
    """({name: picture}, sentences about those that could not be made)."""
    folder = experiment.folder / FOLDER
    makers = {"fig1": figure1, "fig2": _figure2, "fig3": _figure3, "fig4": _figure4}
    found, troubles = {}, []
    for name, maker in makers.items():
        if name not in experiment.figures:
            continue
        try:
            maker(experiment, folder / f"{name}.png")
            found[name] = folder / f"{name}.png"
        except (UserError, OSError) as error:  # one that fails keeps no other back
            troubles.append(f"{name}: {error}")
    try:
        found |= _of_blog(experiment, blog_facts, folder)
    except MissingError as error:
        troubles.append(f"curves of the blog: {error}")
    return found, troubles


def start(words: Sequence[str]) -> None:
    """A command of ours; its last line as a UserError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "spine_plugins", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(f"`spinegan {' '.join(words[:2])}` failed: {said[-1] if said else done.returncode}")


def figure1(experiment: Experiment | None, path: Path) -> None:
    """By its formulas alone, in minutes, so a picture that is there stays; numbers beside it as CSV."""
    if experiment is not None and path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.scratch_folder("figure1") as scratch:
        start(["dp", "figure1", f"--out={scratch}"])
        shutil.copyfile(Path(scratch, "figure1.png"), path)
        shutil.copyfile(Path(scratch, "figure1.csv"), path.with_suffix(".csv"))


def _figure2(experiment: Experiment, path: Path) -> None:
    runs = [t for t in curves.trained(experiment) if t.arm.private is None]
    plots.figure2(runs, curves.series_of(runs), path)


def _figure3(experiment: Experiment, path: Path) -> None:
    """Fakes without and with noise: the arm of the paper, then the private ones, their first seeds."""
    arms = [arm for arm in experiment.arms if arm.private is not None]
    plain = next((arm for arm in experiment.arms if arm.name == "spine"), None)
    if not arms:
        raise UserError("the plan has no private arm")
    shown = ([plain] if plain else []) + arms
    runs = [_newest(experiment, arm).parent for arm in shown]
    _unless_newer(path, [_newest(experiment, arm) for arm in arms],
                  ["figures", "fig3", f"--runs={_joined(runs)}", f"--names={_titles(shown)}", f"--out={path}",
                   f"--per-class={_PER_CLASS}", "--device=cpu"])  # fmt: skip


def _figure4(experiment: Experiment, path: Path) -> None:
    """Real images of every class vocabulary, then each arm's first network."""
    arms = [arm for arm in experiment.arms if arm.private is None and _has_network(experiment, arm)]
    networks = [_newest(experiment, arm) for arm in arms]
    names = dict.fromkeys(str(arm.tags.get("data") or "train") for arm in arms)
    data = [place for name in names if (place := experiment.data(name)) is not None and place.exists()]
    if not networks or not data:
        raise UserError("there is no network yet" if not networks else "its real images are not there")
    _unless_newer(path, networks,
                  ["figures", "fig4", f"--networks={_joined(networks)}", f"--names={_titles(arms)}",
                   *(f"--data={place}" for place in data), f"--out={path}", f"--per-class={_PER_CLASS}",
                   "--overwrite", "--device=cpu"])  # fmt: skip


def _titles(arms: Sequence[Arm]) -> str:
    return ",".join(arm.title.replace(",", " ") for arm in arms)


def _unless_newer(path: Path, sources: Sequence[Path], words: Sequence[str]) -> None:
    """Tables are made again and again while an experiment runs; networks are slow to draw."""
    if path.is_file() and all(path.stat().st_mtime > source.stat().st_mtime for source in sources):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    start(words)


def _joined(paths: Sequence[Path]) -> str:
    if any("," in str(path) for path in paths):
        raise UserError("a folder in the experiment's path has a comma in its name, which parts networks")
    return ",".join(map(str, paths))


def _networks(experiment: Experiment, arm: Arm) -> list[Path]:
    """Of its first training that has any, in order."""
    tasks: list[Task] = [t for t in experiment.of_kind("gan") if t.fact("arm") == arm.name]
    found = (run_files.snapshots_in(task.folder / "run") for task in tasks if (task.folder / "run").is_dir())
    return next((snapshots for snapshots in found if snapshots), [])


def _has_network(experiment: Experiment, arm: Arm) -> bool:
    return bool(_networks(experiment, arm))


def _newest(experiment: Experiment, arm: Arm) -> Path:
    found = _networks(experiment, arm)
    if not found:
        raise UserError(f"{arm.title} has no network yet")
    return found[-1]


def _of_blog(experiment: Experiment, facts: Document, folder: Path) -> dict[str, Path]:
    """Loss and accuracy of its experiments; accuracy by number of transforms."""
    found = {}
    histories = blog.histories(experiment)
    if histories:
        found["blog-curves"] = folder / "blog-curves.png"
        plots.blog_curves(histories, found["blog-curves"])
    dose = as_dict(facts.get("dose_response"))
    if as_list(dose.get("points")):
        found["blog-dose"] = folder / "blog-dose.png"
        plots.dose(dose, found["blog-dose"])
    return found
