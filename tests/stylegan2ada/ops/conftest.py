from __future__ import annotations

import pytest

from stylegan2ada.ops import build


@pytest.fixture(params=["ref", "fast", "compiled"])
def impl(request: pytest.FixtureRequest) -> str:
    if request.param == "compiled":
        try:
            build.ensure("cpu", may_build=True, seconds=300)
        except build.Unavailable as reason:
            pytest.skip(str(reason))
    return request.param
