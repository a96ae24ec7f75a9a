from __future__ import annotations

import re

from mmgic.cli import main
from mmgic.sources.formats import FORMATS


def test_every_format_is_listed_under_its_corpus(capsys) -> None:
    assert main(["formats"]) == 0
    printed = capsys.readouterr().out
    listed = {}
    for part in re.split(r"^(?=\w)", printed, flags=re.MULTILINE)[1:]:
        corpus, *lines = part.splitlines()
        listed |= {line.split()[0]: corpus.removesuffix(":") for line in lines if re.match(r"  \w", line)}
    assert listed == {name: form.corpus for name, form in FORMATS.items()}
    assert "train_balanced_questions.json or train_all_questions/*.json" in printed
    assert "*class-descriptions*.csv; if there: *vrd.csv" in printed
    assert "what the source's 'annotations' names" in printed
