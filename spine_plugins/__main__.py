"""`spinegan <verb>`: one command group; a verb lives in its room and is imported when it is asked for."""
# ruff: noqa: E501 - the table

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" or Path(sys.argv[0]).stem == "spinegan":
    import stylegan2ada.as_script  # noqa: F401 - before the heavy imports

import difflib
import importlib
from typing import Any

import click

from stylegan2ada import interrupts

# The map of the work, in its order: {stage: {verb: (where its click command is, one line for the list)}}.
# fmt: off
STAGES = {
    "Data": {
        "phantom":   ("spine_plugins.phantom.command:phantom",    "Draw synthetic spine radiographs with known truth."),
        "convert":   ("spine_plugins.dicom.command:main",         "DICOM radiographs to a data set."),
        "dataset":   ("stylegan2ada.dataset_tool:main",           "Pictures of other kinds to a data set."),
    },
    "Classifier": {
        "classify":  ("spine_plugins.classifier.command:classify", "Train, evaluate and apply the SpineClassifier."),
    },
    "Train": {
        "train":     ("spine_plugins.training.command:main",      "Train a GAN, with or without the classifier."),
        "recipe":    ("spine_plugins.recipes.command:recipe",     "Other GANs of the field: list, NAME train|apply|evaluate|demo."),
    },
    "Draw": {
        "generate":  ("stylegan2ada.generate:main",               "Images, or a labelled synthetic data set."),
        "mix":       ("stylegan2ada.style_mixing:main",           "Coarse styles of one image, fine ones of another."),
        "project":   ("stylegan2ada.projector:main",              "Find an image in a network."),
        "legacy":    ("stylegan2ada.legacy:main",                 "Read older network files, write today's."),
    },
    "Measure": {
        "metrics":   ("stylegan2ada.calc_metrics:main",           "FID, KID, precision and recall, ... of a network."),
        "detectors": ("spine_plugins.detectors_command:detectors", "List or fetch the networks that metrics need."),
        "figures":   ("spine_plugins.experiments.command:figures", "Draw the paper's figures from networks and data."),
        "experiments": ("spine_plugins.experiments.plans_command:experiments", "Tables and figures of the paper, or of yours."),
        "compare":   ("spine_plugins.compare.command:compare",    "Runs side by side, of this program and of the official one."),
        "card":      ("spine_plugins.card_command:card",          "README.md of a network, for model hubs."),
        "report":    ("spine_plugins.report.command:report",      "One self-contained HTML page about a run."),
    },
    "Audit and release": {
        "audit":     ("spine_plugins.audit.command:audit",        "Are synthetic images copies of patients, with power."),
        "dp":        ("spine_plugins.privacy.command:dp",         "Differential privacy: count, calibrate, verify."),
        "release":   ("spine_plugins.release.command:release",    "A synthetic data set with its card, checked."),
    },
    "First steps": {
        "demo":      ("spine_plugins.demo_command:demo",          "Phantom DICOM to report, on this computer, in minutes."),
        "doctor":    ("spine_plugins.doctor_command:doctor",      "Check this computer; with the fix for what is missing."),
        "completion": ("spine_plugins.completion_command:completion", "Let the shell complete verbs and flags."),
    },
}
# fmt: on
VERBS = {verb: entry for verbs in STAGES.values() for verb, entry in verbs.items()}
# Files that are the same commands, where the verb has another name.
SCRIPTS = {
    "train_spine": "train",
    "dataset_tool_dicom": "convert",
    "dataset_tool": "dataset",
    "style_mixing": "mix",
    "projector": "project",
    "calc_metrics": "metrics",
}
# What other programs call it.
HABITS = {
    "sample": "generate",
    "synthesize": "generate",
    "eval": "metrics",
    "evaluate": "metrics",
    "fid": "metrics",
    "dicom": "convert",
    "invert": "project",
    "help": "--help",
    "resume": "train --continue=RUN_DIR",
    "continue": "train --continue=RUN_DIR",
}  # fmt: skip


class VerbGroup(click.Group):
    """A group that knows its verbs by name and imports one only when it is used."""

    def main(self, *args: Any, **settings: Any) -> Any:
        with interrupts.running():
            return super().main(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(interrupts.EXIT_CODE) from None

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, attribute = VERBS[name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            context.fail(f"There is no verb {args[0]!r}. {advice(args[0])}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for stage, verbs in STAGES.items():
            with formatter.section(stage):
                formatter.write_dl([(f"{verb:<10}", line) for verb, (_, line) in verbs.items()])


def advice(wrong: str) -> str:
    """What to type instead of a verb that does not exist."""
    name = wrong.lower().removesuffix(".py").replace("-", "_")
    if name in SCRIPTS:
        return f"The script {name}.py is the verb {SCRIPTS[name]!r}."
    if name in HABITS:
        verb, _, flags = HABITS[name].partition(" ")
        return f"Use {verb!r}{_also(verb)}{' with ' + flags if flags else ''}."
    nearest = difflib.get_close_matches(name, [*VERBS, *SCRIPTS], n=1)
    if not nearest:
        return f"Verbs: {', '.join(VERBS)}."
    verb = SCRIPTS.get(nearest[0], nearest[0])
    return f"Did you mean {verb!r}{_also(verb)}?"


def _also(verb: str) -> str:
    """The file that is the same command, for those who know upstream's."""
    script = {to: name for name, to in SCRIPTS.items()}.get(verb, "")
    return f" ({script}.py)" if script else ""


@click.group(
    cls=VerbGroup,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(package_name="spinegan")
def main() -> None:
    """SpineGAN: from DICOM radiographs to a synthetic data set that can be defended.

    `spinegan VERB --help` explains a verb. Scripts are the same commands.
    """


if __name__ == "__main__":
    sys.exit(main(prog_name="spinegan"))
