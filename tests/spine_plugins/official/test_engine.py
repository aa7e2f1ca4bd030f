"""`train_spine --engine`: another program trains with our loss, and everything arrives where it should."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import stylegan2ada as sg
from spine_plugins.losses.spine import SpineGANLoss
from spine_plugins.official.loss import Loss
from spine_plugins.official.optimiser import PaperAdam
from spine_plugins.official.request import refuse_what_is_ours, request
from spine_plugins.training import command
from spine_plugins.training.command import main
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.train import fresh_job
from stylegan2ada.training import run_files
from tests.spine_plugins.official.conftest import STAND_IN

ROOT = Path(sg.__file__).parent.parent
SMALL = {"channel_base": 64, "channel_max": 4, "num_fp16_res": 0}
only_stand_in = pytest.mark.skipif(
    "STYLEGAN2ADA_UPSTREAM" in os.environ, reason="a real checkout does not note down its gradients"
)


def train(checkout: Path, home: Path, outdir: Path, *flags: str) -> Result:
    base = [f"--engine={checkout}", f"--outdir={outdir}", f"--data={home / 'data.zip'}", "--cond=1",
            "--kimg=1", "--batch=4", "--metrics=none", "--seed=3"]  # fmt: skip
    return CliRunner().invoke(main, [*base, *flags])


def spine(home: Path, weight: float = 0.5) -> list[str]:
    return ["--loss=spine", f"--classifier={home / 's.safetensors'}", "--accept-classifier=1",
            f"--cls-weight={weight}"]  # fmt: skip


def the_run(outdir: Path) -> Path:
    (run,) = (path for path in outdir.iterdir() if path.is_dir())
    return run


def seen(run: Path, rank: int = 0) -> dict[str, dict]:
    return torch.load(run / f"seen-{rank}.pt", weights_only=True)


@pytest.mark.slow
def test_statistics_arrive_and_p_moves(checkout: Path, home: Path, tmp_path: Path) -> None:
    result = train(checkout, home, tmp_path / "runs", *spine(home), f"--judge={home / 's.safetensors'}")
    assert result.exit_code == 0, result.output
    run = the_run(tmp_path / "runs")
    assert run.name.endswith("-spine")
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    for name in ("Loss/G/loss", "Loss/G/cls", "Loss/G/cls_accuracy", "Loss/signs/real", "Loss/D/reg"):
        assert rows[0][name]["mean"] == pytest.approx(rows[0][name]["mean"]), name  # a number, not NaN
    assert rows[-1]["Progress/augment"]["mean"] >= 0
    options = json.loads((run / "training_options.json").read_text())
    assert options["loss_kwargs"]["class_name"] == "spine_plugins.official.loss.Loss"
    assert options["loss_kwargs"]["r1_gamma"] == 1  # the program's own, not of our presets
    record = json.loads((run / run_files.ENGINE).read_text())
    assert record["engine"]["path"] == str(checkout)
    assert record["spine"]["classifier_doubts"]
    assert record["loss"] == "spine"
    (judged,) = [json.loads(line) for line in (run / run_files.JUDGE).read_text().splitlines()]
    assert judged["kimg"] == 1
    assert judged["snapshot"] == "network-snapshot-000001.pkl"


@only_stand_in
@pytest.mark.slow
def test_gradients_are_those_of_our_engine(checkout: Path, home: Path, tmp_path: Path) -> None:
    result = train(checkout, home, tmp_path / "runs", *spine(home), "--aug=noaug")
    assert result.exit_code == 0, result.output
    theirs = seen(the_run(tmp_path / "runs"))["gradients"]

    data = sg.ImageFolderDataset(str(home / "data.zip"), use_labels=True)
    torch.manual_seed(3)
    shape = {"c_dim": 2, "img_resolution": 16, "img_channels": 1}
    G = Generator(z_dim=8, w_dim=8, synthesis_kwargs=SMALL, **shape).train().requires_grad_(False)
    D = Discriminator(**SMALL, **shape).train().requires_grad_(False)
    loss = SpineGANLoss("cpu", G.mapping, G.synthesis, D, r1_gamma=1, classifier=str(home / "s.safetensors"),
                        cls_weight=0.5)  # fmt: skip
    adams = {
        n: torch.optim.Adam(m.parameters(), lr=0.002, betas=(0.0, 0.99)) for n, m in (("G", G), ("D", D))
    }
    torch.manual_seed(4)
    real = torch.stack([torch.tensor(data[i][0]) for i in range(4)]).float() / 127.5 - 1
    label = torch.stack([torch.tensor(data[i][1]) for i in range(4)])
    for phase, gain in (("Gmain", 1), ("Greg", 4), ("Dmain", 1), ("Dreg", 16)):
        network = (G, D)[phase[0] == "D"].requires_grad_(True)
        network.zero_grad(set_to_none=True)
        for half in (slice(0, 2), slice(2, 4)):
            z = torch.randn(2, 8)
            loss.accumulate_gradients(phase, real[half], label[half], z, label[half], sync=True, gain=gain)
        network.requires_grad_(False)
        found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        assert found.keys() == theirs[f"0/{phase}"].keys()
        for name, value in found.items():
            torch.testing.assert_close(theirs[f"0/{phase}"][name], value, rtol=1e-6, atol=1e-6)
        adams[phase[0]].step()


@only_stand_in
@pytest.mark.slow
def test_weight_zero_is_the_programs_own_loss_bit_for_bit(checkout: Path, home: Path, tmp_path: Path) -> None:
    flags = ("--cfg=cifar", "--aug=noaug", "--gamma=1")
    assert train(checkout, home, tmp_path / "a", *flags).exit_code == 0
    assert train(checkout, home, tmp_path / "b", *flags, *spine(home, 0)).exit_code == 0
    plain, ours = seen(the_run(tmp_path / "a"))["gradients"], seen(the_run(tmp_path / "b"))["gradients"]
    assert plain.keys() == ours.keys()
    for phase, gradients in plain.items():
        assert all(torch.equal(ours[phase][name], value) for name, value in gradients.items()), phase
    options = json.loads((the_run(tmp_path / "a") / "training_options.json").read_text())
    assert options["loss_kwargs"]["class_name"] == "training.loss.StyleGAN2Loss"  # not ours


@only_stand_in
@pytest.mark.slow
def test_wgan_gp_brings_its_discriminator_and_its_rhythm(checkout: Path, home: Path, tmp_path: Path) -> None:
    result = train(checkout, home, tmp_path / "runs", "--loss=wgan-gp", "--aug=noaug", "--kimg=3")
    assert result.exit_code == 0, result.output
    run = the_run(tmp_path / "runs")
    options = json.loads((run / "training_options.json").read_text())
    assert options["D_kwargs"]["epilogue_kwargs"]["mbstd_num_channels"] == 0
    gradients = seen(run)["gradients"]
    with_G = [phase for phase, found in gradients.items() if phase.endswith("Gmain") and found]
    assert with_G == ["0/Gmain", "5/Gmain"]
    refused = train(checkout, home, tmp_path / "runs2", "--loss=wgan-gp")
    assert refused.exit_code == 2
    assert "--aug=noaug" in refused.output


@only_stand_in
@pytest.mark.slow
def test_paper_dp_is_an_optimiser_there(checkout: Path, home: Path, tmp_path: Path) -> None:
    flags = ("--aug=noaug", "--dp-mode=paper", "--dp-noise=0", "--dp-clip=0.01", "--batch=4")
    result = train(checkout, home, tmp_path / "a", *flags)
    assert result.exit_code == 0, result.output
    assert "Guarantee: none" in result.output
    run = the_run(tmp_path / "a")
    assert run.name.endswith("-paperdp")
    options = json.loads((run / "training_options.json").read_text())
    for name in ("G_opt_kwargs", "D_opt_kwargs"):
        assert options[name]["class_name"] == "spine_plugins.official.optimiser.PaperAdam"
        assert options[name]["lr"] == 0.002  # the program's own
    assert json.loads((run / run_files.ENGINE).read_text())["privacy"]["guarantee"] == "none"
    refused = train(checkout, home, tmp_path / "b", *flags, "--gpus=2")
    assert refused.exit_code == 2
    assert "one device" in refused.output
    rigorous = train(checkout, home, tmp_path / "b", "--dp-mode=sgd")
    assert rigorous.exit_code == 2
    assert "official program" in rigorous.output
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("variant", ["text", "release"])
def test_its_step_is_clip_and_noise_by_hand(variant: str) -> None:
    values, gradients = torch.randn(2, 5), 10 * torch.randn(2, 5)
    ours, plain = (torch.nn.Parameter(values.clone()) for _ in range(2))
    ours.grad = gradients.clone()
    optimiser = PaperAdam([ours], lr=0.1, variant=variant, clip=1.5, noise=0.2)
    torch.manual_seed(0)
    optimiser.step()
    torch.manual_seed(0)
    noise = 0.2 * torch.randn(2, 5)

    def clipped(g: torch.Tensor) -> torch.Tensor:
        return g * min(1.0, 1.5 / float(g.norm()))

    plain.grad = clipped(gradients) + noise if variant == "text" else clipped(gradients + noise)
    torch.optim.Adam([plain], lr=0.1).step()
    torch.testing.assert_close(ours, plain)


@only_stand_in
@pytest.mark.slow
def test_two_processes_exchange_once_per_phase(checkout: Path, home: Path, tmp_path: Path) -> None:
    result = train(checkout, home, tmp_path / "runs", *spine(home), "--gpus=2", "--aug=noaug", "--batch=8")
    assert result.exit_code == 0, result.output
    first, second = (seen(the_run(tmp_path / "runs"), rank) for rank in (0, 1))
    for phase, gradients in first["gradients"].items():
        for name, value in gradients.items():
            assert torch.equal(value, second["gradients"][phase][name]), (phase, name)
    # Two iterations: Gmain twice, Greg once; Dmain twice, Dreg once. Both rounds of a phase, one exchange.
    assert first["exchanges"] == {"G_mapping": 3, "G_synthesis": 3, "D": 3}


def test_a_warm_up_knows_how_far_the_program_is(home: Path) -> None:
    shape = {"c_dim": 2, "img_resolution": 16, "img_channels": 1}
    G, D = Generator(z_dim=8, w_dim=8, synthesis_kwargs=SMALL, **shape), Discriminator(**SMALL, **shape)
    loss = Loss("cpu", G.mapping, G.synthesis, D, classifier=str(home / "s.safetensors"), cls_weight=2.0,
                cls_warmup=0.01)  # fmt: skip
    (term,) = loss.inner.terms
    real, c, z = torch.zeros(4, 1, 16, 16), torch.eye(2).repeat(2, 1), torch.randn(4, 8)
    weights = []
    for _ in range(4):
        for phase in ("Gmain", "Dmain"):
            loss.accumulate_gradients(phase, real, c, z, c, sync=True, gain=1)
        weights.append(term.weight)
    assert weights == pytest.approx([0.8, 1.6, 2.0, 2.0])


@only_stand_in
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_so_and_leaves_nobody_behind(
    checkout: Path, home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    line = [sys.executable, "train_spine.py", f"--engine={checkout}", f"--outdir={tmp_path / 'runs'}",
            f"--data={home / 'data.zip'}", "--cond=1", "--kimg=100000", "--metrics=none"]  # fmt: skip
    running = subprocess.Popen(
        line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/0*/engine.json")):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.1)
    running.send_signal(number)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "with --resume" in said.splitlines()[-1]
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


@pytest.mark.parametrize("preset", ["paper-ada", "paper-spine", "paper-multi"])
def test_presets_of_the_paper_are_flags_of_that_program(preset: str, home: Path) -> None:
    asked = command.expand(command.TrainSpine(outdir="runs", data=str(home / "data.zip"), preset=preset))
    options = dataclasses.replace(asked.for_engine(), loss=None)  # without the classifier that spine needs
    refuse_what_is_ours(options)
    told = request(options, fresh_job(options, None).config)
    assert {"--augpipe=bgcfnc", "--target=0.6", "--snap=50", "--cond=1", "--aug=ada"} <= set(told.flags)


def test_refusals_name_the_flag_and_write_nothing(checkout: Path, home: Path, tmp_path: Path) -> None:
    for flag, words in {
        "--precision=bf16": "--precision is a flag of our engine",
        "--ada-max-p=0.5": "--aug=fixed",
        "--continue=latest": "--resume",
        "--preset=radiograph": "of our engine",
    }.items():
        result = train(checkout, home, tmp_path / "runs", flag)
        assert result.exit_code == 2, flag
        assert words in result.output
    assert not (tmp_path / "runs").exists()


def test_what_is_no_checkout_is_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no train.py" in train(tmp_path / "empty", home, tmp_path / "runs").output
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "train.py").write_text("def launch_training(): pass\n")
    (tmp_path / "next" / "gen_images.py").touch()
    assert "a checkout of stylegan3" in train(tmp_path / "next", home, tmp_path / "runs").output
    (tmp_path / "next" / "train.py").write_text("print 'old'\n")
    assert "no Python of today" in train(tmp_path / "next", home, tmp_path / "runs").output


def copied(to: Path, name: str, old: str, new: str) -> Path:
    """The stand-in with one text in it replaced."""
    for path in STAND_IN.rglob("*.py"):
        (to / path.relative_to(STAND_IN)).parent.mkdir(parents=True, exist_ok=True)
        (to / path.relative_to(STAND_IN)).write_text(path.read_text())
    text = (to / name).read_text()
    assert old in text
    (to / name).write_text(text.replace(old, new, 1))
    return to


@pytest.mark.slow
def test_concerns_come_first_and_a_failure_leaves_its_last_lines(home: Path, tmp_path: Path) -> None:
    broken = copied(tmp_path / "broken", "training/training_loop.py", "torch.save(",
                    "import not_installed\n    torch.save(")  # fmt: skip
    (broken / "torch_utils" / "gate.py").write_text("ok = torch.__version__.startswith(('1.7.', '1.9.'))\n")
    result = train(broken, home, tmp_path / "runs")
    assert result.exit_code == 5
    assert "Warning: --engine: it imports not_installed" in result.output
    assert "gate.py was written for torch 1.7 to 1.9" in result.output
    run = the_run(tmp_path / "runs")
    assert "Error: the program in" in result.output
    assert "No module named 'not_installed'" in result.output.splitlines()[-1]
    assert "not_installed" in (run / run_files.ENGINE_LOG).read_text()


@pytest.mark.slow
def test_its_refusal_is_passed_on(checkout: Path, home: Path, tmp_path: Path) -> None:
    picky = copied(tmp_path / "picky", "train.py", '"refuse"', '"cifar"')
    result = train(picky, home, tmp_path / "runs", "--cfg=cifar")
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].endswith("refuses: --cfg=refuse is not to its taste")


@pytest.mark.slow
def test_nothing_of_it_is_imported_here(checkout: Path, home: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from spine_plugins.training.command import main\n"
        "try: main()\n"
        "finally: assert not {'train', 'training', 'torch_utils', 'dnnlib'} & set(sys.modules)"
    )
    line = [sys.executable, "-c", code, f"--engine={checkout}", f"--outdir={tmp_path / 'runs'}",
               f"--data={home / 'data.zip'}", "--dry-run"]  # fmt: skip
    done = subprocess.run(line, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Dry run" in done.stdout
    assert not (tmp_path / "runs").exists()
