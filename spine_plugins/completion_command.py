"""`spinegan completion SHELL`: what a shell needs to complete verbs, flags and their choices."""

from __future__ import annotations

from dataclasses import dataclass

import click
from click.shell_completion import get_completion_class

from stylegan2ada import options

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Completion:
    """What `completion` was asked."""

    shell: str


@options.command("completion", record=Completion)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(asked: Completion) -> None:
    """Print the completion script of a shell.

    \b
    bash:  spinegan completion bash > ~/.spinegan-complete.bash
           echo '. ~/.spinegan-complete.bash' >> ~/.bashrc
    zsh:   spinegan completion zsh > ~/.spinegan-complete.zsh
           echo '. ~/.spinegan-complete.zsh' >> ~/.zshrc
    fish:  spinegan completion fish > ~/.config/fish/completions/spinegan.fish
    """
    made = get_completion_class(asked.shell)
    assert made is not None, asked.shell
    root = click.get_current_context().find_root().command
    # click's own template; `source()` would first ask an installed bash for its version.
    shell = made(root, {}, "spinegan", "_SPINEGAN_COMPLETE")
    click.echo(shell.source_template % shell.source_vars())
