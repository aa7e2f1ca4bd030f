"""For mkdocs.yml: pages from outside docs/ join the site; the reference is what the packages export."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # links are tested where no mkdocs is installed, too
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# {place in the site: place in the repository}
JOINED = {
    "index.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "benchmarks/results/toy8.png": "benchmarks/results/toy8.png",
    "LICENSE": "LICENSE",
    "NOTICE": "NOTICE",
    "CITATION.cff": "CITATION.cff",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them, generated ones by their content."""
    from mkdocs.structure.files import File

    for place, source in JOINED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Its links, as they are in the site."""
    return site_links(markdown)


def site_links(markdown: str) -> str:
    """In the site, README lies beside the pages of docs/, and benchmarks/ below them."""
    return re.sub(r"\]\((?:(\.\./)?docs/|\.\./(?=benchmarks/))", r"](\1", markdown)


def reference() -> str:
    """A page of every exported name, from its docstring."""
    parts = ["# Reference", "What a script may rely on; [From Python](python.md) shows it at work."]
    for package, short in (("stylegan2ada", "sg"), ("spine_plugins", "sp")):
        parts.append(f"## import {package} as {short}")
        parts += [f"::: {package}.{home}.{name}" for home, names in homes(package) for name in names]
    return "\n\n".join(parts) + "\n"


def homes(package: str) -> list[tuple[str, list[str]]]:
    """The table of exports in a package's __init__, read without importing it."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES":
            return sorted(ast.literal_eval(node.value).items())
    raise LookupError(f"{package}/__init__.py has no table _HOMES")
