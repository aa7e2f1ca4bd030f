"""Ranks: what the environment says, what they agree on, and that two of them train like one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stylegan2ada import processes
from stylegan2ada.config import TrainConfig, TrainOptions
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.training import launch, run_files
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.loop import train
from stylegan2ada.training.run_dir import create, read_record, write_options
from tests.stylegan2ada.training.toy import toy_config, toy_dataset, toy_run_dir, weights

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")

SLURM = {
    "SLURM_JOB_ID": "123456", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[003-004],x9",
}  # fmt: skip


def test_a_slurm_step_is_understood() -> None:
    found = processes.adopt_slurm(SLURM)
    assert found == {
        "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "gpu003", "MASTER_PORT": "23456",
    }  # fmt: skip
    assert (
        processes.adopt_slurm(SLURM | {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"})["MASTER_ADDR"] == "10.0.0.1"
    )
    assert processes.adopt_slurm(SLURM | {"MASTER_PORT": "1"})["MASTER_PORT"] == "1"


@pytest.mark.parametrize(
    "environment", [{}, {"SLURM_JOB_ID": "1"}, SLURM | {"RANK": "0"}, SLURM | {"SLURM_STEP_NUM_TASKS": "1"}]
)
def test_other_places_are_left_alone(environment: dict[str, str]) -> None:
    assert processes.adopt_slurm(environment) == {}


@pytest.mark.parametrize(
    ("nodes", "first"), [("gpu7", "gpu7"), ("a-1,b", "a-1"), ("n[1,3]", "n1"), ("", "localhost")]
)
def test_first_host_of_a_list(nodes: str, first: str) -> None:
    assert processes._first_host(nodes) == first


def test_a_launcher_has_a_name_that_outlives_a_restart() -> None:
    assert processes.launch_id({}) is None
    assert processes.launch_id({"TORCHELASTIC_RUN_ID": "job7"}) == "job7"
    own = processes.launch_id({"TORCHELASTIC_RUN_ID": "none"})
    assert own is not None
    assert str(os.getppid()) in own
    assert not processes.is_restart({"TORCHELASTIC_RESTART_COUNT": "0"})
    assert processes.is_restart({"TORCHELASTIC_RESTART_COUNT": "2"})


def test_alone_every_agreement_is_ones_own() -> None:
    assert (processes.rank(), processes.world_size(), processes.is_launched()) == (0, 1, False)
    assert processes.highest(3) == 3
    assert not processes.any_rank(False)
    assert processes.from_rank0("x") == "x"
    assert processes.all_ranks("x") == ["x"]
    assert processes.on_rank0(lambda: 5) == 5
    assert processes.differing(torch.nn.Linear(1, 1)) == []
    with pytest.raises(KeyError):
        processes.on_rank0(lambda: {}["missing"])


def test_signals_are_noted_and_a_second_one_acts() -> None:
    stop = processes.StopRequest()
    before = signal.getsignal(signal.SIGTERM)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


# Which folder.


def test_an_elastic_restart_continues_its_own_run(tmp_path: Path) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=8)
    job = launch.Job(toy_config(data), TrainOptions(), outdir=str(tmp_path / "out"))
    first = {"TORCHELASTIC_RUN_ID": "job7", "TORCHELASTIC_RESTART_COUNT": "0"}
    begun = launch.with_run_dir(job, first)
    assert begun.run_dir is not None
    assert (begun.run_dir.name[:5], begun.is_continued) == ("00000", False)
    other = launch.with_run_dir(job, {**first, "TORCHELASTIC_RUN_ID": "job8"})
    assert other.run_dir is not None
    assert other.run_dir.name[:5] == "00001"
    again = launch.with_run_dir(job, {**first, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert (again.run_dir, again.is_continued) == (begun.run_dir, True)
    late = launch.with_run_dir(job, {"TORCHELASTIC_RUN_ID": "job9", "TORCHELASTIC_RESTART_COUNT": "1"})
    assert late.run_dir is not None
    assert (late.run_dir.name[:5], late.is_continued) == ("00002", False)  # died before it had a folder
    record = read_record(begun.run_dir)["spinegan"]
    assert len(record["provenance"]["source_sha256"]) == 64
    assert set(record["provenance"]["libraries"]) >= {"torch", "numpy"}


def test_what_one_process_prepared_its_children_leave_alone(tmp_path: Path) -> None:
    config = toy_config(toy_dataset(tmp_path / "toy.zip", resolution=8))
    job = launch.Job(config, TrainOptions(), str(tmp_path / "out"), warnings=(("judge", "why"),))
    begun = launch.with_run_dir(job, {})
    assert launch.with_run_dir(begun, {"TORCHELASTIC_RUN_ID": "x"}) == begun
    assert begun.run_dir is not None
    (event,) = run_files.read_events(begun.run_dir)
    assert (event.event, event.code, event.text) == ("warning", "judge", "why")
    assert "earlier" not in read_record(begun.run_dir)["spinegan"]


def test_devices() -> None:
    assert processes.pick_device("cpu") == CPU
    with pytest.raises(UserError, match="--device=gpu"):
        processes.pick_device("gpu")
    if not torch.cuda.is_available():
        assert processes.pick_device("auto") == CPU
        with pytest.raises(UserError, match="--device=cuda: no CUDA device is here.*use --device=cpu"):
            processes.pick_device("cuda")


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "size", "expected"),
    [(False, True, 1, "mps"), (False, True, 2, "cpu"), (False, False, 1, "cpu"), (True, True, 1, "cuda")],
)
def test_auto_is_the_fastest_device_there_is(
    has_cuda: bool, has_mps: bool, size: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(has_cuda))
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    monkeypatch.setenv("WORLD_SIZE", str(size))
    assert processes.pick_device("auto").type == expected


def test_more_processes_than_gpus_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = replace(toy_config(toy_dataset(tmp_path / "toy.zip", resolution=8)), num_gpus=2)
    for device, count in (("cuda", 0), ("cuda", 1), ("auto", 1)):
        with pytest.raises(UserError, match="--gpus=2"):
            launch.check_devices(replace(config, device=device), count)
    for device, count in (("cpu", 0), ("cpu", 1), ("auto", 0), ("auto", 2)):
        launch.check_devices(replace(config, device=device), count)


# Two processes.


class FixedSource:
    """The same global batches on any number of ranks: each takes its share."""

    def __init__(self, config: TrainConfig, channels: int) -> None:
        self.share = config.batch_size // config.num_gpus
        self.rng = torch.Generator().manual_seed(1)
        self.config, self.channels, self.wait_sec = config, channels, 0.0

    def _mine(self, whole: torch.Tensor) -> torch.Tensor:
        return whole[processes.rank() * self.share :][: self.share]

    def _labels(self) -> torch.Tensor:
        return torch.eye(2)[torch.randint(2, [self.config.batch_size], generator=self.rng)]

    def reals(self) -> tuple[torch.Tensor, torch.Tensor]:
        shape = [self.config.batch_size, self.channels, 8, 8]
        images = torch.randint(256, shape, generator=self.rng, dtype=torch.uint8)
        return self._mine(images), self._mine(self._labels())

    def latents(self, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.randn([self.config.batch_size, 8], generator=self.rng)
        return self._mine(z), self._mine(self._labels())

    def state_dict(self) -> dict:
        return {"batches": {}}

    def load_state_dict(self, state: dict) -> None:
        pass

    def close(self) -> None:
        pass


class StartFrom(Hook):
    """The same first weights on any number of ranks."""

    def on_start(self, run) -> None:
        rng = torch.Generator().manual_seed(2)
        for module in (run.G, run.D):
            for parameter in module.parameters():
                parameter.data.add_(torch.randn(parameter.shape, generator=rng), alpha=0.0)
                if parameter.ndim > 1:
                    parameter.data.copy_(torch.randn(parameter.shape, generator=rng))
        run.G_ema.load_state_dict(run.G.state_dict())


def comparable_config(data: Path, num_gpus: int) -> TrainConfig:
    """Nothing that looks at a share of the batch as the whole: no minibatch-stddev, no path length."""
    config = toy_config(data, total_kimg=0.08, kimg_per_tick=0.04, augment_kwargs=None)
    return replace(
        config,
        num_gpus=num_gpus,
        batch_gpu=8 // num_gpus,  # one round either way: rounds are summed, ranks are averaged
        ada_target=None,
        G_kwargs=config.G_kwargs
        | {"synthesis_kwargs": config.G_kwargs["synthesis_kwargs"] | {"use_noise": False}},
        D_kwargs=config.D_kwargs | {"epilogue_kwargs": {"mbstd_num_channels": 0}},
        loss_kwargs={"r1_gamma": 1, "pl_weight": 0, "style_mixing_prob": 0},
    )


def train_rank(folder: str) -> None:
    """What each of two processes does; imported by name in the new process."""
    torch.set_num_threads(1)
    processes.init(CPU)
    config = comparable_config(Path(folder, "toy.zip"), 2)
    run = train(
        config, Path(folder, "two"), device=CPU, hooks=Hooks([StartFrom()]), source=FixedSource(config, 1)
    )
    assert processes.world_size() == 2
    assert processes.highest(processes.rank()) == 1
    assert processes.all_ranks(processes.rank()) == [0, 1]
    assert processes.on_rank0(lambda: os.getpid()) == processes.from_rank0(os.getpid())
    apart = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(apart.weight, processes.rank())
    torch.nn.init.constant_(apart.bias, float("nan"))
    assert processes.differing(apart) == ["weight"]
    processes.broadcast_module(apart)
    assert processes.differing(apart) == []
    caught = ""
    try:
        processes.on_rank0(lambda: (_ for _ in ()).throw(UserError("only rank 0 knows")))
    except UserError as error:
        caught = str(error)
    assert caught == "only rank 0 knows"
    if processes.rank() == 0:
        torch.save(weights(run), Path(folder, "two.pt"))
    processes.close()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=8)
    one = comparable_config(data, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    hooks = Hooks([StartFrom()])
    run = train(one, toy_run_dir(tmp_path / "one", one), device=CPU, hooks=hooks, source=FixedSource(one, 1))
    torch.set_num_threads(threads)
    assert run.iteration == 10
    toy_run_dir(tmp_path / "two", comparable_config(data, 2))
    processes.launch(train_rank, (str(tmp_path),), 2)
    expected, found = weights(run), torch.load(tmp_path / "two.pt")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if "w_avg" in name:
            continue  # each rank has its own
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=name)
    mine, theirs = (
        json.loads((tmp_path / d / "stats.jsonl").read_text().splitlines()[-1]) for d in ("one", "two")
    )
    for name in ("Loss/scores/real", "Loss/D/loss", "Progress/kimg"):
        assert theirs[name]["num"] == mine[name]["num"], name
        assert theirs[name]["mean"] == pytest.approx(mine[name]["mean"], rel=1e-4), name


def leave(code: int) -> None:
    sys.exit(code)


@pytest.mark.slow
def test_how_processes_end_reaches_the_caller() -> None:
    with pytest.raises(StoppedOnRequest):
        processes.launch(leave, (75,), 2)
    with pytest.raises(UserError) as caught:
        processes.launch(leave, (3,), 2)
    assert caught.value.exit_code == 3


@pytest.mark.slow
def test_the_same_command_runs_under_torchrun_and_continues_after_a_death(tmp_path: Path) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=8)
    sizes = ["--cbase=64", "--cmax=8", "--batch=40", "--tick=0.12", "--kimg=1", "--snap=1"]
    config = toy_config(data)
    write_options(create(tmp_path / "out", "older"), config, TrainOptions())  # not to be continued
    log = tmp_path / "console.txt"
    with open(log, "wb") as output:
        agent = subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
                *(
                    "--max-restarts=1",
                    str(ROOT / "stylegan2ada" / "train.py"),
                    f"--outdir={tmp_path / 'out'}",
                ),
                *(f"--data={data}", "--cond=1", "--metrics=none", "--device=cpu", *sizes),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        while agent.poll() is None and "tick 2 " not in log.read_text():
            pass
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        ranks = [pid for pid in children if "train.py" in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(ranks) == 2, log.read_text()
        os.kill(int(ranks[1]), signal.SIGKILL)
        assert agent.wait(300) == 0, log.read_text()
    finally:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait()
    assert sorted(p.name[:5] for p in (tmp_path / "out").iterdir()) == ["00000", "00001"]
    text = log.read_text()
    assert "Continuing at" in text
    (run_dir,) = (tmp_path / "out").glob("00001-*")
    lines = [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]
    assert [line["Progress/tick"]["mean"] for line in lines] == list(range(len(lines)))
    assert lines[-1]["Progress/kimg"]["mean"] == pytest.approx(1.0)
