"""A YAML document as a mapping of sections, refusing what is ambiguous."""

from collections.abc import Hashable

import yaml

MAX_BYTES = 262_144


class DocumentError(ValueError):
    """Text that is no usable YAML; the message says where and why, in one line."""


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys, anchors or merges: each would hide what is in force."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise DocumentError("aliases (`*name`) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[object] = set()
        for name, _ in node.value:
            word = self.construct_object(name, deep=True)
            line = name.start_mark.line + 1
            if not isinstance(word, Hashable):
                raise DocumentError(f"line {line}: a key must be a word")
            if word in seen:
                raise DocumentError(f"line {line}: key {word} is there twice")
            seen.add(word)
        return super().construct_mapping(node, deep)


def parse(text: str) -> object:
    """The value of a YAML document or of an override. Raises DocumentError."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"more than {MAX_BYTES} characters")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise DocumentError(f"{where}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"not YAML: {str(error).splitlines()[0] if str(error) else 'too deep'}") from None
