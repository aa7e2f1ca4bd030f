"""The projector's schedules, as recorded."""

import pytest

from stylegan2ada.projection import lr, noise_scale
from tests.golden_data import golden_json


def test_recorded_schedule():
    recorded = golden_json("schedules/projector_schedule.json")
    steps = recorded["num_steps"]
    assert len(recorded["rows"]) == steps
    for step, rate, noise in recorded["rows"]:
        assert lr(step, steps) == pytest.approx(rate, rel=1e-9, abs=1e-12)
        assert noise_scale(step, steps, recorded["w_std"]) == pytest.approx(noise, rel=1e-9, abs=1e-12)
