"""Tables of strangers: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.recipes.scores import nearest, prediction_f1, privacy_scores, table_scores
from spine_plugins.recipes.tables import factor_table, read_table, write_table
from stylegan2ada.errors import UserError

BODY = "\n".join(["1,0"] * 30)


def test_round_trip_and_encodings(tmp_path: Path) -> None:
    table = factor_table(50, 6, seed=1)
    path = tmp_path / "t.csv"
    write_table(path, table.columns, table.values)
    again = read_table(path)
    assert again.fingerprint == table.fingerprint
    assert again.kind == "binary"
    for encoding, separator in (("utf-16", ";"), ("utf-8-sig", "\t"), ("utf-8", ",")):
        text = f"a{separator}ü\r\n" + BODY.replace(",", separator).replace("\n", "\r\n")
        (tmp_path / "e.csv").write_bytes(text.encode(encoding))
        found = read_table(tmp_path / "e.csv")
        assert found.columns == ("a", "ü")
        assert found.values.shape == (30, 2)


def test_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + BODY + "\n7,2\n")
    assert read_table(tmp_path / "t.csv").kind == "count"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"a,b\n{BODY}\nnan,0\n", "line 32, column a"),
        (f"a,b\n{BODY}\n1,-1\n", "line 32, column b"),
        (f"a,b\n{BODY}\n1,0.5\n", "0.5 is neither"),
        (f"a,b\n{BODY}\n1,x\n", "no table of numbers"),
        (f"a,b\n{BODY}\n1\n", "no table of numbers"),
        (f"a,b\n{BODY}\n,1\n", "no table of numbers"),
        (f"a,a\n{BODY}\n", "each given once"),
        (f"1,0\n{BODY}\n", "names of the columns"),
        ("a,b\n1,0\n", "at least 20"),
        ("", "first line"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=wanted):
        read_table(tmp_path / "t.csv")


def test_images_are_no_table(tmp_path: Path) -> None:
    for name in ("x.zip", "x.png"):
        with pytest.raises(UserError, match="learns from a table"):
            read_table(tmp_path / name)


def test_scores_of_itself_and_of_independent_columns() -> None:
    real = factor_table(4000, 30, seed=0).values
    same = table_scores(real, real)
    assert same["corr"] == pytest.approx(1)
    assert (same["rmse"], same["dead_codes"]) == (0, 0)
    rng = np.random.default_rng(0)
    apart = np.stack([rng.permutation(column) for column in real.T], 1)
    shuffled = table_scores(real, apart)
    assert shuffled["corr"] == pytest.approx(1)  # which is why rates alone prove nothing
    assert abs(float(str(shuffled["pair_corr"]))) < 0.2
    assert prediction_f1(real, real) > prediction_f1(apart, real) + 0.05


def test_nearest_and_privacy_against_brute_force() -> None:
    rng = np.random.default_rng(1)
    a, b, c = (rng.integers(0, 2, (n, 12)).astype(np.float32) for n in (40, 50, 300))
    wanted = np.abs(a[:, None] - c[None]).sum(2).min(1)
    np.testing.assert_allclose(nearest(a, c), wanted)
    scores = privacy_scores(a, b, np.concatenate([a, c]))
    assert float(str(scores["membership_auc"])) > 0.5
    assert privacy_scores(a, b, a)["exact_copies"] == 1
