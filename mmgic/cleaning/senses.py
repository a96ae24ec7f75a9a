"""What the senses of polysemous labels are called (F.2, Visual Genome, step 3): proposed from WordNet, decided by a
person in a review file, used by `mmgic.cleaning`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmgic.cleaning.labels import KeptLabels, LabelCounts, sense_name
from mmgic.descriptions.review import ReviewForm, append_review, read_review
from mmgic.descriptions.wordnet import WordNet
from mmgic.settings import LabelSettings, SettingsError, SourceSettings
from mmgic.sources.formats import FORMATS

NAMES = ReviewForm(("source", "label", "synset"), ("count", "definition", "name"))


def propose_names(
    path: str, counts: Mapping[str, LabelCounts], labels: Mapping[str, KeptLabels], wordnet: WordNet
) -> int:
    """Appends the senses of each source's labels that are kept with several synsets to the review file `path`.

    `counts` and `labels` are those of `mmgic.cleaning` by source. Returns the number of new rows.
    """
    rows = []
    for source, kept in sorted(labels.items()):
        for label, synsets in _senses(kept).items():
            if len(synsets) < 2:
                continue
            names = wordnet.sense_names(label, synsets)
            for synset in synsets:
                count = counts[source].objects.get((label, synset), 0)
                name = names.get(synset) or sense_name(label, synset)
                values = (source, label, synset, str(count), wordnet.definition(synset), name)
                rows.append(dict(zip((*NAMES.key, *NAMES.proposed), values, strict=True)))
    return append_review(path, NAMES, rows)


def check_names(labels: LabelSettings, sources: Iterable[SourceSettings]) -> None:
    """Raises SettingsError if a source (Visual Genome) has senses of labels and the settings name none of them."""
    ambiguous = [source.name for source in sources if FORMATS[source.format].noisy_labels]
    if ambiguous and not labels.names and not labels.names_by_synset:
        raise SettingsError(
            f"labels.names is empty, and senses of the labels of '{ambiguous[0]}' are to be named (F.2, step 3); set "
            "it to the names.tsv that `mmgic describe-labels --names` writes, or set labels.names_by_synset=true"
        )


def load_names(path: str) -> dict[str, dict[tuple[str, str], str]]:
    """Source -> the names that `kept_labels` takes: (label, synset) -> name. A rejected name leaves the bare label.

    Empty for an empty `path`. Raises InputError for a file that is no review file, or is not there.
    """
    names: dict[str, dict[tuple[str, str], str]] = {}
    for (source, label, synset), row in (read_review(path, NAMES, must_exist=True) if path else {}).items():
        name = {"edit": row["edit"], "reject": label}.get(row["verdict"], row["name"])
        names.setdefault(source, {})[label, synset] = name
    return names


def _senses(kept: KeptLabels) -> dict[str, list[str]]:
    """Label as annotated -> the synsets that it is kept with, sorted."""
    senses: dict[str, set[str]] = {}
    for (label, _), (_, synset) in kept.objects.items():
        senses.setdefault(label, set()).add(synset)
    return {label: sorted(synsets) for label, synsets in sorted(senses.items())}
