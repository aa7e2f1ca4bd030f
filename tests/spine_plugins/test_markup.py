"""Whatever is put between tags stays text, and only our own markup is markup."""

from __future__ import annotations

from spine_plugins.markup import Safe, escaped, join, tag


def test_markup_escapes_by_itself() -> None:
    assert tag("p", "<b>", title='"') == '<p title="&quot;">&lt;b&gt;</p>'
    assert tag("p", Safe("<b></b>"), ["&", None, 3]) == "<p><b></b>&amp;3</p>"
    assert escaped("\ud800\x07\u202e") == "\ufffd\ufffd\ufffd"


def test_nothing_is_left_out_by_mistake() -> None:
    """None and False are nothing, 0 and True are something; nesting is flattened, in order."""
    assert join([None, False, 0, True, "", ["a", ("b", iter(["<"]))]]) == "0Trueab&lt;"


def test_attributes() -> None:
    assert tag("input", class_="a", data_x=0, hidden=True, disabled=False, id=None) == (
        '<input class="a" data-x="0" hidden>'
    )
    assert tag("label", for_="x", aria_label="<>") == '<label for="x" aria-label="&lt;&gt;"></label>'
