"""The loss that trains G and D: an objective of the table, lazy R1 and path length, and generator terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from stylegan2ada import stats
from stylegan2ada.losses import critic, halves
from stylegan2ada.losses.base import Context, Loss, NamedPhase
from stylegan2ada.losses.draws import Draws
from stylegan2ada.losses.objectives import Penalty, find_objective, r1_penalty
from stylegan2ada.losses.terms import GeneratorTerm, make_term, offered, weighted_sum
from stylegan2ada.protocols import Options, State

_HALVES = ("_judge", "_reject_fakes", "_accept_reals")
PHASES = {f"{network}{part}": network for network in "GD" for part in ("main", "reg", "both")}


class StyleGAN2Loss(Loss):
    """Adds the gradients of a phase to the parameters that require them; knows nothing of optimisers.

    Nothing here reads a value back from the device, so a step can be queued, or captured, as a whole.

    >>> G, D = (sg.load_network("network.pkl")[name].requires_grad_(True) for name in ("G", "D"))
    >>> loss = sg.StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, r1_gamma=1)
    >>> real_img, z, c = torch.zeros(4, 1, 8, 8), torch.randn(4, G.z_dim), torch.eye(2).repeat(2, 1)
    >>> loss.accumulate_gradients("Dmain", real_img, c, z, c, sync=True, gain=1)
    >>> D.b4.out.weight.grad is not None
    True
    """

    capturable = True

    def __init__(
        self,
        device: torch.device | str,
        G_mapping: Callable[..., Tensor],  # (z, c) -> ws
        G_synthesis: Callable[..., Tensor],  # ws -> images
        D: Callable[..., Tensor],  # (images, c) -> logits
        augment_pipe: Callable[..., Tensor] | None = None,  # applied to everything that D sees
        style_mixing_prob: float = 0.9,
        r1_gamma: float = 10,
        pl_batch_shrink: int = 2,  # path length looks at a batch this much smaller
        pl_decay: float = 0.01,  # of the running mean path length
        pl_weight: float = 2,
        *,
        objective: str = "stylegan2",
        terms: Iterable[GeneratorTerm | str] = (),  # added to what G minimises; text: "NAME[:WEIGHT]"
        draws: Draws | None = None,  # None: random
        gp_weight: float = 10,  # lambda of wgan-gp
        drift_weight: float = 0.001,  # of wgan-gp: times E[D(real)^2]
        weight_clip: float = 0.01,  # of wgan: bound of D's effective weights
    ) -> None:
        self.device = torch.device(device)
        self.G_mapping, self.G_synthesis, self.D = G_mapping, G_synthesis, D
        self.augment_pipe = augment_pipe
        self.objective = find_objective(objective)
        has_regularisers = self.objective.has_regularisers
        self.r1_gamma = r1_gamma if has_regularisers else 0
        self.pl_weight = pl_weight if has_regularisers else 0
        self.pl_batch_shrink, self.pl_decay = pl_batch_shrink, pl_decay
        self.style_mixing_prob = style_mixing_prob
        self.gp_weight, self.drift_weight, self.weight_clip = gp_weight, drift_weight, weight_clip
        self.terms = [make_term(term, device=device) if isinstance(term, str) else term for term in terms]
        self.draws = draws if draws is not None else Draws(self.device, style_mixing_prob)
        self.pl_mean = torch.zeros([], device=self.device)
        self.joins_halves = joins_halves(type(self), self.device)
        critic.check_critic(D, self.objective)

    @classmethod
    def network_settings(cls, objective: str = "stylegan2") -> Options:
        """Constructor arguments that the objective asks of D, e.g. no minibatch-stddev."""
        return find_objective(objective).network_settings

    # The phases

    def accumulate_gradients(
        self,
        phase: str,  # Gmain, Greg, Gboth, Dmain, Dreg, Dboth
        real_img: Tensor,  # [N, C, H, W] in [-1, 1]
        real_c: Tensor,  # [N, c_dim]
        gen_z: Tensor,  # [N, z_dim]
        gen_c: Tensor,  # [N, c_dim]
        sync: bool,  # networks in DDP exchange gradients now; ours are not, and the loop averages over ranks
        gain: float,  # factor of the gradients
    ) -> None:
        """Back-propagate one round of one phase."""
        network, part = PHASES[phase], phase[1:]
        is_main, is_reg = part != "reg", part != "main"

        if network == "G":
            has_paths = is_reg and self.pl_weight != 0
            # Of several backward passes the last one exchanges what all have summed up.
            if is_main:
                self._fool(real_img, gen_z, gen_c, sync and not has_paths).mul(gain).backward()
            if has_paths:
                self._even_out_paths(gen_z, gen_c, sync).mul(gain).backward()
            return

        has_r1 = is_reg and self.r1_gamma != 0
        if is_main and not has_r1 and (size := self._joint(real_img, gen_z)) is not None:
            self._compare(real_img, real_c, gen_z, gen_c, size, sync).mul(gain).backward()
            return
        fakes = self._reject_fakes(gen_z, gen_c, gain) if is_main and len(gen_z) else None
        if len(real_img) and (is_main or has_r1):
            self._accept_reals(real_img, real_c, fakes, is_main, has_r1, sync).mul(gain).backward()

    def after_step(self, phase: NamedPhase | str) -> None:
        """A Wasserstein critic is kept within its bounds."""
        name = phase if isinstance(phase, str) else phase.name
        if self.objective.clips_weights and name.startswith("D"):
            critic.clip_effective_weights(self.D, self.weight_clip)

    def start(self, context: Context) -> None:
        """Hand what the training loop knows to the terms that want it."""
        for term in self.terms:
            offered(term, "start")(context)

    def state_dict(self) -> State:
        """What must survive an interruption."""
        states = {term.name: offered(term, "state_dict")() for term in self.terms}
        kept = {name: state for name, state in states.items() if state is not None}
        return {"pl_mean": self.pl_mean.clone(), "terms": kept}

    def load_state_dict(self, state: State) -> None:
        self.pl_mean.copy_(state["pl_mean"])
        for term in self.terms:
            if term.name in state["terms"]:
                offered(term, "load_state_dict")(state["terms"][term.name])

    def why_not_recorded(self) -> str | None:
        """Draws that were handed in, or a term that does not say it may be."""
        if (reason := super().why_not_recorded()) is not None:
            return reason
        if type(self.draws) is not Draws:
            return "its random draws were handed in"
        silent = [term.name for term in self.terms if not getattr(term, "capturable", False)]
        return (
            f"term {silent[0]} does not say that it may be recorded (capturable = True)" if silent else None
        )

    def facts(self) -> Hashable:
        """Weights now, and what a hook might change."""
        own = (self.r1_gamma, self.pl_weight, self.pl_decay, self.style_mixing_prob, self.weight_clip)
        return (*own, *(term.weight for term in self.terms))

    # The generator's side

    def _fool(self, real_img: Tensor, z: Tensor, c: Tensor, sync: bool) -> Tensor:
        img, _ = self._generate(z, c, sync)
        logits = self._judge("fake", self._augment(img), c, sync=False)
        wanted = stats.report("Loss/G/loss", self.objective.g(logits))
        return sum(weighted_sum(self.terms, img, c, real_img), start=wanted.mean())

    def _even_out_paths(self, z: Tensor, c: Tensor, sync: bool) -> Tensor:
        """Path length regularisation (Karras et al. 2020, arXiv:1912.04958, eq. 4)."""
        n = max(len(z) // self.pl_batch_shrink, 1)
        img, ws = self._generate(z[:n], c[:n], sync)
        direction = self.draws.pl_noise(img) / math.sqrt(math.prod(img.shape[2:]))
        (change,) = torch.autograd.grad((img * direction).sum(), ws, create_graph=True)  # [n, num_ws, w_dim]
        lengths = change.square().sum(2).mean(1).sqrt()
        # upstream: the running mean is not cut from the graph; a little gradient flows through it.
        mean = torch.lerp(self.pl_mean, lengths.mean(), self.pl_decay)
        self.pl_mean.copy_(mean.detach())
        penalty = stats.report("Loss/pl_penalty", (lengths - mean).square())
        weighted = stats.report("Loss/G/reg", penalty * self.pl_weight)
        return weighted.mean() + _zero(img)

    def _generate(self, z: Tensor, c: Tensor, sync: bool) -> tuple[Tensor, Tensor]:
        """Images and the ws they were made from."""
        with exchanging(self.G_mapping, sync):
            ws = self.G_mapping(z, c)
            if self.style_mixing_prob > 0:
                num_ws = ws.shape[1]
                second = self.G_mapping(self.draws.mixing_z(z), c, skip_w_avg_update=True)
                # A mask, not a slice: the cutoff's value never has to leave the device.
                is_first = torch.arange(num_ws, device=ws.device) < self.draws.mixing_cutoff(num_ws)
                ws = torch.where(is_first[:, None], ws, second)
        if torch.is_grad_enabled() and not ws.requires_grad:
            ws.requires_grad_()  # of a mapping that does not learn; paths start here all the same
        mode = self.draws.noise_mode
        with exchanging(self.G_synthesis, sync):
            return self.G_synthesis(ws) if mode is None else self.G_synthesis(ws, noise_mode=mode), ws

    # The discriminator's side

    def _reject_fakes(self, z: Tensor, c: Tensor, gain: float) -> tuple[Tensor, Tensor]:
        """Back-propagate D's loss of fakes; what D saw, and the loss per sample."""
        with torch.no_grad():
            seen = self._augment(self._generate(z, c, sync=False)[0])
        loss = self.objective.on_fake(self._judge("fake", seen, c, sync=False))
        loss.mean().mul(gain).backward()  # at once: the graphs of both halves need not live together
        return seen, loss.detach()

    def _accept_reals(
        self,
        img: Tensor,
        c: Tensor,
        fakes: tuple[Tensor, Tensor] | None,  # what D saw of them, and its loss
        is_main: bool,
        has_r1: bool,
        sync: bool,
    ) -> Tensor:
        """D's loss of reals, and its penalties."""
        img = img.detach().requires_grad_(has_r1)
        seen = self._augment(img)
        logits = self._judge("real", seen, c, sync)
        total = _zero(logits)
        if is_main:
            loss = self.objective.on_real(logits)
            total = total + loss.mean()
        if is_main and fakes is not None:
            fake_seen, fake_loss = fakes
            # Pairs where there are as many of both, as usual; else each real beside the average fake.
            stats.report(
                "Loss/D/loss", (fake_loss if len(fake_loss) == len(loss) else fake_loss.mean()) + loss
            )
            if (measure := self.objective.penalty) is not None:
                with exchanging(self.D, sync):
                    total = total + self._critic_penalty(measure, seen, fake_seen, c, logits)
        if has_r1:
            penalty = stats.report("Loss/r1_penalty", r1_penalty(logits, img))  # before augmentation
            total = total + stats.report("Loss/D/reg", penalty * (self.r1_gamma / 2)).mean()
        return total

    def _joint(self, real_img: Tensor, z: Tensor) -> int | None:
        """How large the groups are if both halves may go through D at once; None: one after the other."""
        is_plain = self.joins_halves and self.objective.penalty is None
        return halves.members(self.D, len(z)) if is_plain and 0 < len(z) == len(real_img) else None

    def _compare(
        self, real_img: Tensor, real_c: Tensor, z: Tensor, gen_c: Tensor, size: int, sync: bool
    ) -> Tensor:
        """D's loss of both halves in one pass; draws and statistics are those of two."""
        with torch.no_grad():
            fake = self._augment(self._generate(z, gen_c, sync=False)[0])
        real = self._augment(real_img.detach())
        with exchanging(self.D, sync):
            logits = self.D(halves.join(fake, real, size), halves.join(gen_c, real_c, size))
        of_fake, of_real = halves.split(logits, size)
        _note("fake", of_fake)
        _note("real", of_real)
        on_fake, on_real = self.objective.on_fake(of_fake), self.objective.on_real(of_real)
        stats.report("Loss/D/loss", on_fake + on_real)
        return on_fake.mean() + on_real.mean()

    def _critic_penalty(
        self, measure: Penalty, real_seen: Tensor, fake_seen: Tensor, c: Tensor, real_logits: Tensor
    ) -> Tensor:
        full = {"force_fp32": True} if critic.takes(self.D, "force_fp32") else {}
        n = min(len(real_seen), len(fake_seen))  # a line needs both ends
        real_seen, fake_seen, c, real_logits = real_seen[:n], fake_seen[:n], c[:n], real_logits[:n]
        mix = self.draws.interpolation(n)
        penalty = measure(lambda x: self.D(x, c, **full), real_seen, fake_seen, mix)
        stats.report("Loss/gradient_penalty", penalty)
        drift = real_logits.square().flatten() * (self.drift_weight if self.objective.has_drift else 0)
        return stats.report("Loss/D/reg", penalty * self.gp_weight + drift).mean()

    def _augment(self, img: Tensor) -> Tensor:
        if self.augment_pipe is None:
            return img
        percentile = self.draws.augment_percentile
        return (
            self.augment_pipe(img)
            if percentile is None
            else self.augment_pipe(img, debug_percentile=percentile)
        )

    def _judge(self, kind: str, seen: Tensor, c: Tensor, sync: bool) -> Tensor:
        with exchanging(self.D, sync):
            return _note(kind, self.D(seen, c))


def joins_halves(kind: type[StyleGAN2Loss], device: torch.device) -> bool:
    """Whether reals and fakes go through D at once: twice the work per kernel pays on a GPU.

    On a CPU it does not, and both graphs would be in memory. Who derives from the loss and changes how a half
    is judged keeps two passes.
    """
    is_as_here = all(getattr(kind, name) is getattr(StyleGAN2Loss, name) for name in _HALVES)
    return is_as_here and device.type == "cuda"


def _note(kind: str, logits: Tensor) -> Tensor:
    stats.report(f"Loss/scores/{kind}", logits)
    stats.report(f"Loss/signs/{kind}", logits.sign())
    return logits


def exchanging(module: object, wanted: bool) -> AbstractContextManager[None]:
    """Whether the backward pass of what is computed in here makes a DDP-wrapped module exchange gradients."""
    no_sync = getattr(module, "no_sync", None)
    return nullcontext() if wanted or no_sync is None else no_sync()


def _zero(values: Tensor) -> Tensor:
    """0 with a graph: every parameter behind `values` gets a gradient of zero rather than none.

    upstream: Adam then still counts the step and lets the second moment decay, e.g. of the last bias.
    """
    return values.flatten(1)[:, 0].mul(0).mean()
