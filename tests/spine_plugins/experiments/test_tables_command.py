"""`experiments tables`: files, page and sentences from a folder; what is missing keeps nothing back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import PIL.Image
import pytest
from click.testing import CliRunner, Result

from spine_plugins.experiments import pictures
from spine_plugins.experiments.tables_command import tables
from stylegan2ada.files import write_json
from tests.spine_plugins.experiments.tree import Tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = Tree(tmp_path_factory.mktemp("out")).data().row("real", 1.6, paper=0.856)
    tree.row("spine-500", 1.7, gans=3, arm="spine", paper=0.85, title="<b>Spine</b> & more")
    tree.row("b1", 2.0, group="blog", paper=0.92, against=None)
    tree.row("oracle", 3.2, group="control")
    tree.gan("ada", [[90, 60, 40], [95, 62, 43]]).gan("spine", [[80, 50, 35], [84, 52, 36]])
    tree.consistency("spine", 0, 0.8)
    return tree.plan(title="A toy", figures=["fig2", "fig4"])


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return CliRunner().invoke(tables, [str(folder), "--json=-"])


@pytest.fixture(scope="module")
def page(folder: Path, result: Result) -> str:
    assert result.exit_code == 0, result.output
    return (folder / "index.html").read_text()


def test_every_table_in_four_forms(folder: Path, result: Result) -> None:
    assert result.exit_code == 0, result.output
    names = {path.name for path in (folder / "tables").iterdir()}
    kinds = ("json", "csv", "md", "tex")
    assert names == {f"{t}.{k}" for t in ("table1", "table2", "consistency", "blog", "sweep") for k in kinds}
    found = json.loads(result.stdout)
    assert found["tables"]["table1"] == json.loads((folder / "tables" / "table1.json").read_text())
    assert [row["row"] for row in found["tables"]["table1"]["rows"]] == ["real", "spine-500", "oracle"]


def test_figures_are_made_and_those_that_cannot_be_are_named(folder: Path, result: Result) -> None:
    found = json.loads(result.stdout)
    assert set(found["figures"]) == {"fig2", "blog-curves"}
    with PIL.Image.open(folder / "figures" / "fig2.png") as picture:
        assert picture.size[0] > 1000
    assert found["troubles"] == ["fig4: there is no network yet"]
    assert "Note: fig4: there is no network yet" in result.stderr


def test_the_page_is_one_file_with_everything(page: str) -> None:
    for part in ("summary", "table1", "table2", "consistency", "blog", "sweep", "figures", "tasks"):
        assert f'id="{part}"' in page
    assert "&lt;b&gt;Spine&lt;/b&gt; &amp; more" in page and "<b>Spine</b>" not in page
    assert not re.search(r'(src|href)="https?:', page)
    assert "not frozen beforehand" in page and "spinegan classifier" in page
    assert page.count("<svg") > 10 and 'class="line c1"' in page  # intervals, and the paper's diamonds


def test_intervals_stand_below_their_values(folder: Path, page: str) -> None:
    """Beside them they would push the last columns off the screen."""
    cell = json.loads((folder / "tables" / "table2.json").read_text())["rows"][1]["metrics"]["fid50k_full"]
    low, high = (f"{cell[end]:.2f}" for end in ("low", "high"))
    value = f"{cell['value']:.2f}"
    assert re.search(rf'<td>{value}<span class="help block">{low} \u2013 {high}</span>', page)


def test_hashes_of_outputs_stand_on_the_page(folder: Path, page: str) -> None:
    task = json.loads((folder / "tasks" / "predict-real-0" / "task.json").read_text())
    assert task["outputs"]["predictions.csv"] in page


def test_a_frozen_plan_says_since_when_and_a_broken_freeze_why(tmp_path: Path) -> None:
    tree = Tree(tmp_path).data().row("real", 1.6)
    tree.plan(tables=["table1"], frozen={"time": "2026-11-26T10:00", "valid": True, "why": None})
    run = CliRunner()
    assert run.invoke(tables, [str(tmp_path), "--no-figures"]).exit_code == 0
    text = (tmp_path / "index.html").read_text()
    assert "frozen 2026-11-26T10:00" in text and "not frozen" not in text
    table = json.loads((tmp_path / "tables" / "table1.json").read_text())
    assert table["frozen"]["valid"] is True and "frozen 2026-11-26T10:00 before" in table["notes"][-1]
    tree.plan(
        tables=["table1"], frozen={"time": "2026-11-26T10:00", "valid": False, "why": "test.zip changed"}
    )
    run.invoke(tables, [str(tmp_path), "--no-figures"])
    assert "test.zip changed" in (tmp_path / "index.html").read_text()
    assert "not frozen before" in (tmp_path / "tables" / "table1.md").read_text()


def test_an_experiment_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    Tree(tmp_path).plan()
    result = CliRunner().invoke(tables, [str(tmp_path), "--no-figures"])
    assert result.exit_code == 0, result.output
    assert "no task yet" in (tmp_path / "index.html").read_text()


def test_what_is_no_experiment_and_what_is_no_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(tables, [str(tmp_path)])
    assert result.exit_code == 4 and "has no plan.json" in result.output
    write_json(tmp_path / "plan.json", {"name": "x", "tables": ["table9"]})
    result = CliRunner().invoke(tables, [str(tmp_path)])
    assert result.exit_code == 2 and "table9; known are table1, table2" in result.output


def test_figure_4_asks_for_every_arm_and_every_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path).data()
    tree.gan("spine", [[80, 50]], data="train").gan("multi", [[80, 50]], data="eight", classes=8)
    tree.gan("dp", [[80, 50]], data="train", private="b")
    for arm in ("spine", "multi", "dp"):
        (tmp_path / "tasks" / f"gan-{arm}-0" / "run" / "network-snapshot-000004.pkl").write_bytes(b"x")
    for name in ("two", "eight"):
        (tmp_path / f"{name}.zip").write_bytes(b"x")
    tree.plan(tables=[], figures=["fig3", "fig4"], data={"train": "two.zip", "eight": "eight.zip"})
    started: list[list[str]] = []
    monkeypatch.setattr(pictures, "start", lambda words: started.append(list(words)))
    assert CliRunner().invoke(tables, [str(tmp_path)]).exit_code == 0
    third, fourth = started
    assert third[1] == "fig3" and "gan-dp-0" in third[2] and third[2].count(",") == 1
    assert "--names=SPINE,DP" in third
    data = [word for word in fourth if word.startswith("--data=")]
    assert [Path(word).name for word in data] == ["two.zip", "eight.zip"]
    assert "gan-dp-0" not in fourth[2] and "--names=SPINE,MULTI" in fourth
