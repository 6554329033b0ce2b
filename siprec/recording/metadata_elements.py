"""Elements and attributes by local name, without case, `-` and `_`, in any namespace or an undeclared one."""

from collections.abc import Iterator
from functools import lru_cache

from lxml import etree

MAX_TEXT = 2048
"Longer texts are cut; the document as received is kept elsewhere."

_NOT_IN_NAMES = str.maketrans("", "", "-_")


def children_of(element: etree._Element) -> Iterator[etree._Element]:
    return (child for child in element if isinstance(child.tag, str))


def local_name(tag: str | bytes) -> str:
    """Without namespace, and without a prefix that was never declared."""
    return str(tag).rpartition("}")[2].rpartition(":")[2]


@lru_cache(1024)
def _kind(name: str) -> str:
    """What elements and attributes are compared by; the same few names come again in every document."""
    return local_name(name).translate(_NOT_IN_NAMES).lower()


def kind_of(element: etree._Element) -> str:
    tag = element.tag
    return _kind(tag) if isinstance(tag, str) else ""


def clipped(text: str | bytes) -> str:
    return " ".join(str(text).split())[:MAX_TEXT]


def text_of(element: etree._Element) -> str:
    if not len(element):
        return clipped(element.text or "")
    return clipped("".join(str(t) for t in element.itertext()))


def texts_of(element: etree._Element, *kinds: str) -> Iterator[str]:
    return filter(None, (text_of(child) for child in children_of(element) if kind_of(child) in kinds))


def first_text(element: etree._Element, *kinds: str) -> str:
    return next(iter(texts_of(element, *kinds)), "")


def attribute_of(element: etree._Element, *names: str) -> str:
    """The first of the attributes, in the order of `names`, that has a value."""
    values: dict[str, str] = {}
    for key, value in element.items():
        values.setdefault(_kind(str(key)), clipped(value))
    return next(filter(None, (values.get(name) for name in names)), "")
