"""The rows of the tables that pass between stages, and what each column holds: the one place where a column is named.

A stage reads the table before it and writes every row that it read, with `keep`, `reason` and `detail` saying what
became of it. Rows with `keep = false` are carried to the stage's own output and go no further: of their other columns
those that were not made are empty. A kept row has a value in every column.
"""

from typing import Annotated, TypedDict, final

import pyarrow as pa

# Arrow types of numbers; str, bool and float are stored as string, bool and float64
Int32 = Annotated[int, pa.int32()]
Int64 = Annotated[int, pa.int64()]
UInt64 = Annotated[int, pa.uint64()]
Float32 = Annotated[float, pa.float32()]
Span = Annotated[list[int], pa.list_(pa.int32(), 2)]  # [start, end)

# ---------------------------------------------------------------- columns that every table has


class Key(TypedDict):
    row_id: Int64  # hash of source, id and repeat; what resuming and joining use
    source: str  # SourceSettings.name
    image_id: str  # the dataset's own id, always text


class Verdict(TypedDict):
    keep: bool
    reason: str  # "" or one of REASONS
    detail: str  # what exactly was wrong, for a person


class SetAside(Key, Verdict):
    """A row that was set aside before its other columns were made."""


class Drop(TypedDict):
    reason: str  # one of DROPS
    count: Int64


class _Drops(TypedDict):
    drops: list[Drop]  # what was taken out of the row so far


class AnyRow(Key, _Drops):
    """What a row of every corpus has."""


# ---------------------------------------------------------------- annotated images: sources, cleaning


class Object(TypedDict):
    object_id: str
    label: str
    synset: str  # "" for none; several, before cleaning, joined by blanks
    x: float  # box in pixels of the original image, origin top left
    y: float
    w: float
    h: float


class Attribute(TypedDict):
    object_id: str
    label: str


class Relationship(TypedDict):
    subject_id: str
    label: str
    object_id: str


class Candidate(TypedDict):
    caption: str
    score: Float32  # CLIP's cosine of image and caption
    round: Int32  # of F.4, from 0


class _Image(TypedDict):
    image_path: str  # as `mmgic.images.read_image` takes it; in a table, as `mmgic.stages.places` names it
    width: Int32
    height: Int32
    caption: str  # "" if there is none
    narrative: str  # localized narrative, "" if there is none
    candidates: list[Candidate]  # synthesized captions, best first; empty if one was given


class _Annotations(TypedDict):
    objects: list[Object]
    attributes: list[Attribute]
    relationships: list[Relationship]


@final
class AnnotatedImage(Key, _Image, _Annotations, _Drops, Verdict):
    """An image with the concepts that its dataset annotates."""


# ---------------------------------------------------------------- regions and visual tokens


class Region(TypedDict):
    x: float  # the square, as fractions of the frame: left edge,
    y: float  # top edge
    side: float  # and side
    location: str  # one of the nine names of F.7
    labels: list[str]  # of the objects in the square, own object first
    codes: list[Int32]  # visual codes; empty before the tokenize stage


class _Regions(TypedDict):
    regions: list[Region]


class _Codes(TypedDict):
    codes: list[Int32]  # the whole image's visual codes


@final
class ImageWithRegions(Key, _Image, _Annotations, _Regions, _Drops, Verdict):
    """A cleaned image and the squares around its objects (F.3)."""


@final
class TokenizedImage(Key, _Image, _Annotations, _Regions, _Codes, _Drops, Verdict):
    """An image, its concepts and regions, with visual codes."""


# ---------------------------------------------------------------- image-caption pairs (G)


class _Pair(TypedDict):
    url: str  # "" if the image is at hand
    image_path: str  # "" before the download
    width: Int32  # 0 if not known yet
    height: Int32
    caption_origin: str  # from the web
    caption_coco: str  # short, synthesized
    caption_capsfusion: str  # detailed: both of these in one
    candidates: list[Candidate]


@final
class CaptionedImage(Key, _Pair, _Drops, Verdict):
    """An image, known by url or at hand, with its captions."""


@final
class CaptionPhrases(Key, _Pair, _Drops, Verdict):
    """A captioned image with the noun phrases of the caption that the filter goes by (G.2)."""

    phrases: list[str]  # each once, in the order of the caption
    phrase_ids: list[UInt64]  # `phrase_id` of each


@final
class TokenizedPair(Key, _Pair, _Codes, _Drops, Verdict):
    """An image's captions and visual codes."""


# ---------------------------------------------------------------- instruction rounds (H), interleaved documents (C.6)


class Part(TypedDict):
    text: str
    image: Int32  # position in the row's `images`; -1: the part is `text`


class Turns(TypedDict):
    instruction: list[Part]
    response: list[Part]


class RowImage(TypedDict):
    url: str  # "" if the image is at hand
    image_path: str  # "" before the download
    codes: list[Int32]  # visual codes; empty before the tokenize stage


class _Interleaved(TypedDict):
    task: str  # one of TASKS
    images: list[RowImage]
    rounds: list[Turns]  # raw instructions and answers, without any template's words


@final
class Interleaved(Key, _Interleaved, _Drops, Verdict):
    """Texts with any number of images; `image_id` is the record's own id."""


# ---------------------------------------------------------------- documents


class _DocumentKey(TypedDict):
    repeat: Int32
    corpus: str  # the name a curriculum calls it by: mmgic, ic, mmc4, sft, playback, aesthetic
    template: str  # image_first, text_first or one of TASKS


class _Document(TypedDict):
    with_descriptions: bool
    text: str  # the filled template; [IMG] stands for each image's tokens
    input_ids: list[Int32]
    answer_spans: list[Span]  # that alone are supervised; empty: all
    num_visual_tokens: Int32  # codes, without [IMG] and [/IMG]
    num_text_tokens: Int32  # everything else
    num_regions: Int32  # regions that fitted


class DocumentKey(Key, _DocumentKey, _Drops):
    """Which document of which record a row is."""


@final
class Document(Key, _DocumentKey, _Document, _Drops, Verdict):
    """A training sample."""


class UnfitDocument(DocumentKey, Verdict):
    """A record of which no document could be made."""
