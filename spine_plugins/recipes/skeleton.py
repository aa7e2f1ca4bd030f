"""What all recipes share: the loop that survives a kill, moving averages, and a model folder with its card.

A step's random numbers follow from the seed and the step alone, so that a continued training is the same one.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from spine_plugins.recipes.asked import Train
from spine_plugins.resumable import Resumable, seeded, step_seed
from stylegan2ada import files, processes, provenance, untrusted
from stylegan2ada.errors import MissingError, NothingToDoError, UserError
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import JsonObject, State
from stylegan2ada.training import ema

WEIGHTS, CARD, STATE = "model.safetensors", "card.json", "training-state.pt"
FORMAT = "spinegan recipe"
FORMAT_VERSION = 1
_SAVE_SEC = 60.0  # between states: what a hard kill costs at most
_CARD_LIMIT = 4 * untrusted.MIB


@dataclass
class Parts:
    """The networks of a recipe, what trains them, and whose moving average is published."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    averaged: tuple[str, ...] = ()
    keep: float = 0.99  # of an old average, at each step once it is warm
    averages: dict[str, nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        self.averages = {
            name: copy.deepcopy(self.networks[name]).requires_grad_(False) for name in self.averaged
        }

    def average(self, step: int) -> None:
        """Pull the averages towards the networks; early ones follow quickly."""
        # As a half life in steps: 0.5 ** (1 / half life) is the share that stays.
        steady = 1 / max(-torch.log2(torch.tensor(self.keep)).item(), 1e-6)
        for name, average in self.averages.items():
            ema.update(average, self.networks[name], 1, step, steady / 1000, 0.1)

    def published(self) -> dict[str, nn.Module]:
        """What `apply` uses: averages where there are some."""
        return {name: self.averages.get(name, network).eval() for name, network in self.networks.items()}

    def state(self, step: int, elapsed_sec: float) -> State:
        """All that the next step depends on."""
        kinds: dict[str, Mapping[str, nn.Module | torch.optim.Optimizer]] = {
            "networks": self.networks, "averages": self.averages, "optimizers": self.optimizers,
        }  # fmt: skip
        states = {kind: {k: part.state_dict() for k, part in parts.items()} for kind, parts in kinds.items()}
        return {"step": step, "elapsed_sec": elapsed_sec, **states}

    def restore(self, state: State) -> tuple[int, float]:
        """(step, seconds so far) of a state, whose values are now ours."""
        for kind in ("networks", "averages", "optimizers"):
            for name, part in getattr(self, kind).items():
                part.load_state_dict(state[kind][name])
        step, elapsed_sec = int(state["step"]), float(state["elapsed_sec"])
        if step < 0 or elapsed_sec < 0:
            raise ValueError(f"step {step} after {elapsed_sec} s")
        return step, elapsed_sec


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down this loss; gradients that reached other networks are dropped when their turn comes."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


class Course:
    """One training: where it lies, what must be equal to continue it, and its loop."""

    def __init__(
        self,
        recipe: str,
        asked: Train,
        settings: JsonObject,  # what the model is rebuilt from
        facts: JsonObject,  # about the data
        *,
        before: int = 0,  # steps that prepare, ahead of those asked for
    ) -> None:
        self.steps = before + asked.steps
        self.recipe, self.asked, self.settings, self.facts = recipe, asked, settings, facts
        self.folder = Path(asked.out)
        self.device = processes.pick_device(asked.device)
        identity = {"recipe": recipe, "seed": asked.seed, "steps": asked.steps, **settings, **facts}
        self.keeper = Resumable(self.folder / STATE, identity, f"recipe {recipe}")
        self._check_place()

    def run(
        self, parts: Parts, step: Callable[[int], None], *, extra: Callable[[], JsonObject]
    ) -> JsonObject:
        """All steps, then the model folder -> its card. `extra`: further facts, once training is over."""
        for network in (*parts.networks.values(), *parts.averages.values()):
            network.to(self.device)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.keeper.listening():
            done, before_sec = 0, 0.0
            if (state := self.keeper.restore()) is not None:
                with self.keeper.fitting():
                    done, before_sec = parts.restore(state)
            start = saved = time.monotonic()
            progress = Progress(self.steps, f"{self.recipe} training")
            progress.done = done
            for number in range(done, self.steps):
                with seeded(step_seed(self.asked.seed, number), self.device):
                    step(number)
                parts.average(number)
                progress.step()

                def state_now(after: int = number + 1) -> State:
                    return parts.state(after, before_sec + time.monotonic() - start)

                self.keeper.save_if_asked_to_stop(state_now, f"after step {number + 1}")
                if time.monotonic() - saved > _SAVE_SEC:
                    self.keeper.save(state_now())
                    saved = time.monotonic()
            progress.close()
        seconds = round(before_sec + time.monotonic() - start, 1)
        published = parts.published()
        facts = {**self.facts, **extra(), "training_sec": seconds}
        card = save_model(self.folder, self.recipe, published, self._settings(), facts)
        self.keeper.remove()
        return card

    def _settings(self) -> JsonObject:
        return {**self.settings, "steps": self.asked.steps, "seed": self.asked.seed}

    def _check_place(self) -> None:
        is_begun = self.keeper.path.exists() or self.keeper.path.with_name(STATE + ".previous").exists()
        if is_begun and not self.asked.continue_run:
            raise UserError(f"{self.folder} holds an unfinished training; give --continue, or another --out")
        if not is_begun and (self.folder / CARD).exists():
            if self.asked.continue_run:
                raise NothingToDoError(
                    f"the training in {self.folder} is finished; nothing is left to continue"
                )
            raise UserError(f"{self.folder} holds a model already; give another --out")
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"--out={self.folder} is a file; give a folder")


