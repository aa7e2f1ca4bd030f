"""Plans: what cannot be meant is refused with line and reason; what can becomes the tasks it should."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spine_plugins.experiments import estimate, folder, missing, plan_file
from spine_plugins.experiments.folder import Given
from spine_plugins.experiments.making import tasks_of
from spine_plugins.experiments.parsing import parse
from spine_plugins.experiments.tasks import in_order, snapshots
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from tests.spine_plugins.experiments.plans import SMALL, opened, write_plan

ADDED = len(SMALL.splitlines())  # what is put behind the small plan begins on the line after this


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        opened(tmp_path, text)
    return str(caught.value).removeprefix(str(tmp_path) + "/")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ('train = ["ada:8"]', 'train = ["adda:8"]'),
            "line 27: there is no arm 'adda'; known are real, train",
        ),
        (('title = "Small"\n', ""), "title is missing; it is a text in quotes"),
        (("resolution = 32", 'resolution = "32"'), "line 2: resolution must be a whole number"),
        (("epochs = 2", "epoch = 2"), "line 12: epoch is unknown here; known are arch, epochs, steps"),
        (("seed = 2 }", "seed = 3 }"), "leakage: seed 3 draws the test patients into val; give it a seed of"),
        (("seed = 1 }", "seed = 3 }"), "line 6: leakage: seed 3 draws the test patients into train"),
        ((", seed = 1 }", " }"), "line 6: phantom.seed is missing"),
        (('["ada:8"]', '["ada"]'), "line 27: 'ada': how many images? Write ada:500"),
        (('["ada:8"]', '["ada 8"]'), "line 27: 'ada 8' is no source"),
        (('["ada:8"]', '["ada:8 filtered"]'), "line 27: 'ada:8 filtered' needs a classifier"),
        (("steps = 4", "steps = 1"), "line 13: steps = 1 are fewer than the 2 epochs"),
        (
            ("[rows.ada-8]", '[rows.ada-8]\nagainst = "nobody"'),
            "line 27: there is no row 'nobody' to compare",
        ),
        (("[rows.ada-8]", '[rows."a/b"]'), "line 26: 'a/b' cannot be a name here"),
        (("test = {", "tset = {"), "line 5: data.test is missing; write [data.test] with zip or phantom"),
        (('"cnn13k"', '"resnet"'), "line 11: arch = 'resnet' is unknown; choose from densenet121, cnn13k"),
        (("kimg = 1", "kimg = true"), "line 17: kimg must be a whole number"),
        (("draws", "draws"), ""),
    ],
)
def test_wrong_plans_are_refused_with_line_and_reason(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    if not said:
        opened(tmp_path)  # the plan itself is right
        return
    assert change[0] in SMALL
    assert said in refusal(tmp_path, SMALL.replace(*change, 1))


@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        ('[arms.b]\nresume = "c"\n[arms.c]\nresume = "b"\n', 2, "start from each other; let one of them"),
        ('[arms.b]\nclassifier = "s"\n', 2, "there is no classifier 's' (none)"),
        ('[arms.b]\nprivate = "z"\n', 2, "private = 'z' is no arm of Figure 3; choose b, c, d or e"),
        ('[rows.x]\ntrain = ["real"]\nagainst = "y"\n[rows.y]\ntrain = ["real"]\nagainst = "x"\n', 3,
         "compare in a circle"),
        ("[rows.x]\n", 1, 'the row x learns from nothing; write train = ["real"]'),
        ('[classifiers.s]\nrole = "loss"\ndata = "nowhere"\n', 3, "there is no data set 'nowhere'"),
        ("= 3\n", 1, "not valid TOML"),
    ],
)  # fmt: skip
def test_circles_and_unknown_names(tmp_path: Path, more: str, line: int, said: str) -> None:
    found = refusal(tmp_path, SMALL + more)
    assert found.startswith(f"small.toml, line {ADDED + line}: ") and said in found


def test_classes_that_do_not_fit(tmp_path: Path) -> None:
    eight = SMALL.replace(
        "[classifier]", 'eight = { phantom = { n = 9, seed = 4, classes = "spine8" } }\n\n[classifier]'
    )
    more = '[classifiers.s]\nrole = "loss"\ndata = "eight"\n[arms.b]\nclassifier = "s"\n'
    assert "s knows the 8 classes of eight, the arm draws the 2 of train" in refusal(tmp_path, eight + more)
    rows = eight.replace('train = ["ada:8"]', 'train = ["eight"]')
    assert "line 29: eight has 8 classes, the test set 2; rows are measured on" in refusal(tmp_path, rows)


def write_set(path: Path, patients: list[str], names: list[str]) -> Path:
    with DatasetWriter(path, overwrite=True) as writer:
        written = [writer.add(np.full((32, 32), k, np.uint8), k % 2) for k in range(len(patients))]
        writer.extra["label_names"] = names
        writer.extra["groups"] = {n: {"study": p, "patient": p} for n, p in zip(written, patients)}
    return path


def test_a_test_patient_in_a_training_set(tmp_path: Path) -> None:
    names = ["normal", "abnormal"]
    write_set(tmp_path / "train.zip", ["a", "b", "c"], names)
    write_set(tmp_path / "test.zip", ["c", "d"], names)
    text = SMALL.replace("{ phantom = { n = 20, seed = 1 } }", '{ zip = "train.zip" }')
    text = text.replace("{ phantom = { n = 10, seed = 3 } }", '{ zip = "test.zip" }')
    found = refusal(tmp_path, text)
    assert found.startswith(
        "small.toml, line 6: leakage: 1 of the 2 patients of the test set are also in train"
    )
    write_set(tmp_path / "test.zip", ["d", "e"], ["healthy", "ill"])
    assert "the data set train has the classes normal, abnormal, test has healthy, ill" in refusal(
        tmp_path, text
    )
    eight = text.replace('"train.zip" }', '"train.zip", classes = 8 }').replace("[rows.ada-8]", "[rows.x]")
    said = refusal(
        tmp_path, eight.replace('train = ["ada:8"]', 'train = ["test"]').replace('["real"]', '["test"]')
    )
    assert "line 6: the data set train is to have 8 classes, and its file has 2 (normal, abnormal)" in said
    write_set(tmp_path / "test.zip", ["d", "e"], names)
    experiment = opened(tmp_path, text)
    facts = {task.id: task.facts for task in experiment.tasks}
    assert facts["fit-real-s0"]["train_images"] == 3 and "data-train" not in facts
    assert folder.resolved(experiment)["classes"] == names


def test_what_is_missing_is_known_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SPINEGAN_DETECTORS", raising=False)
    text = SMALL.replace('"cnn13k"', '"densenet121"\nweights = "w.pth"')
    text = text.replace("{ phantom = { n = 10, seed = 3 } }", '{ zip = "test.zip" }')
    experiment = opened(tmp_path, text + '[metrics]\nnames = ["fid50k_full", "fid1k_tiny"]\n')
    lacks = missing.lacks(experiment.plan, experiment.tasks, tmp_path)
    said = " | ".join(lack.what for lack in lacks)
    assert (
        f"{tmp_path}/test.zip does not exist: make the data set test, or say where it is with --data" in said
    )
    assert f"the ImageNet weights {tmp_path}/w.pth are not there" in said
    assert "the detector inception is nowhere: `spinegan detectors fetch inception`" in said
    assert "tiny" not in said
    (of_detector,) = (lack.tasks for lack in lacks if "inception" in lack.what)
    assert of_detector == ("metrics-ada-0-000000", "metrics-ada-0-000001", "quality-ada-0")


def test_a_generator_of_ones_own_is_a_few_lines(tmp_path: Path) -> None:
    write_set(tmp_path / "diffusion.zip", ["f", "g"], ["normal", "abnormal"])
    mine = '[arms.mine]\nmaker = "images"\nimages = "diffusion.zip"\n[rows.mine]\ntrain = ["real", "mine"]\n'
    experiment = opened(tmp_path, SMALL + mine)
    (fit,) = (task for task in experiment.tasks if task.id.startswith("fit-mine"))
    assert f"--add={tmp_path}/diffusion.zip" in fit.command and fit.facts["arm"] == "mine"


def test_the_batch_of_an_arm_of_figure_3_is_its_own(tmp_path: Path) -> None:
    """Images one by one, or four at a time, is what those arms are about: the others' batch is not theirs."""
    arms = '[arms.b]\nprivate = "b"\n[arms.d]\nprivate = "d"\n'
    arms += '[arms.wide]\nprivate = "b"\nflags = { batch = 64 }\n'
    commands = {task.id: task.command for task in opened(tmp_path, SMALL + arms).tasks}
    batches = {name: [word for word in commands[f"gan-{name}-0"] if word.startswith("--batch=")]
               for name in ("ada", "b", "d", "wide")}  # fmt: skip
    assert batches == {"ada": ["--batch=16"], "b": [], "d": [], "wide": ["--batch=64"]}


