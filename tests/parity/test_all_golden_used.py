"""Nothing that was recorded may lie about unread: runs last, when the whole default run was asked for."""

from __future__ import annotations

import pytest

from tests import golden_data


def test_every_recorded_array_was_compared(request: pytest.FixtureRequest) -> None:
    config = request.config
    has_selection = (
        config.args != config.getini("testpaths") or config.option.keyword or config.option.deselect
    )
    if has_selection:
        pytest.skip("only meaningful in a run of all tests")
    unread = sorted(golden_data.everything_recorded() - golden_data.used)
    assert not unread, f"{len(unread)} recorded values are compared by no test, e.g. {unread[:20]}"
