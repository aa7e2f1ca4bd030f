"""The harness sees every sin that it is there for; one that could not fail would prove nothing."""

from __future__ import annotations

import random

import pytest

from tests.hostile import planted, runner
from tests.hostile.case import case
from tests.hostile.mutate import VALUES, bad_json, damaged, twisted
from tests.hostile.verdict import Heard, sins_of

SEEN_AS = {
    "spawns": "child process",
    "forks": "child process",
    "writes outside": "outside",
    "creates natively outside": "outside",
    "deletes outside": "outside",
    "hangs": "hang",
    "burns": "hang",
    "allocates": "memory",
    "traceback": "traceback",
    "imports": "import",
    "connects": "socket",
    "crashes": "crash",
    "bad code": "exit code",
    "says nothing": "no sentence",
    "says much": "several lines",
    "accepts": "accepted",
    "loses": "lost",
    "unpickles": "unpickled",
}


@pytest.fixture(scope="module")
def verdicts():
    """{kind: its verdict}, all from one pool, so that a worker that was ended is followed by others."""
    asked = [("planted", planted.seed_of(kind)) for kind in planted.KINDS]
    found = runner.run(planted.main, planted.FORMATS, asked, workers=2, cpu_sec=0.2, most_mb=64)
    return {verdict.attack: verdict for verdict in found}


def test_every_case_gets_a_verdict(verdicts):
    assert verdicts.keys() == set(planted.KINDS)
    assert set(planted.KINDS) == SEEN_AS.keys() | {"good", "refuses"}


@pytest.mark.parametrize("kind", ["good", "refuses"])
def test_what_is_right_is_let_pass(verdicts, kind):
    assert verdicts[kind].sins == ()
    assert verdicts[kind].code == (2 if kind == "refuses" else 0)


@pytest.mark.parametrize(("kind", "seen_as"), SEEN_AS.items())
def test_a_planted_sin_is_seen(verdicts, kind, seen_as):
    assert seen_as in [name for name, _ in verdicts[kind].sins], verdicts[kind]


def test_dataset_leaves_with_upstreams_1_also_behind_two_dashes():
    heard = Heard(1, "", "Error: no images\n")
    assert not sins_of(case("", "dataset"), heard)
    assert not sins_of(case("", "--", "dataset"), heard)
    assert sins_of(case("", "--", "generate"), heard) == [("exit code", "1")]


def test_a_failure_names_its_seed_and_how_to_see_it_again(verdicts):
    verdict = verdicts["traceback"]
    assert verdict.replay == f"python -m tests.hostile.replay planted {planted.seed_of('traceback')}"
    assert "KeyError" in verdict.said


def test_damage_is_the_same_for_the_same_seed_and_seldom_none():
    data = bytes(range(256)) * 8
    first, again = ([damaged(data, random.Random(seed), b"other") for seed in range(200)] for _ in range(2))
    assert first == again
    assert sum(changed == data for changed in first) < 20
    assert len(set(first)) > 180


def test_nested_values_are_twisted_in_a_copy():
    value = {"a": [1, {"b": 2}], "c": (3, 4)}
    told = set()
    for seed in range(300):
        changed, what = twisted(value, random.Random(seed))
        assert value == {"a": [1, {"b": 2}], "c": (3, 4)}
        told.add(what.split(":")[0])
    assert told == {"a", "a.0", "a.1", "a.1.b", "c", "c.0", "c.1"}
    texts = [bad_json({"a": 1}, random.Random(seed))[0] for seed in range(2000)]
    assert any(b"[" * 1000 in text for text in texts)
    assert any(b"Infinity" in text for text in texts)
    assert len(VALUES) > 40
