"""Elements of a metadata document as plain values, known by local name: without case, `-` and `_`, in any namespace
or an undeclared one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from lxml import etree

from siprec.recording.metadata import MetadataError

MAX_TEXT = 2048
"Longer texts are cut; the document as received is kept elsewhere."

_NOT_IN_NAMES = str.maketrans("", "", "-_")


@dataclass(slots=True)
class Element:
    """One element. Everything is read from the XML tree once, because readers ask for it many times."""

    name: str
    "Local name as it was written."
    kind: str
    "What names are compared by."
    text: str = ""
    "Its text before the first child."
    tail: str = ""
    "The text between its end and the next element."
    attributes: dict[str, str] = field(default_factory=dict)
    "By kind; of two of the same kind the first."
    stated: list[tuple[str, str]] = field(default_factory=list)
    "(local name, value) of every attribute."
    children: list[Element] = field(default_factory=list)

    def whole_text(self) -> str:
        """Its text and that of everything in it."""
        if not self.children:
            return clipped(self.text)
        return clipped("".join(self._texts()))

    def texts(self, *kinds: str) -> Iterator[str]:
        """The texts of its children of these kinds, empty ones left out."""
        return (text for child in self.children if child.kind in kinds and (text := child.whole_text()))

    def first_text(self, *kinds: str) -> str:
        """The first of `texts`, or ""."""
        for child in self.children:
            if child.kind in kinds and (text := child.whole_text()):
                return text
        return ""

    def attribute(self, *kinds: str) -> str:
        """The first of the attributes, in the order of `kinds`, that has a value; or ""."""
        for kind in kinds:
            if value := self.attributes.get(kind):
                return value
        return ""

    def all(self) -> Iterator[Element]:
        """Itself and every element in it, in the order of the document."""
        yield self
        for child in self.children:
            yield from child.all()

    def _texts(self) -> Iterator[str]:
        yield self.text
        for child in self.children:
            yield from child._texts()
            yield child.tail


def read_elements(root: etree._Element, *, depth: int, elements: int) -> Element:
    """The tree as plain values. Raises MetadataError if it is deeper or larger than allowed."""
    return _Building(depth, elements).element(root, 1)


class _Building:
    """One pass over a tree, counting what it costs."""

    def __init__(self, depth: int, elements: int) -> None:
        self._depth, self._elements, self._count = depth, elements, 0

    def element(self, source: etree._Element, depth: int) -> Element:
        self._count += 1
        if depth > self._depth:
            raise MetadataError(f"elements nested deeper than {self._depth}")
        if self._count > self._elements:
            raise MetadataError(f"more than {self._elements} elements")
        tag = str(source.tag)
        out = Element(local_name(tag), _kind(tag), source.text or "", source.tail or "")
        for key, value in source.items():
            name, value = str(key), clipped(str(value))
            out.stated.append((local_name(name), value))
            out.attributes.setdefault(_kind(name), value)
        if not len(source):
            return out
        for child in source:
            if isinstance(child.tag, str):
                out.children.append(self.element(child, depth + 1))
            elif child.tail:  # an entity nobody declared, in a document that was damaged
                out.text += child.tail
        return out


@lru_cache(1024)
def local_name(tag: str) -> str:
    """Without namespace, and without a prefix that was never declared."""
    return tag.rpartition("}")[2].rpartition(":")[2]


@lru_cache(1024)
def _kind(name: str) -> str:
    """The same few names come again in every document."""
    return local_name(name).translate(_NOT_IN_NAMES).lower()


def clipped(text: str) -> str:
    """Blanks made one, cut at MAX_TEXT."""
    return " ".join(text.split())[:MAX_TEXT]
