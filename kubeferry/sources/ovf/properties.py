"""Properties of an OVF's environment: what they are when nobody sets them. Capacities of disks may refer to them."""

from __future__ import annotations

from kubeferry.sources.facts.xml_tree import Node, walk


class Properties:
    """The default values of all properties, by key; with a deployment option, those of that option."""

    def __init__(self, root: Node, option: str | None) -> None:
        self._values: dict[str, str] = {}
        sections = [node for _, node in walk(root) if node.tag == "ProductSection"]
        for section in sections:
            kind, instance = section.peek(".@class"), section.peek(".@instance")
            for node in (child for child in section.children if child.tag == "Property" and child.label):
                value = _value(node, option)
                if value is not None:
                    whole = ".".join(part for part in (kind, node.label, instance) if part)
                    self._values.setdefault(whole, value)
                    self._values.setdefault(node.label, value)

    def default(self, key: str) -> str | None:
        """The value of a property by its key, alone or as `CLASS.KEY.INSTANCE`; None where it has none."""
        return self._values.get(key)


def _value(node: Node, option: str | None) -> str | None:
    own = (child for child in node.children if child.tag == "Value" and child.peek(".@configuration") == option)
    found = next(own, None) if option else None
    return found.peek(".@value") if found is not None else node.peek(".@value")
