"""What a datastore knows of a content type (CTCap), in all the forms it is sent in.

SyncML 1.2 nests: a ``Property`` holds its name, its limits and its ``PropParam`` elements.
SyncML 1.0 and 1.1 have a flat list instead, in which a ``PropName`` begins a property, a
``ParamName`` a parameter of it, and everything else is about the name before it. Some phones
mix the two, so one reader takes all (OMA-DS-DevInf 1.2 §5.3.1, SyncML DevInf 1.1 §5.2).
"""

from __future__ import annotations

from typing import Any

from pysyncml.codec import values
from pysyncml.codec.node import Node
from pysyncml.protocol.devinf import Capability, Property

_LIMITS = {
    'DataType': ('data_type', values.text),
    'DisplayName': ('display_name', values.text),
    'MaxOccur': ('max_occur', values.number),
    'MaxSize': ('max_size', lambda node: values.number(node) or None),  # 0 means nothing
    'Size': ('max_size', lambda node: values.number(node) or None),
    'NoTruncate': ('no_truncate', lambda node: True),
}


def read(node: Node) -> list[Capability]:
    """Return the capabilities in a ``CTCap``: one, or several in the flat form."""
    found: list[dict[str, Any]] = []
    groups: list[list[Node]] = []
    for child in node.children:
        if child.name == 'CTType':
            found.append({'ctype': values.text(child)})
            groups.append([])
        elif not found:
            continue  # about nothing
        elif child.name == 'VerCT':
            found[-1]['version'] = values.text(child)
        elif child.name == 'FieldLevel':
            found[-1]['field_level'] = True
        else:
            groups[-1].append(child)
    return [
        _capability(said, _properties(group)) for said, group in zip(found, groups, strict=True)
    ]


def _capability(said: dict[str, Any], properties: tuple[Property, ...]) -> Capability:
    if 'version' not in said:
        # The flat form has no VerCT: the property VERSION says it.
        versions = [v for p in properties if p.name.upper() == 'VERSION' for v in p.values]
        said['version'] = versions[0] if len(versions) == 1 else ''
    return Capability(properties=properties, **said)


def _properties(nodes: list[Node]) -> tuple[Property, ...]:
    found: list[dict[str, Any]] = []
    about: dict[str, Any] | None = None  # the property or parameter that was named last
    for node in nodes:
        if node.name == 'Property':
            found += [_apart(each) for each in _properties(node.children)]
            about = None
        elif node.name == 'PropName':
            about = {'name': values.text(node)}
            found.append(about)
        elif not found:
            continue
        elif node.name == 'ParamName':
            about = {'name': values.text(node)}
            found[-1].setdefault('params', []).append(about)
        elif node.name == 'PropParam':
            found[-1].setdefault('params', []).append(_parameter(node))
            about = found[-1]
        elif about is not None:
            _limit(about, node)
    return tuple(map(_property, found))


def _apart(done: Property) -> dict[str, Any]:
    return {name: getattr(done, name) for name in Property.__dataclass_fields__}


def _parameter(node: Node) -> dict[str, Any]:
    about: dict[str, Any] = {'name': ''}
    for child in node.children:
        if child.name == 'ParamName':
            about['name'] = values.text(child)
        else:
            _limit(about, child)
    return about


def _limit(about: dict[str, Any], node: Node) -> None:
    if node.name == 'ValEnum':
        about.setdefault('values', []).append(values.text(node))
    elif node.name in _LIMITS:
        field, convert = _LIMITS[node.name]
        about[field] = convert(node)


def _property(said: dict[str, Any]) -> Property:
    params = (p if isinstance(p, Property) else _property(p) for p in said.get('params', ()))
    return Property(**said | {'values': tuple(said.get('values', ())), 'params': tuple(params)})


def write_flat(capability: Capability) -> Node | None:
    """Return the ``CTCap`` of 1.0 and 1.1 that says as much of *capability* as it can.

    It must name a property (SyncML DevInf 1.1 §5.2): there is none for *capability* without.
    """
    if not capability.properties:
        return None
    nodes = [Node('CTType', capability.ctype)]
    for each in capability.properties:
        nodes += _flat('PropName', each)
        for param in each.params:
            nodes += _flat('ParamName', param)
    return Node('CTCap', children=nodes)


def _flat(name: str, about: Property) -> list[Node]:
    nodes = [Node(name, about.name)]
    if about.values:  # a list of values, or a type: never both
        nodes += [Node('ValEnum', value) for value in about.values]
    elif about.data_type:
        nodes.append(Node('DataType', about.data_type))
        if about.max_size is not None:
            nodes.append(Node('Size', str(about.max_size)))
    if about.display_name is not None:
        nodes.append(Node('DisplayName', about.display_name))
    return nodes
