"""The demo: the leaking generator is accused, the clean one is not, and is released."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.release.command import release


@pytest.mark.slow
def test_the_demo_tells_the_generators_apart_within_a_minute(tmp_path: Path) -> None:
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    result = CliRunner().invoke(release, ["demo", f"--out={tmp_path / 'demo'}", "--json=-"])
    seconds = time.monotonic() - started
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["exit_codes"]["leaking"] == 6
    assert found["exit_codes"]["clean"] in (0, 7)
    assert CliRunner().invoke(release, ["verify", str(tmp_path / "demo" / "release")]).exit_code == 0
    # A machine that others use, too, takes longer; what counts then is the work on two cores.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert min(seconds, work / min(os.cpu_count() or 1, 2)) < 60