def save_model(
    folder: Path, recipe: str, networks: Mapping[str, nn.Module], settings: JsonObject, facts: JsonObject
) -> JsonObject:
    """Write the weights, then the card that names their hash -> the card."""
    tensors = {
        f"{name}/{key}": value.detach().cpu().clone().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    with files.atomic_write(folder / WEIGHTS) as file:
        file.write(safetensors.torch.save(tensors, metadata={"format": FORMAT}))
    card = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "recipe": recipe,
        "settings": settings,
        "facts": facts,
        "sha256": files.sha256_file(folder / WEIGHTS),
        "made_by": provenance.of_this_program(),
    }
    files.write_json(folder / CARD, card)
    return card


class Model(NamedTuple):
    """A trained model, read and checked against its card."""

    folder: Path
    settings: JsonObject
    facts: JsonObject
    tensors: dict[str, Tensor]

    def into(self, name: str, network: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
        """The network with its weights: eval, frozen."""
        own = {
            key.removeprefix(name + "/"): value
            for key, value in self.tensors.items()
            if key.startswith(name + "/")
        }
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise MissingError(
                f"{self.folder / WEIGHTS} does not fit its card; copy the folder again"
            ) from error
        return network.to(device).eval().requires_grad_(False)


def load_model(folder: str | Path, recipe: str) -> Model:
    """What `train` left there; MissingError unless it is a whole model of this recipe."""
    folder = Path(folder)
    if not (folder / CARD).is_file():
        raise MissingError(
            f"{folder} holds no model; make one with: spinegan recipe {recipe} train --out={folder}"
        )
    card = untrusted.read_json(folder / CARD, _CARD_LIMIT, error=MissingError)
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise MissingError(f"{folder / CARD} is not the card of a recipe's model; give the folder of one")
    if card.get("recipe") != recipe:
        raise UserError(f"{folder} is a model of the recipe {str(card.get('recipe'))[:40]}, not of {recipe}")
    if card.get("format_version") != FORMAT_VERSION:
        raise MissingError(f"{folder / CARD} was written by a newer version of this program; update it")
    settings, facts = card.get("settings"), card.get("facts")
    if not isinstance(settings, dict) or not isinstance(facts, dict):
        raise MissingError(f"{folder / CARD} is damaged; copy the folder again")
    if not (folder / WEIGHTS).is_file() or files.sha256_file(folder / WEIGHTS) != card.get("sha256"):
        raise MissingError(f"{folder / WEIGHTS} is not the file that its card describes; copy both again")
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
    except (safetensors.SafetensorError, ValueError) as error:
        raise MissingError(f"{folder / WEIGHTS} is damaged; copy it again") from error
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise MissingError(f"{folder / WEIGHTS} is damaged: {name} holds NaN or infinity; copy it again")
    return Model(folder, settings, facts, tensors)


def setting(
    model: Model, name: str, kind: type[int] | type[float] | type[str], most: float = 1 << 20
) -> object:
    """A value of the card, which may have been changed by hand."""
    value = model.settings.get(name)
    if type(value) is not kind or (isinstance(value, int | float) and not 0 <= value <= most):
        raise MissingError(f"{model.folder / CARD} is damaged: its {name} cannot be; copy the folder again")
    return value


def number(model: Model, name: str, most: int = 1 << 20) -> int:
    """A count on the card."""
    found = setting(model, name, int, most)
    assert isinstance(found, int)
    return found


def word(model: Model, name: str, known: tuple[str, ...]) -> str:
    """A choice on the card, among the known ones."""
    found = setting(model, name, str)
    if found not in known:
        raise MissingError(
            f"{model.folder / CARD} says {name} = {str(found)[:40]}; known: {', '.join(known)}"
        )
    return str(found)


def check_free(path: str | Path, *, overwrite: bool) -> Path:
    """A file that may be written; UserError before the work rather than after it."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise UserError(f"--out={path} exists already; choose another name, or give --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def demo_folder(path: str | Path) -> Path:
    """An empty folder for a demo."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out={folder} is not an empty folder; give another")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
