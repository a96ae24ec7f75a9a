"""The figures of a run, counted from its folder."""

from mmgic.analysis.summary import SourceCount, count_documents, summarize, summary_table
from mmgic.settings import Settings


def test_documents_are_counted_over_repeats_without_rejected_ones(run_folder):
    folder, _ = run_folder
    assert count_documents(folder) == [SourceCount("coco", 2, 2, 4), SourceCount("vg", 2, 20, 60)]
    summary = summarize(folder, "pretrain")
    assert summary.total == SourceCount("total", 4, 22, 64)
    assert [stage.stage for stage in summary.stages] == [
        "mmgic/regions",
        "mmgic/tokens",
        "mmgic/documents/repeat_0",
        "mmgic/documents/repeat_1",
    ]


def test_losses_and_scores(run_folder):
    summary = summarize(run_folder[0], "pretrain")
    first, last = summary.loss_ends()["L"]
    assert round(first, 6) == 4 - 0.45
    assert round(last, 6) == 4 - 1.45
    assert summary.scores() == {"CIDEr": {"untrained": 10.0, "other_image": 20.0, "trained": 85.25}}


def test_table_for_the_terminal(run_folder):
    lines = summary_table(*run_folder).splitlines()
    assert lines[0].startswith("Toy numbers")
    assert "coco            2              2            4" in lines
    assert "total           4             22           64" in lines
    assert lines[-1] == "CIDEr       10.0         20.0     85.2"


def test_parts_that_have_not_run_are_left_out(tmp_path):
    assert "loss" not in summary_table(tmp_path, Settings())
