"""Paths and commands as a page may show them: no folders, but commands that can be typed."""

from __future__ import annotations

from spine_plugins.runs.places import command_text, file_name, short_text, short_value


def test_places_are_left_out() -> None:
    assert short_value("/data/Mueller_Hans/a.zip") == "\u2026/a.zip"
    assert short_value("--data=C:\\Users\\x\\a b.zip") == "--data=\u2026/a b.zip"
    assert short_value("tiny=../x/y.pt,z") == "tiny=\u2026/y.pt,z"
    assert short_value("https://example.org/a/b.pkl") == "https://example.org/a/b.pkl"
    assert short_value("0.5") == "0.5" and short_value("--a=b=c") == "--a=b=c"
    assert (
        short_text("cannot read /home/x/y/z.zip, see C:\\a\\b\\c.txt.")
        == "cannot read \u2026/z.zip, see \u2026/c.txt"
    )
    assert short_text("see https://example.org/a/b and 3/4") == "see https://example.org/a/b and 3/4"
    assert file_name("a\\b\\c.pkl") == "c.pkl" and file_name("/a/b/") == "b"


def test_commands_can_be_typed() -> None:
    argv = ["/x/stylegan2ada/train.py", "--outdir=a b", "--cond=1"]
    assert command_text(argv) == "python stylegan2ada/train.py '--outdir=a b' --cond=1"
    wrapped = command_text([*argv, *(f"--flag{i}=value" for i in range(9))])
    assert "\\\n  --flag" in wrapped and max(map(len, wrapped.split("\n"))) < 90
    assert wrapped.replace("\\\n ", "").split() == command_text([*argv]).split() + [
        f"--flag{i}=value" for i in range(9)
    ]
    assert command_text(["/x/spine_plugins/__main__.py", "report"]) == "spinegan report"
    assert command_text(argv, is_full=True).startswith("python /x/stylegan2ada/train.py")
    assert command_text([]) == ""
