import json

import pytest

from mmgic.documents import Descriptions, load_descriptions
from mmgic.errors import InputError


def line(kind="object", label="dog", description="a furry\n animal"):
    return json.dumps({"kind": kind, "label": label, "description": description}) + "\n"


def test_reads_the_three_kinds(tmp_path):
    path = tmp_path / "descriptions.jsonl"
    path.write_text(line() + line("attribute", "red", "of blood") + "\n" + line("relationship", "on", "above") + line())
    assert load_descriptions(path) == Descriptions({"dog": "a furry animal"}, {"red": "of blood"}, {"on": "above"})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{'kind'}", "line 2: this is no JSON object"),
        ("[1]", "line 2: this is no JSON object"),
        (line(kind="colour"), "line 2: 'kind' must be object, attribute or relationship"),
        (line(label=" "), "line 2: 'label' and 'description' must be text"),
        (line(description=3), "line 2: 'label' and 'description' must be text"),
        (line(description="another animal"), "line 2: the object 'dog' has two descriptions"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, bad, message):
    path = tmp_path / "descriptions.jsonl"
    path.write_text(line() + bad)
    with pytest.raises(InputError, match=message):
        load_descriptions(path)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.jsonl: No such file"):
        load_descriptions(tmp_path / "none.jsonl")
