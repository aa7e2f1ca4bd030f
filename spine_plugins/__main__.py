"""`spinegan <verb>`: one command group; a verb lives in its room and is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import sys

import click

# fmt: off
VERBS = {  # verb: (where its click command is, one line for the list)
    "demo":      ("demo_command:demo",           "Phantom DICOM to report, on this computer, in minutes."),
    "doctor":    ("doctor_command:doctor",       "Check this computer; with the fix for what is missing."),
    "phantom":   ("phantom.command:phantom",     "Draw synthetic spine radiographs with known truth."),
    "classify":  ("classifier.command:classify", "Train, evaluate and apply the SpineClassifier."),
    "detectors": ("detectors_command:detectors", "List or fetch the networks that metrics need."),
    "figures":   ("experiments.command:figures", "Draw the paper's figures from networks and data."),
    "report":    ("report.command:report",       "One self-contained HTML page about a run."),
}
# fmt: on


class VerbGroup(click.Group):
    """A group that knows its verbs by name and imports one only when it is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, attribute = VERBS[name][0].split(":")
        return getattr(importlib.import_module(f"spine_plugins.{module}"), attribute)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else f" Verbs: {', '.join(VERBS)}."
            context.fail(f"There is no verb {args[0]!r}.{hint}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(
    cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="spinegan")
def main() -> None:
    """SpineGAN: from DICOM radiographs to a synthetic data set that can be defended."""


if __name__ == "__main__":
    sys.exit(main(prog_name="spinegan"))