def test_rows_in_step_and_in_full(tmp_path: Path) -> None:
    text = SMALL.replace("seeds = [0]", "seeds = [0, 1, 2]").replace("kimg = 1", "kimg = 1\nseeds = [5, 6]")
    text = text.replace("[data]", "draws = 2\n\n[data]").replace("draws = 2\n\n[data]", "[data]")
    text = text.replace('device = "cpu"', 'device = "cpu"\ndraws = 2')
    ids = [task.id for task in opened(tmp_path, text).tasks if task.id.startswith("fit-ada")]
    assert ids == [
        f"fit-ada-8-s{s}-g{g}-d{d}" for s, g in ((0, 5), (1, 6), (2, 5)) for d in (0, 1)
    ]  # the third seed takes the first network again
    full = text.replace("[rows.ada-8]", '[rows.ada-8]\ncross = "full"')
    ids = [task.id for task in opened(tmp_path, full).tasks if task.id.startswith("fit-ada")]
    assert len(ids) == 3 * 2 * 2 and len(set(ids)) == 12


def test_names_of_snapshots_are_those_of_the_loop(tmp_path: Path) -> None:
    arm = opened(tmp_path).plan.arms["ada"]
    # What a real run of these flags left (see the slow test of the plan `smoke`).
    assert snapshots(arm, 32) == [0, 1]
    paper = parse(plan_file.read(plan_file.find("paper")), "paper")
    found = snapshots(paper.arms["ada"], 256)
    assert found == [0, *range(200, 4201, 200)]  # the initial one, and the paper's 21


