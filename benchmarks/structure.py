"""What the code is made of, per package: files, longest file and function, `Any`, `type: ignore`.

    python benchmarks/structure.py [ROOT]

`Any` counts the word in code, imports apart; lines are all lines of all Python files.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

PACKAGES = ("stylegan2ada", "spine_plugins")
LONG = 50  # lines of a function


def functions(tree: ast.AST) -> list[tuple[int, str]]:
    """(lines, name) of every function."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [((n.end_lineno or 0) - n.lineno + 1, n.name) for n in ast.walk(tree) if isinstance(n, kinds)]


def uses_of_any(text: str) -> int:
    """How often the name stands in code that is no import."""
    lines = {token.start[0] for token in tokens(text) if token.string in ("from", "import")}
    return sum(token.string == "Any" and token.start[0] not in lines for token in tokens(text))


def tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


def measured(package: Path) -> dict[str, object]:
    """One row of the table."""
    texts = {path: path.read_text() for path in sorted(package.rglob("*.py"))}
    lines = {path: len(text.splitlines()) for path, text in texts.items()}
    found = [
        (size, f"{path.relative_to(package)}:{name}")
        for path, text in texts.items()
        for size, name in functions(ast.parse(text))
    ]
    total = sum(lines.values())
    longest = max(lines, key=lines.__getitem__)
    return {
        "files": len(texts),
        "lines": total,
        "longest file": f"{lines[longest]} ({longest.relative_to(package)})",
        "longest function": "{} ({})".format(*max(found)),
        f"functions over {LONG} lines": sum(size > LONG for size, _ in found),
        "Any per 1,000 lines": f"{1000 * sum(map(uses_of_any, texts.values())) / total:.1f}",
        "type: ignore": sum(text.count("# type: ignore") for text in texts.values()),
    }


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent
    rows = {package: measured(root / package) for package in PACKAGES}
    print("| | " + " | ".join(rows) + " |\n" + "|---" * (len(rows) + 1) + "|")
    for name in rows[PACKAGES[0]]:
        print(f"| {name} | " + " | ".join(str(row[name]) for row in rows.values()) + " |")


if __name__ == "__main__":
    main()
