"""The pages on results: what they say is what the run's own record says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"

MakeRun = Callable[..., Path]


def open_page(run: Path | None = None, page: str = "views/results.py") -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    if run is not None:
        at.session_state["run"] = run.name
    at.switch_page(page).run()
    assert not at.exception, at.exception
    return at


def texts(at: AppTest) -> str:
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def figures(at: AppTest) -> list[dict]:
    return [json.loads(element.proto.spec) for element in at.get("plotly_chart")]


def trace(figure: dict, name: str) -> dict:
    return next(t for t in figure["data"] if t["name"] == name)


def open_part(at: AppTest, part: str) -> None:
    at.button_group("results-part").set_value(part).run()
    assert not at.exception, at.exception


def test_summary_scores_and_statements(make_run: MakeRun) -> None:
    at = open_page(make_run("six", subjects=6, sessions=2))
    summary = at.dataframe[0].value.set_index("Pipeline")
    assert summary.loc["Hyperbolic", "roc_auc"] == pytest.approx(0.83, abs=0.01)
    assert summary.loc["Hyperbolic", "Learned c"] == "1.40 ± 0.00"
    drawn, twin, baseline = figures(at)
    assert drawn["layout"]["shapes"][0]["y0"] == 0.5
    assert len(trace(drawn, "Hyperbolic higher (12)")["x"]) == 3 * 12
    # Six of six subjects better: p = 2 / 2^6 of one test in its family.
    assert "Ahead by 0.0" in texts(at)
    assert "p\\_Holm = 0.031, 6 better, 0 worse" in texts(at)
    assert len(baseline["data"]) == len(twin["data"]) == 1
    assert trace(twin, "Hyperbolic − Twin")["x"][0] == pytest.approx(0.04, abs=0.01)
    at.button_group("scores-by").set_value("By session").run()
    assert not at.exception
    assert len(figures(at)[0]["layout"]["xaxis"]["ticktext"]) == 12


def test_statements_are_those_of_the_record_not_made_anew(make_run: MakeRun) -> None:
    from hypeeg.experiments.comparisons import comparison_frame
    from hypeeg.experiments.recorded import RecordedRun
    from hypeeg.experiments.tables import paired_results

    run = make_run("recorded", subjects=6)
    table = comparison_frame(paired_results(RecordedRun.open(run)))
    table.loc[0, "statement"] = "Hyperbolic − Twin: equivalent, as *the record* says."
    table.to_csv(run / "comparisons.csv", index=False)
    at = open_page(run)
    assert "Equivalent, as \\*the record\\* says." in texts(at)
    assert "Ahead" not in texts(at).split("classical")[0]


def test_few_subjects_get_a_reason_instead_of_a_verdict(make_run: MakeRun) -> None:
    at = open_page(make_run("two", subjects=2, sessions=2))
    assert "Too few subjects to tell" in texts(at)
    assert "Ahead" not in texts(at)


def test_a_verdict_names_what_there_was_too_little_of(make_run: MakeRun) -> None:
    from dataclasses import replace

    from hypeeg_app.results import verdict

    from hypeeg.experiments.recorded import RecordedRun
    from hypeeg.experiments.tables import paired_results

    found = paired_results(RecordedRun.open(make_run("two", subjects=2)))[0]
    said = replace(found, statement=f"{found.pipeline} − {found.other}: too few seeds to tell")
    assert verdict(found)[2] == "too few subjects"
    assert verdict(replace(said, unit="seed"))[2] == "too few seeds"


def test_predictions_and_training_come_from_the_tables_of_the_run(make_run: MakeRun) -> None:
    run = make_run("full")
    pd.DataFrame(
        {"pipeline": ["Hyperbolic", "Twin"], "kappa": [0.5, 0.4], "ece": [0.1, 0.2]}
    ).to_csv(run / "measures.csv", index=False)
    cells = [(p, a, b, 6 if a == b else 2, 0.75 if a == b else 0.25)
             for p in ("CSP+LDA", "Hyperbolic", "Twin") for a in "xy" for b in "xy"]  # fmt: skip
    confusion = pd.DataFrame(cells, columns=["pipeline", "y_true", "y_pred", "count", "rate"])
    confusion.to_csv(run / "confusion.csv", index=False)
    pd.DataFrame(
        {"pipeline": "Twin", "low": [0.5], "high": [0.6], "n": [3], "confidence": [0.55],
         "accuracy": [0.6]}
    ).to_csv(run / "reliability.csv", index=False)  # fmt: skip
    pd.DataFrame(
        {"pipeline": "Twin", "subject": 1, "session": "0", "fold": 0, "seed": 0,
         "epoch": [1, 2], "train_loss": [0.7, 0.3]}
    ).to_csv(run / "history.csv", index=False)  # fmt: skip
    at = open_page(run)
    open_part(at, "Predictions")
    assert at.dataframe[0].value["kappa"].tolist() == [0.5, 0.4]
    # The network and its twin are drawn before anything else is asked for.
    titles = [figure["layout"]["title"].get("text") for figure in figures(at)[:2]]
    assert titles == ["Hyperbolic", "Twin"]
    assert figures(at)[0]["data"][0]["z"] == [[0.75, 0.25], [0.25, 0.75]]
    assert trace(figures(at)[2], "Twin")["y"] == [0.6]
    open_part(at, "Training")
    assert trace(figures(at)[0], "Twin")["y"] == [0.7, 0.3]
    assert len(figures(at)) == 2  # losses and curvature
    assert "Failed folds" not in at.button_group("results-part").options


def test_failed_folds_have_a_part_of_their_own(make_run: MakeRun) -> None:
    at = open_page(make_run("broken", state="failed", fail=3))
    open_part(at, "Failed folds")
    assert any("deliberately broken" in code.value for code in at.code)


def test_learning_curve(make_run: MakeRun) -> None:
    run = make_run("curve")
    scores = pd.read_csv(run / "scores.csv")
    halves = [scores.assign(data_size=size, permutation=0) for size in (10, 20)]
    halves[0]["score"] -= 0.1
    pd.concat(halves).to_csv(run / "scores.csv", index=False)
    at = open_page(run)
    curve = trace(figures(at)[-1], "Hyperbolic")
    assert curve["customdata"] == [10, 20]
    assert curve["y"][1] - curve["y"][0] == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["hierarchy", "vision"])
def test_runs_without_subjects_speak_of_seeds(make_run: MakeRun, kind: str) -> None:
    run = make_run("wing", subjects=1, sessions=1, n_folds=1, kind="cross_subject")
    text = (run / "spec_resolved.yaml").read_text()
    (run / "spec_resolved.yaml").write_text(f"kind: {kind}\n{text}")
    scores = pd.read_csv(run / "scores.csv")
    more = [scores.assign(seed=seed, error_height=1.5) for seed in range(3)]
    pd.concat(more).to_csv(run / "scores.csv", index=False)
    at = open_page(run)
    assert "One dot is one seed." in texts(at)
    names = {"hierarchy": "Branch kept", "vision": "Images correct"}
    assert names[kind] in at.dataframe[0].value
    assert trace(figures(at)[0], "Twin")["text"] == ["seed 0", "seed 1", "seed 2"]
    assert not [group for group in at.button_group if group.key == "scores-by"]
    open_part(at, "Predictions")
    assert at.dataframe[0].value["error_height"].tolist() == [1.5] * 3


def test_the_report_is_made_on_click_and_tables_are_offered(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import results

    asked = []

    def make(arguments: list[str], **options: object) -> object:
        asked.append(arguments)
        assert not options.get("shell")
        Path(arguments[arguments.index("--to") + 1]).write_text("<html>report</html>")
        return type("Done", (), {"returncode": 0, "stderr": b""})

    monkeypatch.setattr(results.subprocess, "run", make)
    run = make_run("out")
    at = open_page(run)
    open_part(at, "Export")
    labels = [button.proto.label for button in at.get("download_button")]
    assert set(labels) >= {"scores", "curvature history"}
    assert not asked
    at.button("make-report").click().run()
    assert not at.exception
    assert asked[0][-2:] == ["--", str(run.resolve())]
    labels = [button.proto.label for button in at.get("download_button")]
    assert labels[0].startswith("Download (")
    # What is on disk has not changed: the report is not made again.
    at.run()
    assert len(asked) == 1


def test_the_picture_format_is_that_of_every_figure(make_run: MakeRun) -> None:
    at = open_page(make_run("svg"))
    assert (
        json.loads(at.get("plotly_chart")[0].proto.config)["toImageButtonOptions"]["format"]
        == "svg"
    )
    open_part(at, "Export")
    at.button_group("picture-choice").set_value("png").run()
    open_part(at, "Scores")
    config = json.loads(at.get("plotly_chart")[0].proto.config)
    assert config["toImageButtonOptions"]["format"] == "png"


def test_compare_pairs_the_folds_of_two_runs(make_run: MakeRun) -> None:
    first, second = make_run("first", subjects=8), make_run("second", subjects=8, seed=1)
    for number, run in enumerate((first, second)):
        path = run / "scores.csv"
        scores = pd.read_csv(path)
        scores["score"] = 0.7 + 0.05 * number + 0.001 * scores["subject"]
        scores.to_csv(path, index=False)
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    at.session_state["compare-request"] = [first.name, second.name]
    at.switch_page("views/compare.py").run()
    assert not at.exception, at.exception
    assert len(at.dataframe[0].value) == 6
    assert "Ahead by 0.050" in texts(at)
    assert trace(figures(at)[0], "B higher (48)")
    assert trace(figures(at)[1], "Twin [B] − Twin [A]")["x"][0] == pytest.approx(0.05)


def test_runs_that_tested_different_things_are_not_compared(make_run: MakeRun) -> None:
    first, second = make_run("first"), make_run("second", kind="cross_subject")
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    at.session_state["compare-request"] = [first.name, second.name]
    at.switch_page("views/compare.py").run()
    assert not at.exception, at.exception
    assert "evaluation.kind" in at.warning[0].value
    assert not figures(at)
