"""Recorded steps, with a tape in place of a GPU: the same numbers, and a clear word where there are none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from stylegan2ada import stats
from stylegan2ada.losses.base import Loss, as_loss
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.ops.recording import WARM_UP, CudaGraphs, Steps
from stylegan2ada.ops.watching import Watch
from stylegan2ada.training import capture, gradients, phases
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.loop import train
from stylegan2ada.training.run import Run
from tests.stylegan2ada.training.tape import Tape
from tests.stylegan2ada.training.toy import compare_runs, toy_config, toy_dataset, toy_run_dir

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_dataset(tmp_path_factory.mktemp("data") / "toy.zip", resolution=8)


@pytest.fixture(autouse=True)
def _clean_statistics() -> Iterator[None]:
    stats.reset()
    yield
    stats.reset()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads nothing back: Adam as one kernel, augmentation with full margins."""
    monkeypatch.setattr(phases, "switches_for", lambda device, optimizer: {"fused": True})
    monkeypatch.setattr(AugmentPipe, "margins", "full")


# Whole runs


@pytest.mark.slow
def test_a_recorded_run_is_the_same_run(
    data: Path, tmp_path: Path, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(data, total_kimg=0.08, batch_gpu=4, G_reg_interval=2, D_reg_interval=2)
    plain = train(config, toy_run_dir(tmp_path / "plain", config), device=CPU)

    tape, said = Tape(), []
    steps = Steps(tape, said.append)
    monkeypatch.setattr(capture, "steps_for", lambda run, hooks: steps)
    monkeypatch.setattr(phases, "flat_gradients", gradients.FlatGradients)
    recorded = train(config, toy_run_dir(tmp_path / "recorded", config), device=CPU)
    assert (steps.recorded, said) == (["Gmain", "Greg", "Dmain", "Dreg"], [])
    # Ten iterations and five: without warm-up, the watched one and the one that was recorded.
    assert tape.replays == 2 * (10 - WARM_UP - 2) + 2 * (5 - WARM_UP - 2)
    compare_runs(plain, recorded)


@pytest.mark.slow
def test_a_run_with_a_reading_loss_goes_on_without_recording(
    data: Path, tmp_path: Path, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reads:
        name, weight, reduction, capturable = "reads", 0.1, "mean", True

        def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
            return fake_img.flatten(1).mean(1) * float(fake_img.detach().std())

    def with_term(*args: object, **kwargs: object) -> None:
        original(*args, **(kwargs | {"terms": [Reads()]}))

    original = StyleGAN2Loss.__init__
    monkeypatch.setattr(StyleGAN2Loss, "__init__", with_term)
    config = toy_config(data, total_kimg=0.04)
    plain = train(config, toy_run_dir(tmp_path / "plain", config), device=CPU)
    said: list[str] = []
    steps = Steps(Tape(), said.append)
    monkeypatch.setattr(capture, "steps_for", lambda run, hooks: steps)
    compare_runs(plain, train(config, toy_run_dir(tmp_path / "again", config), device=CPU))
    assert steps.recorded == ["Dmain"]  # the reading term is G's alone
    (line,) = said
    assert line.startswith("--graphs: Gmain runs without a CUDA graph: it reads a value back from the device")


# What is recorded, and when


class Counter:
    """Work on one tensor that notes how often its Python runs."""

    def __init__(self) -> None:
        self.total = torch.zeros([])
        self.factor = 1.0
        self.calls = 0

    def __call__(self, batch: tuple[Tensor, ...]) -> None:
        self.calls += 1
        self.total += batch[0].sum() * self.factor


def test_inputs_are_copied_to_where_the_recording_reads() -> None:
    work, steps = Counter(), Steps(Tape())
    for number in range(10):
        steps.run("Gmain", (torch.full([2], float(number)),), work)
    assert float(work.total) == 2 * sum(range(10))
    assert work.calls == WARM_UP + 2  # then the tape alone


def test_another_number_of_images_is_done_ordinarily() -> None:
    work, steps = Counter(), Steps(Tape())
    for size in (2, 2, 2, 2, 2, 3, 0, 2):
        steps.run("Gmain", (torch.ones([size]),), work)
    assert float(work.total) == 15
    assert work.calls == WARM_UP + 2 + 2


def test_a_number_that_moves_is_recorded_when_it_rests() -> None:
    work, steps = Counter(), Steps(Tape())
    expected = 0.0
    for factor in (*[1.0] * 6, 2.0, 3.0, 4.0, *[5.0] * 4):
        work.factor = factor
        steps.run("Gmain", (torch.ones([2]),), work, lambda factor=factor: factor)
        expected += 2 * factor
    assert float(work.total) == expected
    # Six times 1: ordinarily, watched, recorded; 2, 3, 4 and the first 5 ordinarily; the second is recorded.
    assert work.calls == (WARM_UP + 2) + 4 + 1


def test_a_recording_that_fails_costs_a_line_and_no_step() -> None:
    class Refuses(Tape):
        def record(self, work: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("CUDA error: operation not permitted\nmore of that")

    said: list[str] = []
    work, steps = Counter(), Steps(Refuses(), said.append)
    for _ in range(6):
        steps.run("Gmain", (torch.ones([2]),), work)
    assert (float(work.total), work.calls) == (12, 6)
    assert said == ["--graphs: Gmain runs without a CUDA graph: CUDA error: operation not permitted"]


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: float(x.sum()),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: int(torch.randint(9, [])),
    ],
)
def test_the_watch_sees_what_reads(reads: Callable[[Tensor], object]) -> None:
    said: list[str] = []
    steps = Steps(Tape(), said.append)
    for _ in range(WARM_UP + 2):
        steps.run("Dmain", (torch.ones([2]),), lambda batch: reads(batch[0]))
    assert len(said) == 1 and "reads a value back" in said[0]
    assert steps.recorded == []


def test_the_watch_lets_the_programs_own_numbers_pass() -> None:
    said: list[str] = []
    steps = Steps(Tape(), said.append)
    for _ in range(WARM_UP + 2):  # a clamp as its type can hold it
        steps.run("Dmain", (torch.ones([2]),), lambda batch: batch[0].clamp(max=float(torch.tensor(0.3))))
    assert (said, steps.recorded) == ([], ["Dmain"])


HOST = torch.ones([2])


@pytest.mark.parametrize(
    ("does", "finding"),
    [
        (lambda x: x + torch.tensor([1.0, 2.0]).to("meta"), "copies between host and device"),
        (lambda x: x.copy_(HOST), "copies between host and device"),
        (lambda x: HOST.mul(2), "computes on the host"),
        (lambda x: HOST.add_(torch.tensor(0.0)), "computes on the host"),
        (lambda x: x * torch.rand([]), "computes on the host"),
        (lambda x: x * torch.tensor(2.0), None),  # a number of the program
        (lambda x: x * 2 + torch.zeros([2], device="meta"), None),
    ],
)
def test_the_watch_tells_host_from_device(does: Callable[[Tensor], object], finding: str | None) -> None:
    """A device that is no CPU; one that has no values will do."""
    x = torch.ones([2], device="meta")
    with Watch(x.device) as watch:
        does(x)
    assert [text.split(" (")[0] for text in watch.findings[:1]] == (
        [] if finding is None else [f"it {finding}"]
    )


def test_an_optimiser_that_reads_its_count_is_noticed() -> None:
    parameter = torch.nn.Parameter(torch.ones([2]))
    opt = torch.optim.Adam([parameter])

    def work(batch: tuple[Tensor, ...]) -> None:
        parameter.grad = batch[0].clone()
        opt.step()

    said: list[str] = []
    steps = Steps(Tape(), said.append)
    for _ in range(WARM_UP + 2):
        steps.run("Dmain", (torch.ones([2]),), work)
    assert "reads a value back" in said[0]


def test_what_is_asked_of_torch_is_there_in_that_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proof that a card does it: names, arguments and order, checked against torch's own signatures."""
    order: list[str] = []

    class Stream:
        def __init__(self, device: torch.device | str = "here") -> None:
            self.device = str(device)

        def wait_stream(self, other: Stream) -> None:
            order.append(f"{self.device} waits for {other.device}")

    @contextlib.contextmanager
    def within(stream: Stream) -> Iterator[None]:
        order.append(f"on {stream.device}")
        yield

    graph = mock.create_autospec(torch.cuda.graph, spec_set=True)
    graph.return_value.__enter__.side_effect = lambda *_: order.append("capture")
    graph.return_value.__exit__.side_effect = lambda *_: order.append("captured")
    cuda_graph = mock.create_autospec(torch.cuda.CUDAGraph)
    cuda_graph.return_value.replay.side_effect = lambda: order.append("replay")
    here = Stream()
    for name, part in {
        "Stream": Stream, "stream": within, "current_stream": lambda: here, "graph": graph,
        "CUDAGraph": cuda_graph, "graph_pool_handle": lambda: (0, 1),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, part)
    graphs = CudaGraphs(torch.device("cuda"))
    graphs.ordinarily(lambda: order.append("work"))
    assert order == ["cuda waits for here", "on cuda", "work", "here waits for cuda"]
    order.clear()
    graphs.record(lambda: order.append("work"))()
    assert order == ["capture", "work", "captured", "replay", "replay"]
    assert graph.call_args.kwargs["pool"] == (0, 1) and graph.call_args.kwargs["stream"].device == "cuda"


# Why not


class Between(Hook):
    def after_backward(self, phase: phases.Phase) -> None:
        """What paper-mode privacy does."""


class AfterStep(Hook):
    def after_step(self, phase: phases.Phase) -> None:
        """Not within a step."""


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = toy_config(data, total_kimg=0.008)
    return train(config, toy_run_dir(tmp_path_factory.mktemp("runs") / "run", config), device=CPU)


def test_the_usual_run_may_be_recorded(run: Run) -> None:
    assert capture.obstacle(run, Hooks([AfterStep()])) is None


def test_obstacles_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert capture.obstacle(run, Hooks([AfterStep(), Between()])) == (
        "hook Between works between gradients and step"
    )
    patched = AfterStep()
    patched.after_part = lambda phase: None
    assert "hook AfterStep works between" in str(capture.obstacle(run, Hooks([patched])))
    monkeypatch.setattr(run.loss, "terms", [type("Mine", (), {"name": "mine", "weight": 1})()])
    assert "term mine does not say" in str(capture.obstacle(run, Hooks()))
    monkeypatch.setattr(run.loss, "draws", object())
    assert capture.obstacle(run, Hooks()) == "its random draws were handed in"
    monkeypatch.setattr(run.phases[0], "reduce", lambda gradients: None)
    assert capture.obstacle(run, Hooks()) == "Gmain reduces its gradients in a way of its own"


def test_a_loss_of_ones_own_says_itself_that_it_may_be_recorded() -> None:
    class Derived(StyleGAN2Loss):
        """Inherits, but may do anything."""

    class Careful(Loss):
        capturable = True

    class Official:
        capturable = True

        def accumulate_gradients(self, *args: object) -> None: ...

    class Unknown:
        def accumulate_gradients(self, *args: object) -> None: ...

    derived = Derived("cpu", torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity())
    assert "Derived does not say" in str(derived.why_not_recorded())
    assert Careful().why_not_recorded() is None
    assert as_loss(Official()).why_not_recorded() is None
    assert "Unknown does not say" in str(as_loss(Unknown()).why_not_recorded())


def test_facts_follow_what_the_host_decides(run: Run) -> None:
    facts = partial(capture.facts_of, run, run.phases[0])
    before = facts()
    assert facts() == before
    run.phases[0].opt.param_groups[0]["lr"] *= 0.5
    assert facts() != before
