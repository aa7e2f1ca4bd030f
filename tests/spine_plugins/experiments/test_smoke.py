"""The plan `smoke` with the real commands, killed on the way and continued: every kind of task."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from spine_plugins import vindr
from spine_plugins.experiments.tasks import TASKS, WORK

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


def start(out: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "spine_plugins", "experiments", "run", "--plan", "smoke", "--out", str(out),
        "--workers", "2", "--no-tables",
    ]  # fmt: skip
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)


def states(out: Path) -> Counter[str]:
    return Counter(json.loads(path.read_bytes())["state"] for path in out.glob("tasks/*/task.json"))


def test_smoke_killed_stopped_and_finished(tmp_path: Path) -> None:
    out = tmp_path / "smoke"
    # Killed without a warning while networks train; whatever was left working is ended by the next run.
    first = start(out)
    end = time.monotonic() + 3600
    while not list(out.glob(f"{TASKS}/gan-*/{WORK}/*/stats.jsonl")):
        assert time.monotonic() < end and first.poll() is None
        time.sleep(0.2)
    first.kill()
    first.communicate()
    done = states(out)["done"]
    assert done >= 5

    # Asked to stop: everything saves itself.
    second = start(out)
    while states(out)["done"] <= done + 2:
        assert time.monotonic() < end and second.poll() is None
        time.sleep(0.2)
    second.send_signal(signal.SIGTERM)
    second.communicate()
    assert second.returncode == 75

    third = start(out)
    said = third.communicate()[0].decode()
    assert third.returncode == 0, said
    assert states(out) == {"done": 42}, said
    assert not list(out.glob("old/*")), "nothing was made twice"

    kinds = Counter(json.loads(path.read_bytes())["kind"] for path in out.glob("tasks/*/task.json"))
    assert kinds == {"data": 5, "classifier": 12, "gan": 3, "draw": 5, "metrics": 4, "quality": 3,
                     "predict": 9, "consistency": 1}  # fmt: skip
    records = json.loads((out / "tasks/metrics-ada-0-000001/metrics.json").read_bytes())["records"]
    assert records[0]["metric"] == "fid1k_tiny" and records[0]["results"]["fid1k_tiny"] > 0
    with open(out / "tasks/predict-real-s0/predictions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 160 and {row["label"] for row in rows} == {"0", "1"}
    card = json.loads((out / "tasks/fit-spine-160-s0-g0-d0/classifier.json").read_bytes())
    assert card["data"]["added 1"]["n"] == 160 and card["schedule"]["steps"] == 40
    asked = json.loads((out / "tasks/draw-multi-0-0-80/images_card.json").read_bytes())
    assert asked["images_per_class"] == 10

    drawn = json.loads((out / "tasks/quality-multi-0/quality.json").read_bytes())["records"]
    assert [record["class"] for record in drawn] == [None, *vindr.SPINE8]
    # The very number that the interval belongs to.
    (again,) = json.loads((out / "tasks/quality-ada-0/quality.json").read_bytes())["records"]
    assert again["results"]["fid1k_tiny"]["value"] == pytest.approx(records[0]["results"]["fid1k_tiny"])

    # Nothing is left to do.
    fourth = start(out)
    assert "[" not in fourth.communicate()[0].decode() and fourth.returncode == 0