PAPER = {
    # as the dry run says it: kinds, and a command of each
    "kinds": {"classifier": 317, "data": 6, "draw": 82, "gan": 12, "metrics": 149, "quality": 12,
              "predict": 270, "consistency": 1},
    "gan-spine-1": "train --outdir=tasks/gan-spine-1/work --continue=latest --data=/p/spine-train.zip "
    "--cond=1 --kimg=4200 --seed=1 --metrics=none --device=auto --state-minutes=10 --preset=paper-spine "
    "--loss=spine --classifier=tasks/classifier-loss/classifier.safetensors --test-data=/p/spine-test.zip",
    "classifier-loss": "classify train --data=/p/spine-train.zip "
    "--out=tasks/classifier-loss/classifier.safetensors --arch=densenet121 --epochs=19 --batch=32 "
    "--augment=standard --select-on=last --seed=0 --device=auto --overwrite --val=/p/spine-val.zip "
    "--weights=/p/densenet121-a639ec97.pth",
    "metrics-ada-0-004200": "metrics --network=tasks/gan-ada-0/run/network-snapshot-004200.pkl "
    "--data=/p/spine-train.zip --metrics=fid50k_full,kid50k_full,pr50k3_full,dc50k5_full --verbose=0 "
    "--json=tasks/metrics-ada-0-004200/metrics.json --device=auto",
    "quality-multi-0": "experiments quality --network=tasks/gan-multi-0/run/network-snapshot-001200.pkl "
    "--data=/p/spine8-train.zip --metrics=fid50k_full,kid50k_full,pr50k3_full,dc50k5_full --per-class "
    "--json=tasks/quality-multi-0/quality.json --device=auto",
    "draw-spine-2-1-500": "generate --network=tasks/gan-spine-2/run/network-snapshot-004200.pkl "
    "--per-class=250 --seeds=20000500 --noise-mode=random --outdir=tasks/draw-spine-2-1-500/images.zip "
    "--device=auto",
    "fit-spine-500-s3-g0-d1": "classify train --data=/p/spine-train.zip "
    "--add=tasks/draw-spine-0-1-500/images.zip --out=tasks/fit-spine-500-s3-g0-d1/classifier.safetensors "
    "--arch=densenet121 --epochs=30 --batch=32 --augment=standard --select-on=val --seed=3 --device=auto "
    "--overwrite --val=/p/spine-val.zip --weights=/p/densenet121-a639ec97.pth",
    "gan-dp-c-0": "train --outdir=tasks/gan-dp-c-0/work --continue=latest --data=/p/spine-train.zip --cond=1 "
    "--kimg=200 --seed=0 --metrics=none --device=auto --state-minutes=10 --preset=paper-dp-c "
    "--loss=spine --classifier=tasks/classifier-loss/classifier.safetensors --test-data=/p/spine-test.zip",
}  # fmt: skip


