from __future__ import annotations

import pytest


@pytest.fixture(params=["ref", "fast", "compiled"])
def impl(request: pytest.FixtureRequest) -> str:
    return request.param
