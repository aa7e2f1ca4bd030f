"""From a plan to its tasks: each row, network and draw as the commands that make it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from spine_plugins.experiments.plan import Arm, Fit, Helper, Plan, Row, Source
from spine_plugins.experiments.tasks import (
    CLASSIFIER,
    IMAGES,
    PREDICTIONS,
    RUN,
    TASKS,
    WORK,
    Facts,
    Task,
    snapshots,
)
from stylegan2ada.training import run_files

_MOST_DRAWN = 1_000_000  # images of one draw; the next one starts behind them
_OF_TWO_SETS = ("fid", "kid", "pr", "dc")  # metrics that can be measured again on halves of both sets
_FILTER_FROM = 2  # times as many are drawn as a filter shall leave


def tasks_of(plan: Plan, base: Path, counts: Mapping[str, int] | None = None) -> list[Task]:
    """All tasks, each behind those it needs; `counts` are images in files, where they are known.

    Files that the plan names are looked for in `base`.
    """
    return list(_Maker(plan, base, dict(counts or {})).all().values())


class _Maker:
    """Makes each task once, whoever asks for it."""

    def __init__(self, plan: Plan, base: Path, counts: dict[str, int]) -> None:
        self.plan, self.base, self.counts = plan, base, counts
        self.made: dict[str, Task] = {}

    def all(self) -> dict[str, Task]:
        for name in self.plan.data:
            self.set_zip(name)
        for helper in self.plan.helpers.values():
            self.helper(helper)
        for row in self.plan.rows.values():
            if row.train:
                self.row(row)
        for arm in self.plan.arms.values():
            if arm.maker != "images":
                for seed in arm.seeds:
                    self.gan(arm, seed)
                    self.measured(arm, seed)
                    self.judged(arm, seed)
                    self.quality(arm, seed)
        return self.made

    def add(self, task: Task) -> Task:
        return self.made.setdefault(task.id, task)

    # Real images.

    def set_zip(self, name: str) -> tuple[str, tuple[str, ...]]:
        """(path of a data set, the task that draws it if one does)"""
        one = self.plan.data[name]
        if one.zip is not None:
            return str((self.base / one.zip).absolute()), ()
        n = int(one.phantom["n"])
        self.counts.setdefault(name, n)
        task = self.add(Task(
            id=f"data-{name}",
            kind="data",
            facts={"set": name, "images": n},
            command=("phantom", f"--zip={TASKS}/data-{name}/{IMAGES}", f"--resolution={self.plan.resolution}",
                     *(_flag(key, value) for key, value in one.phantom.items()), "--workers=1"),
            writes=(IMAGES,),
            computes=False,
        ))  # fmt: skip
        return f"{task.folder}/{IMAGES}", (task.id,)

    # Fakes.

    def gan(self, arm: Arm, seed: int, of_class: int | None = None) -> Task:
        if arm.maker == "dcgan":
            return self.dcgan(arm, seed, of_class)
        path, needs = self.set_zip(arm.data)
        test, needs_test = self.set_zip("test")
        name = f"gan-{arm.name}-{seed}"
        words = [
            "train", f"--outdir={TASKS}/{name}/{WORK}", "--continue=latest", f"--data={path}", "--cond=1",
            f"--kimg={arm.kimg}", f"--seed={seed}", "--metrics=none", f"--device={self.plan.device}",
            "--state-minutes=10",
        ]  # fmt: skip
        if arm.preset:
            words.append(f"--preset={arm.preset}")
        if arm.private and not (arm.preset or "").startswith("paper-dp-"):
            words += ["--dp-mode=paper", f"--dp-ablation={arm.private}"]
        reads = [path]
        if arm.classifier:
            classifier = self.helper(self.plan.helpers[arm.classifier])
            weights = f"{classifier.folder}/{CLASSIFIER}"
            words += ["--loss=spine", f"--classifier={weights}", f"--test-data={test}"]
            needs, reads = (*needs, *needs_test, classifier.id), [*reads, weights, test]
        if arm.resume:
            start = self.gan(self.plan.arms[arm.resume], seed)
            network = self.last_network(self.plan.arms[arm.resume], seed)
            words.append(f"--resume={network}")
            needs, reads = (*needs, start.id), [*reads, network]
        words += [_flag(key, value) for key, value in arm.flags.items()]
        return self.add(Task(
            id=name,
            kind="gan",
            facts={"arm": arm.name, "seed": seed, "kimg": arm.kimg},
            command=tuple(words),
            needs=tuple(dict.fromkeys(needs)),
            reads=tuple(reads),
            writes=(f"{RUN}/network-snapshot-*.pkl", f"{RUN}/{run_files.OPTIONS}"),
            continues=True,
        ))  # fmt: skip

    def dcgan(self, arm: Arm, seed: int, of_class: int | None) -> Task:
        if arm.per_class and of_class is None:
            # The whole arm: its networks one by one; the last stands for them.
            return [self.dcgan(arm, seed, k) for k in range(self.classes(arm.data))][-1]
        path, needs = self.set_zip(arm.data)
        name = f"gan-{arm.name}-{seed}" + ("" if of_class is None else f"-class{of_class}")
        words = [
            "recipe", "dcgan", "train", f"--data={path}", f"--out={TASKS}/{name}/{RUN}",
            f"--steps={arm.steps}", f"--seed={seed}", f"--device={self.plan.device}",
            *(_flag(key, value) for key, value in arm.flags.items()),
        ]  # fmt: skip
        if of_class is not None:
            words.append(f"--class={of_class}")
        return self.add(Task(
            id=name,
            kind="gan",
            facts={"arm": arm.name, "seed": seed, "kimg": 0, "class": of_class, "steps": arm.steps},
            command=tuple(words),
            needs=needs,
            reads=(path,),
            writes=(f"{RUN}/*.safetensors", f"{RUN}/*.json"),
            continues=True,
            again=("--continue",),
        ))  # fmt: skip

    def classes(self, data: str) -> int:
        return self.plan.data[data].classes or 2

    def last_network(self, arm: Arm, seed: int) -> str:
        last = run_files.snapshot(snapshots(arm, self.plan.resolution)[-1])
        return f"{TASKS}/gan-{arm.name}-{seed}/{RUN}/{last}"

    def draw(self, arm: Arm, seed: int, number: int, images: int) -> list[Task]:
        """A labelled set of so many fakes; of networks per class one for each."""
        name, facts = f"draw-{arm.name}-{seed}-{number}-{images}", {"arm": arm.name, "gan_seed": seed}
        facts |= {"draw": number, "images": images}
        k = self.classes(arm.data)
        share = max(1, images // k)
        if arm.maker == "stylegan":
            gan, network = self.gan(arm, seed), self.last_network(arm, seed)
            # Beyond any other set of these fakes, so that no image is in two.
            first = (number + 1) * 10 * _MOST_DRAWN + images
            words: tuple[str, ...]
            words = ("generate", f"--network={network}", f"--per-class={share}", f"--seeds={first}",
                     "--noise-mode=random", f"--outdir={TASKS}/{name}/{IMAGES}",
                     f"--device={self.plan.device}")  # fmt: skip
            return [self.add(Task(name, "draw", facts, words, (gan.id,), (network,), (IMAGES,)))]
        found = []
        for of_class in range(k) if arm.per_class else (None,):
            gan = self.gan(arm, seed, of_class)
            own = name if of_class is None else f"{name}-class{of_class}"
            n = images if of_class is None else share
            words = ("recipe", "dcgan", "apply", f"--model={gan.folder}/{RUN}", f"--n={n}",
                     f"--seed={number + 1}", f"--out={TASKS}/{own}/{IMAGES}",
                     f"--device={self.plan.device}")  # fmt: skip
            more = {} if of_class is None else {"class": of_class, "images": n}
            reads = (f"{gan.folder}/{RUN}/*.safetensors",)
            found.append(self.add(Task(own, "draw", facts | more, words, (gan.id,), reads, (IMAGES,))))
        return found

    def sift(self, name: str, facts: Facts, kind: str, path: str, needs: tuple[str, ...], source: Source,
             number: int) -> Task:  # fmt: skip
        """Some images of a set, chosen or named by the classifier of the loss, or drawn by lot."""
        words = ["classify", "sift", f"--data={path}", f"--out={TASKS}/{name}/{IMAGES}", f"--seed={number}"]
        reads = [path]
        if source.sifted:
            assert self.plan.sifter is not None, "checked with the plan"
            judge = self.helper(self.plan.sifter)
            weights = f"{judge.folder}/{CLASSIFIER}"
            way = "--labels=classifier" if source.sifted == "relabelled" else "--only=agreeing"
            words += [f"--classifier={weights}", f"--device={self.plan.device}", way]
            needs, reads = (*needs, judge.id), [*reads, weights]
        if source.images is not None and source.sifted != "relabelled":
            words.append(f"--images={source.images}")
        return self.add(Task(name, kind, facts, tuple(words), needs, tuple(reads), (IMAGES,)))

    def source(self, source: Source, seed_at: int, gan_at: int | None, number: int) -> list[tuple[str, str]]:
        """[(zip, task that makes it or nothing)] of one word of a row."""
        arm = self.plan.arms.get(source.name)
        if arm is None or arm.maker == "images":
            return [self.chosen(source, arm, number)]
        seed = arm.seeds[(seed_at if gan_at is None else gan_at) % len(arm.seeds)]
        images = source.images or 0
        drawn = self.draw(arm, seed, number, images * (_FILTER_FROM if source.sifted == "filtered" else 1))
        if not source.sifted:
            return [(f"{task.folder}/{IMAGES}", task.id) for task in drawn]
        task = drawn[0]
        sifted = self.sift(f"{task.id}-{source.sifted}", task.facts | {"images": images}, "draw",
                           f"{task.folder}/{IMAGES}", (task.id,), source, number)  # fmt: skip
        return [(f"{sifted.folder}/{IMAGES}", sifted.id)]

    def chosen(self, source: Source, arm: Arm | None, number: int) -> tuple[str, str]:
        """A set as it is, or a part of it."""
        needs: tuple[str, ...] = ()
        if arm is not None:
            path = str((self.base / str(arm.images)).absolute())
        else:
            path, needs = self.set_zip(self.plan.set_of(source.name))
        if source.images is None and not source.sifted:
            return path, needs[0] if needs else ""
        name = f"part-{source.text.replace(':', '-').replace(' ', '-')}-{number}"
        facts: Facts = {"set": source.text, "images": source.images}
        kind = "data"
        if arm is not None:
            facts, kind = facts | {"arm": arm.name, "gan_seed": 0, "draw": number}, "draw"
        task = self.sift(name, facts, kind, path, needs, source, number)
        return f"{task.folder}/{IMAGES}", task.id

    # Classifiers.

    def helper(self, helper: Helper) -> Task:
        path, needs = self.set_zip(helper.data)
        val = helper.val or ("val" if helper.data == "train" else None)
        return self.fit(
            f"classifier-{helper.name}",
            {"row": None, "arm": None, "gan_seed": None, "draw": None, "role": helper.role,
             "train_images": self.counts.get(helper.data)},
            helper.fit, helper.fit.seeds[0], [(path, needs[0] if needs else "")], val,
        )  # fmt: skip

    def fit(self, name: str, facts: Facts, fit: Fit, seed: int, data: list[tuple[str, str]], val: str | None,
            length: float = 1.0, init: Task | None = None, *, shuffled: bool = False) -> Task:  # fmt: skip
        """Train one classifier; the first set is --data, the others are added to it."""
        needs = tuple(dict.fromkeys(need for _, need in data if need))
        reads = [path for path, _ in data]
        (first, *more), n = reads, facts.get("train_images")
        epochs = fit.epochs if fit.steps else max(1, round(fit.epochs * length))
        words = [
            "classify", "train", f"--data={first}", *(f"--add={path}" for path in more),
            f"--out={TASKS}/{name}/{CLASSIFIER}", f"--arch={fit.arch}", f"--epochs={epochs}",
            f"--batch={fit.batch}", f"--augment={fit.augment}", f"--select-on={fit.select_on}",
            f"--seed={seed}", f"--device={self.plan.device}", "--overwrite",
        ]  # fmt: skip
        steps = None
        if fit.steps is not None:
            steps = max(epochs, round(fit.steps * length))
            words.append(f"--steps={steps}")
        elif isinstance(n, int):
            steps = epochs * math.ceil(n / fit.batch)
        if val is not None:
            path, needs_val = self.set_zip(val)
            words.append(f"--val={path}")
            needs, reads = (*needs, *needs_val), [*reads, path]
        if fit.lr is not None:
            words.append(f"--lr={fit.lr:g}")
        if shuffled:
            words.append("--shuffle-labels")
        wants = {}
        if init is not None:
            weights = f"{init.folder}/{CLASSIFIER}"
            words.append(f"--init={weights}")
            needs, reads = (*needs, init.id), [*reads, weights]
        elif fit.arch == "densenet121":
            words.append(f"--weights={self.weights(fit)}")
            wants = {"weights": self.weights(fit), "module": "monai"}
        return self.add(Task(
            id=name,
            kind="classifier",
            facts=facts | {"seed": seed, "steps": steps},
            command=tuple(words),
            needs=tuple(dict.fromkeys(needs)),
            reads=tuple(reads),
            writes=(CLASSIFIER, "classifier.json"),
            continues=True,
            wants=wants,
        ))  # fmt: skip

    def weights(self, fit: Fit) -> str:
        if fit.weights in (None, "none", "imagenet"):
            return fit.weights or "none"
        return str((self.base / str(fit.weights)).absolute())

    def row(self, row: Row) -> None:
        """Every classifier of a row, and what it says of the test set."""
        plan = self.plan
        arms = [plan.arms[source.name] for source in row.sources if source.name in plan.arms]
        made = [arm for arm in arms if arm.maker != "images"]
        is_drawn = bool(arms) or any(source.images or source.sifted for source in row.sources)
        networks = range(max(len(arm.seeds) for arm in made)) if made and row.full else (None,)
        for (seed_at, seed), gan_at, number in product(
            enumerate(row.fit.seeds), networks, range(plan.draws if is_drawn else 1)
        ):
            gan_seed = None
            if made:
                gan_seed = made[0].seeds[(seed_at if gan_at is None else gan_at) % len(made[0].seeds)]
            end = f"s{seed}" + (f"-g{gan_seed}" if made else "") + (f"-d{number}" if is_drawn else "")
            facts: Facts = {
                "row": row.name,
                "arm": arms[0].name if arms else None,
                "gan_seed": gan_seed,
                "draw": number if is_drawn else None,
                "role": "arm",
            }
            self.one_of_row(row, f"{row.name}-{end}", facts, seed, seed_at, gan_at, number)

    def one_of_row(self, row: Row, name: str, facts: Facts, seed: int, seed_at: int, gan_at: int | None,
                   number: int) -> None:  # fmt: skip
        init = None
        if row.pretrain:
            init = self.fit(
                f"pretrain-{name}",
                facts | {"role": "pretrain", "train_images": self.images(row.pretrain)},
                row.fit, seed, self.data_of(row.pretrain, seed_at, gan_at, number), "val",
                row.pretrain_length,
            )  # fmt: skip
        task = self.fit(
            f"fit-{name}",
            facts | {"train_images": self.images(row.train)},
            row.fit, seed, self.data_of(row.train, seed_at, gan_at, number), "val",
            row.length, init, shuffled=row.shuffled,
        )  # fmt: skip
        test, needs = self.set_zip("test")
        self.predict(f"predict-{name}", "predict", task.facts | {"on": "test"}, task, test, needs)

    def data_of(
        self, sources: tuple[Source, ...], seed_at: int, gan_at: int | None, number: int
    ) -> list[tuple[str, str]]:
        return [one for source in sources for one in self.source(source, seed_at, gan_at, number)]

    def images(self, sources: tuple[Source, ...]) -> int | None:
        """How many they are in all; None where a file is not there to be counted."""
        found = [source.images or self.counts.get(self.plan.set_of(source.name)) for source in sources]
        return None if None in found else sum(n for n in found if n is not None)

    def predict(self, name: str, kind: str, facts: Facts, classifier: Task, data: str,
                needs: tuple[str, ...]) -> Task:  # fmt: skip
        weights = f"{classifier.folder}/{CLASSIFIER}"
        words = ("classify", "predict", f"--classifier={weights}", f"--data={data}",
                 f"--out={TASKS}/{name}/{PREDICTIONS}", "--overwrite",
                 f"--device={self.plan.device}")  # fmt: skip
        both = tuple(dict.fromkeys((classifier.id, *needs)))
        return self.add(Task(name, kind, facts, words, both, (weights, data), (PREDICTIONS,)))

    # What is measured on networks.

    def measured(self, arm: Arm, seed: int) -> None:
        if not (arm.measured and self.plan.metrics):
            return
        gan = self.gan(arm, seed)
        for kimg in snapshots(arm, self.plan.resolution):
            name = f"metrics-{arm.name}-{seed}-{kimg:06d}"
            network = f"{gan.folder}/{RUN}/{run_files.snapshot(kimg)}"
            path, needs = self.set_zip(arm.data)
            self.add(Task(
                id=name,
                kind="metrics",
                facts={"arm": arm.name, "seed": seed, "kimg": kimg, "metrics": list(self.plan.metrics)},
                command=("metrics", f"--network={network}", f"--data={path}",
                         f"--metrics={','.join(self.plan.metrics)}",
                         *(f"--detector={key}={value}" for key, value in self.plan.detectors.items()),
                         "--verbose=0", f"--json={TASKS}/{name}/metrics.json",
                         f"--device={self.plan.device}"),
                needs=(gan.id, *needs),
                reads=(network, path),
                writes=("metrics.json",),
                wants={"metrics": ",".join(self.plan.metrics)},
            ))  # fmt: skip

    def judges(self, arm: Arm) -> list[Helper]:
        """Independent classifiers of the classes that it draws."""
        classes = self.plan.data[arm.data].classes
        found = [helper for helper in self.plan.helpers.values() if helper.role == "judge"]
        same = [helper for helper in found if self.plan.data[helper.data].classes == classes]
        return same if arm.maker == "stylegan" else []

    def judged(self, arm: Arm, seed: int) -> None:
        """What an independent classifier sees in fakes of each class that was asked for."""
        for helper in self.judges(arm):
            classifier = self.helper(helper)
            (drawn,) = self.draw(arm, seed, 0, helper.images)
            facts: Facts = {"arm": arm.name, "gan_seed": seed, "judge": helper.name}
            self.predict(f"consistency-{arm.name}-{seed}", "consistency", facts, classifier,
                         f"{drawn.folder}/{IMAGES}", (drawn.id,))  # fmt: skip

    def quality(self, arm: Arm, seed: int) -> None:
        """The last network again, with the luck of its images; each class, where classes are judged."""
        by_class = bool(self.judges(arm))
        names = [name for name in self.plan.metrics if name.startswith(_OF_TWO_SETS)]
        if not names or arm.maker != "stylegan" or not (arm.measured or by_class):
            return
        gan, network = self.gan(arm, seed), self.last_network(arm, seed)
        path, needs = self.set_zip(arm.data)
        name, kimg = f"quality-{arm.name}-{seed}", snapshots(arm, self.plan.resolution)[-1]
        self.add(Task(
            id=name,
            kind="quality",
            facts={"arm": arm.name, "seed": seed, "kimg": kimg, "metrics": names,
                   "parts": 1 + self.classes(arm.data) if by_class else 1},
            command=("experiments", "quality", f"--network={network}", f"--data={path}",
                     f"--metrics={','.join(names)}", *(["--per-class"] if by_class else []),
                     *(f"--detector={key}={value}" for key, value in self.plan.detectors.items()),
                     f"--json={TASKS}/{name}/quality.json", f"--device={self.plan.device}"),
            needs=(gan.id, *needs),
            reads=(network, path),
            writes=("quality.json",),
            wants={"metrics": ",".join(names)},
        ))  # fmt: skip


def _flag(name: str, value: str) -> str:
    return f"--{name.replace('_', '-')}={value}"
