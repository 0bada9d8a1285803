"""YAML as OmegaConf reads it, without tags, its aliases bounded."""

from __future__ import annotations

import os
import re
from typing import Any

from mt_lottery.reading.files import Error, read_text, shown
from mt_lottery.reading.json_files import Kind, Refused, check_kind

#: Bytes of a file, and nodes with the aliases unfolded, at most.
YAML = 1 << 20
NODES = 100_000


def _unfolded(root: Any) -> int:
    """Nodes of a YAML tree with its aliases unfolded; a number above NODES ends the count."""
    import yaml

    sizes: dict[int, int] = {}
    on_way: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, done = stack.pop()
        children: list[Any] = []
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        if done:
            on_way.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            if sizes[id(node)] > NODES:
                raise Refused("its aliases unfold to more than can be meant")
        elif id(node) in on_way:
            raise Refused("an alias inside of what it names")
        elif id(node) not in sizes:
            if not (node.tag or "").startswith("tag:yaml.org,2002:") or "python" in node.tag:
                raise Refused(f"line {node.start_mark.line + 1}: the tag {node.tag!r}")
            on_way.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in children)
    return sizes[id(root)]


def read_yaml(path: str | os.PathLike[str], error: Error, kind: Kind = dict) -> Any:
    """The plain value in a YAML file, read as OmegaConf reads it (``1e-3`` is a number).

    Args:
        path: links are followed.
        error: the class to raise.
        kind: the type (or types) of the whole value; an empty file is an empty dict.

    Raises:
        error: as :func:`read_text`; no YAML, a key twice, a tag, or aliases that unfold
            to more than anybody means.
    """
    return parse_yaml(read_text(path, error, limit=YAML), shown(path), error, kind)


def parse_yaml(text: str, where: str, error: Error, kind: Kind = dict) -> Any:
    """As :func:`read_yaml`, of a text; ``where`` is what a message begins with."""
    import yaml
    from omegaconf._utils import get_yaml_loader

    try:
        loader = get_yaml_loader()(text)
        node = loader.get_single_node()
        if node is None:
            content: Any = {}
        else:
            _unfolded(node)
            content = loader.construct_document(node)
    except yaml.MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        at = f"line {mark.line + 1}: " if mark else ""
        what = ", ".join(part for part in (cause.context, cause.problem) if part)
        raise error(f"{where}: {at}not a readable YAML file: {what}.") from cause
    except RecursionError as cause:
        raise error(f"{where}: not a readable YAML file: nested too deep.") from cause
    except (yaml.YAMLError, Refused, ValueError, OverflowError) as cause:
        what = str(cause).splitlines()[0].rstrip(".")
        if "integer string" in what:  # Python's limit on the digits of a whole number
            what = "a whole number with thousands of digits"
        raise error(f"{where}: not a readable YAML file: {what}.") from cause
    check_kind(content, where, error, kind)
    return content


def front_matter(text: str, where: str, error: Error) -> dict[str, Any]:
    """The YAML head of a README; empty if it has none.

    Args:
        text: of the whole file.
        where: the file, for messages.
        error: the class to raise.

    Raises:
        error: as :func:`read_yaml`.
    """
    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", text, re.S | re.M)
    head: dict[str, Any] = parse_yaml(found[1], where, error) if found else {}
    return head
