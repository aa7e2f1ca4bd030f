"""The steps of `gpu.py` that time whole phases: ours in each mode, and the official program's."""

from __future__ import annotations

import importlib
import statistics
import sys
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from torch import Tensor

from benchmarks import gpu_work
from benchmarks import step as sides
from benchmarks.gpu_work import Job, Row
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, set_precision
from stylegan2ada.ops import recording, use_impl
from stylegan2ada.training.phases import Phase, network_phases

MODES = ("plain", "compiled", "plain+graphs", "compiled+graphs")
ROUNDS = 6  # of each mode, in turn; the first one finds out how many calls to time together


class Eagerly:
    """Where there are no graphs: does everything that leads to them, and then the work itself."""

    def ordinarily(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        return work


class Program:
    """Networks with optimisers, as a run has them, under one mode."""

    def __init__(self, job: Job, mode: str, augments: bool, precision: str | None = None) -> None:
        ops, _, graphs = mode.partition("+")
        self.impl = "compiled" if ops == "compiled" else "fast"
        self.job, self.said = job, list[str]()
        self._calls: dict[str, int] = {}  # by phase
        recorder = recording.CudaGraphs(job.device) if job.is_cuda else Eagerly()
        self.steps = recording.Steps(recorder if graphs else None, self.said.append)
        before = torch.cuda.memory_allocated() if job.is_cuda else 0
        if job.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        G_options, D_options = network_arguments(job)
        self.G = Generator(**G_options).to(job.device).train()
        self.D = Discriminator(**D_options).to(job.device).train()
        adam = {"lr": 0.0025, "betas": [0, 0.99], "eps": 1e-8}
        # On a CPU only this kind of Adam leaves its count of steps on the device.
        opt = torch.optim.Adam if job.is_cuda else partial(torch.optim.Adam, fused=True)
        self.phases = network_phases("G", self.G, adam, 4, opt) + network_phases("D", self.D, adam, 16, opt)
        for net in (self.G, self.D):
            net.requires_grad_(False)
            set_precision(
                net, precision if job.is_cuda or precision else "float32", True if job.is_cuda else None
            )
        self.loss = StyleGAN2Loss(
            job.device, self.G.mapping, self.G.synthesis, self.D, self._pipe(augments), r1_gamma=1
        )
        self.batch = tuple(sides.batch_of(job.side, job.batch, job.device).values())
        for _ in range(recording.WARM_UP + 2):
            for phase in self.phases:
                self.run(phase)
        job.clock()
        self.peak_gb = (torch.cuda.max_memory_allocated() - before) / 2**30 if job.is_cuda else 0.0

    def _pipe(self, augments: bool) -> AugmentPipe | None:
        if not augments:
            return None
        pipe = AugmentPipe(**sides.BGC).to(self.job.device).train().requires_grad_(False)
        pipe.margins = "full"  # the branch that a GPU takes
        pipe.p.fill_(0.2)
        return pipe

    def run(self, phase: Phase) -> None:
        with use_impl(self.impl):
            self.steps.run(phase.name, self.batch, partial(self._work, phase))

    def _work(self, phase: Phase, batch: tuple[Tensor, ...]) -> None:
        phase.start()
        real_img, real_c, gen_z, gen_c = batch
        self.loss.accumulate_gradients(phase.name, real_img, real_c, gen_z, gen_c, sync=True, gain=phase.gain)
        phase.reduce_and_step()

    def seconds(self, phase: Phase) -> float:
        """Of one call; as many are timed together as fill a quarter of a second."""
        calls = self._calls.setdefault(phase.name, 1)
        begin = self.job.clock()
        for _ in range(calls):
            self.run(phase)
        found = (self.job.clock() - begin) / calls
        self._calls[phase.name] = 1 if self.job.dry else min(max(round(0.25 / found), 1), 20)
        return found


def phases(job: Job) -> None:
    """Each phase and the weighted iteration, optimiser included, by mode; modes in turn, A B A B."""
    job.batch = 4 if job.dry else job.batch
    missing = gpu_work.compiled_missing(job.device)
    rows: list[Row] = []
    clocks = [gpu_work.clocks()]
    for augments in (False, True):
        programs: dict[str, Program] = {}
        for mode in MODES:
            row = {"mode": mode, "augment": "bgc" if augments else "none", "batch": job.batch}
            if missing and mode.startswith("compiled"):
                rows.append(row | {"why_not": missing})
                continue
            try:
                programs[mode] = Program(job, mode, augments)
            except torch.OutOfMemoryError as error:
                rows.append(row | {"why_not": f"out of memory: {error}"[:120]})
                torch.cuda.empty_cache()
        spent: dict[str, dict[str, list[float]]] = {mode: {} for mode in programs}
        for _ in range(1 if job.dry else ROUNDS):
            for mode, program in programs.items():
                for phase in program.phases:
                    spent[mode].setdefault(phase.name, []).append(program.seconds(phase))
        for mode, program in programs.items():
            rows.append(phase_row(mode, program, spent[mode], "bgc" if augments else "none"))
        clocks.append(gpu_work.clocks())
        job.keep(phases=rows, clocks=clocks)


def precisions(job: Job) -> None:
    """The fastest mode in each precision that a run can be given: what each costs, with batches of 16."""
    job.batch = 4 if job.dry else job.batch
    mode = "plain+graphs" if gpu_work.compiled_missing(job.device) else "compiled+graphs"
    rows: list[Row] = []
    for name, precision, tf32 in (
        ("as upstream", None, False),
        ("bf16", "bfloat16", False),
        ("as upstream, TF32", None, True),
        ("bf16, TF32", "bfloat16", True),
        ("fp32", "float32", False),
        ("fp32, TF32", "float32", True),
    ):
        full_precision(tf32)
        program = Program(job, mode, False, precision)
        spent: dict[str, list[float]] = {}
        for _ in range(1 if job.dry else ROUNDS):
            for phase in program.phases:
                spent.setdefault(phase.name, []).append(program.seconds(phase))
        rows.append(phase_row(name, program, spent, "none") | {"ran": mode})
        job.keep(phases=rows)
    full_precision(False)


def full_precision(tf32: bool) -> None:
    """How CUDA computes what is float32; a run that was not asked otherwise: in float32."""
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def network_arguments(job: Job) -> tuple[Row, Row]:
    """As `--cfg=auto` has them, half precision in the four highest resolutions."""
    G_options, D_options = _full_arguments(job.side)
    for widths in (G_options["synthesis_kwargs"], D_options):
        widths |= {"num_fp16_res": 4} | ({"channel_base": 128, "channel_max": 8} if job.dry else {})
    return G_options, D_options


_full_arguments = sides.network_arguments


def phase_row(mode: str, program: Program, spent: dict[str, list[float]], augment: str) -> Row:
    medians = {name: statistics.median(found) for name, found in spent.items()}
    iteration = sum(sides.SHARE[name] * found for name, found in medians.items())
    return {
        "mode": mode,
        "augment": augment,
        "batch": program.job.batch,
        **{f"{name}_ms": 1e3 * found for name, found in medians.items()},
        "iteration_ms": 1e3 * iteration,
        "sec_per_kimg": 1e3 * iteration / program.job.batch,
        "peak_gb": program.peak_gb,
        "recorded": program.steps.recorded,
        "said": program.said,
        "raw": spent,
    }


def upstream(job: Job) -> None:
    """The official checkout without its optimiser: as shipped, and its gates on torch's version opened."""
    if job.upstream is None:
        job.keep(phases=[{"mode": "upstream", "augment": "none", "why_not": "no --upstream was given"}])
        return
    sys.path.insert(0, str(job.upstream.resolve()))
    job.batch = 4 if job.dry else job.batch
    settings = sides.Settings(job.device, False, job.upstream, 1, job.clock)
    rows: list[Row] = []
    for mode in ("as shipped", "gates opened"):
        row: Row = {"mode": f"upstream {mode}", "augment": "none", "batch": job.batch, "peak_gb": 0.0}
        try:
            if mode == "gates opened":
                open_gates()
            with mock.patch.object(sides, "network_arguments", return_value=network_arguments(job)):
                side = sides.official_side(job.side, {"r1_gamma": 1}, settings)
            batch = sides.batch_of(job.side, job.batch, job.device)
            spent = {name: gpu_work.fastest(job, partial(side.phase, name, batch)) for name in sides.SHARE}
            iteration = sum(sides.SHARE[name] * found for name, found in spent.items())
            row |= {f"{name}_ms": 1e3 * found for name, found in spent.items()}
            rows.append(row | {"iteration_ms": 1e3 * iteration, "sec_per_kimg": 1e3 * iteration / job.batch})
        except Exception as error:  # whatever another program does on a torch that it does not know
            rows.append(row | {"why_not": f"{type(error).__name__}: {error}"[:200]})
        job.keep(phases=rows)


def open_gates() -> None:
    """Its own derivatives of convolution and sampling are used for named versions of torch alone."""
    for name in ("conv2d_gradfix", "grid_sample_gradfix"):
        module = importlib.import_module(f"torch_utils.ops.{name}")
        vars(module)["enabled"] = True
        if hasattr(module, "_should_use_custom_op"):
            vars(module)["_should_use_custom_op"] = lambda *_: True
