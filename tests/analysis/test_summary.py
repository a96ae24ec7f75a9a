"""The figures of a run, counted from its folder."""

from mmgic.analysis.summary import SourceCount, count_documents, run_tables, summarize, summary_table
from mmgic.documents.folders import document_tables
from mmgic.evaluation.benchmark import Score
from mmgic.settings import Settings


def test_documents_are_counted_over_repeats_without_rejected_ones(run_folder):
    folder, settings = run_folder
    documents = document_tables(run_tables(folder), settings.documents)
    assert count_documents(documents) == [SourceCount("coco", 2, 2, 4), SourceCount("vg", 2, 20, 60)]
    summary = summarize(folder, settings)
    assert summary.total == SourceCount("total", 4, 22, 64)
    assert [table.name for table in summary.tables] == [
        "mmgic/regions",
        "mmgic/tokens",
        "mmgic/documents/CLDR/repeat_0",
        "mmgic/documents/CLDR/repeat_1",
    ]


def test_losses_and_scores(run_folder):
    summary = summarize(*run_folder)
    first, last = summary.loss_ends()["L"]
    assert round(first, 6) == 4 - 0.45
    assert round(last, 6) == 4 - 1.45
    cider, f1, unreadable = summary.scores()
    assert cider.label == "COCO captions CIDEr (x100)"
    printed = {name: score.printed for name, score in cider.evaluations.items()}
    assert printed == {"untrained": 10.0, "other_image": 20.0, "trained": 85.25}
    assert cider.constants == {}
    assert (f1.label, f1.evaluations["trained"], f1.constants["Yes"].raw) == ("POPE F1 (%)", Score(0.75, "%"), 2 / 3)
    assert (unreadable.label, unreadable.constants) == ("POPE unreadable", {})


def test_table_for_the_terminal(run_folder):
    lines = summary_table(*run_folder).splitlines()
    assert lines[0].startswith("Toy numbers")
    assert "coco            2              2            4" in lines
    assert "total           4             22           64" in lines
    assert lines[-3:] == [
        "COCO captions CIDEr (x100)       10.0         20.0     85.2",
        "POPE F1 (%)                       0.0         50.0     75.0          Yes 66.7",
        "POPE unreadable                     3            3        3",
    ]


def test_parts_that_have_not_run_are_left_out(tmp_path):
    assert "loss" not in summary_table(tmp_path, Settings())