def test_the_paper_is_pinned() -> None:
    plan = parse(plan_file.read(plan_file.find("paper")), "paper")
    tasks = list(in_order(tasks_of(plan, Path("/p"))))
    commands = {task.id: " ".join(task.command) for task in tasks}
    found = {name: commands[name] for name in PAPER if name != "kinds"}
    assert {"kinds": dict(Counter(task.kind for task in tasks)), **found} == PAPER
    published = [row.paper for row in plan.rows.values() if row.group == "paper"]
    assert published == [0.886, 0.856, 0.843, 0.850, 0.847, 0.856, 0.839, 0.850, 0.814, 0.830]


@pytest.mark.parametrize("name", sorted(plan_file.shipped()))
def test_every_plan_that_is_shipped_is_sound(name: str, tmp_path: Path) -> None:
    experiment = folder.open_plan(name, Given(name, str(tmp_path)), tmp_path / "out")
    ids = [task.id for task in experiment.tasks]
    assert len(set(ids)) == len(ids)
    for position, task in enumerate(experiment.tasks):
        assert set(task.needs) <= set(ids[:position]), f"{task.id} stands before what it needs"
        made_by = {path.split("/")[1] for path in task.reads if path.startswith("tasks/")}
        assert made_by <= set(task.needs), f"{task.id} reads of tasks that it does not need"
    estimator = estimate.Estimator(experiment.plan, {}, on_gpu=False)
    cost = estimate.total(estimator.cost(task) for task in experiment.tasks)
    assert cost.seconds > 0 and cost.bytes > 0
    json.dumps(folder.resolved(experiment))
    if name == "paper-mini":
        assert cost.seconds / 2 <= 3600  # on two cores


def test_a_given_speed_wins() -> None:
    plan = parse(plan_file.read(plan_file.find("paper-mini")), "paper-mini")
    (gan,) = (task for task in tasks_of(plan, Path("/p")) if task.id == "gan-ada-0")
    ours = estimate.Estimator(plan, {}, on_gpu=False)
    given = estimate.Estimator(plan, {"gan@32": 2 * ours.speed("gan")}, on_gpu=False)
    start = ours.speed("start")
    assert given.cost(gan).seconds - start == pytest.approx(2 * (ours.cost(gan).seconds - start))
    with pytest.raises(UserError, match="--speed gun: there is no such constant"):
        estimate.Estimator(plan, {"gun": 1.0}, on_gpu=False)


def test_a_plan_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="there is no plan 'papr'; give a .toml file, or one of fracture, paper"
    ):
        plan_file.find("papr")
    with pytest.raises(UserError, match="the plan .* cannot be read"):
        plan_file.read(tmp_path / "no.toml")
    write_plan(tmp_path, "a = [")
    assert "small.toml" in refusal(tmp_path, "a = [")


@pytest.mark.parametrize(("batch", "tick", "snap", "kimg"), [(16, 1, 4, 20), (32, 1, 5, 40), (48, 0.7, 3, 9)])
def test_snapshots_by_counting_as_the_loop_does(
    tmp_path: Path, batch: int, tick: float, snap: int, kimg: int
) -> None:
    flags = f"kimg = {kimg}\nflags = {{ batch = {batch}, tick = {tick}, snap = {snap} }}"
    text = SMALL.replace("kimg = 1\nflags = { batch = 16, tick = 1, snap = 1 }", flags)
    seen, number, start, expected = 0, 0, 0, []
    while seen < kimg * 1000:
        seen += batch
        if seen >= kimg * 1000 or number == 0 or seen >= start + tick * 1000:
            if seen >= kimg * 1000 or number % snap == 0:
                expected.append(seen // 1000)
            number, start = number + 1, seen
    assert snapshots(opened(tmp_path, text).plan.arms["ada"], 32) == list(dict.fromkeys(expected))
