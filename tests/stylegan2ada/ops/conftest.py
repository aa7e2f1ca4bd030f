from __future__ import annotations

import pytest


@pytest.fixture(params=["ref", "fast"])
def impl(request: pytest.FixtureRequest) -> str:
    return request.param
