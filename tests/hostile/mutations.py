"""Random damage to a file: what a power cut, a bad copy, an editor or an enemy leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

#: What a value of JSON or YAML may be replaced with.
ODD = (
    *(None, True, False, -1, 0, 1, 7, 0.5, -1.5, 10**6, 10**30, float("nan"), float("inf")),
    *("", "x", "٣", "none", "lora", "ks_lottery", "../..", "\0", "x" * 300, "${oc.env:HOME}"),
    *([], {}, [[]], {"x": 1}, [1, 2], ["a"], [None]),
)
DEEP = "[" * 100_000 + "]" * 100_000


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in JSON-like content, the whole included."""
    inside = node.items() if isinstance(node, dict) else []
    inside = enumerate(node) if isinstance(node, list) else inside
    return [path, *(place for key, value in inside for place in _places(value, (*path, key)))]


def _changed(draw: Any, content: Any) -> Any:
    """JSON-like content with one value replaced, dropped, renamed or added."""
    place = draw(st.sampled_from(_places(content)))
    if not place:
        return draw(st.sampled_from(ODD))
    *above, key = place
    parent = content
    for step in above:
        parent = parent[step]
    how = draw(st.sampled_from(("replace", "replace", "replace", "drop", "rename", "add")))
    if how == "replace":
        parent[key] = draw(st.sampled_from(ODD))
    elif how == "drop" or isinstance(parent, list):
        del parent[key]
    elif how == "rename":
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[draw(st.sampled_from(("x", "user_dir", "name", "")))] = draw(st.sampled_from(ODD))
    return content


def _json(draw: Any, path: Path) -> None:
    if draw(st.integers(0, 20)) == 0:
        path.write_text(draw(st.sampled_from((DEEP, "9" * 5_000, '{"a": 1, "a": 2}', "{}", ""))))
        return
    path.write_text(json.dumps(_changed(draw, json.loads(path.read_text("utf-8")))))


def _yaml(draw: Any, path: Path) -> None:
    if draw(st.integers(0, 20)) == 0:
        bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
        )
        tag = "x: !!python/object/apply:os.system ['touch ran']\n"
        path.write_text(draw(st.sampled_from((bomb, tag, "{}", "", "- x", "a: b: c"))))
        return
    path.write_text(yaml.safe_dump(_changed(draw, yaml.safe_load(path.read_text("utf-8")))))


def _lines(draw: Any, path: Path) -> None:
    lines = path.read_text("utf-8").split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    how = draw(st.sampled_from(("drop", "twice", "cut", "odd", "digits")))
    if how == "drop":
        del lines[at]
    elif how == "twice":
        lines.insert(at, lines[at])
    elif how == "cut":
        lines[at] = lines[at][: len(lines[at]) // 2]
    elif how == "odd":
        lines[at] = draw(st.sampled_from(("", "x", "null", "[]", "{}", "1,2", '"', "\0", DEEP)))
    else:
        lines[at] = lines[at].replace("1", draw(st.sampled_from(("-1", "١", "nan", "9" * 400))))
    path.write_text("\n".join(lines), "utf-8")


def _tensors(draw: Any, path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    name = draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    how = draw(st.sampled_from(("drop", "rename", "nan", "bit", "shape", "dtype", "extra")))
    if how == "drop":
        del tensors[name]
    elif how == "rename":
        tensors[name.replace(".", ".x.", 1)] = tensors.pop(name)
    elif how == "nan" and tensor.is_floating_point():
        flat = tensor.clone().flatten()
        flat[-1] = draw(st.sampled_from((float("nan"), float("inf"))))
        tensors[name] = flat.reshape(tensor.shape)
    elif how == "bit":
        tensors[name] = tensor + 1
    elif how == "shape":
        tensors[name] = tensor[:1].contiguous() if tensor.dim() else tensor.reshape(1)
    elif how == "dtype":
        tensors[name] = tensor.to(draw(st.sampled_from((torch.int64, torch.float16))))
    else:
        tensors["x"] = tensor.clone()
    save_file(tensors, path, metadata={"format": "pt"})


def _bytes(draw: Any, path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = draw(st.integers(0, max(0, len(content) - 1)))
    how = draw(st.sampled_from(("cut", "flip", "insert", "empty", "zeros")))
    if how == "cut":
        del content[at:]
    elif how == "flip" and content:
        content[at] ^= 1 << draw(st.integers(0, 7))
    elif how == "insert":
        content[at:at] = draw(st.sampled_from((b"\0", b"\xff", b"\n", b"{", b"\xef\xbb\xbf")))
    elif how == "empty":
        content.clear()
    else:
        content[at:] = bytes(len(content) - at)
    path.write_bytes(content)


def _place(draw: Any, path: Path) -> None:
    """Something else where the file was, or nothing."""
    path.unlink()
    how = draw(st.sampled_from(("gone", "folder", "fifo", "loop", "device", "dangling")))
    if how == "folder":
        path.mkdir()
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "loop":
        path.symlink_to(path)
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "dangling":
        path.symlink_to(path.with_name("nowhere"))


BY_SUFFIX: dict[str, Callable[[Any, Path], None]] = {
    ".json": _json,
    ".yaml": _yaml,
    ".jsonl": _lines,
    ".csv": _lines,
    ".txt": _lines,
    ".safetensors": _tensors,
}


@st.composite
def damage(draw: Any, folder: Path, into: Path) -> str:
    """A copy of ``folder`` at ``into`` with one file damaged.

    Returns:
        the file's relative name, for the report of a failure.
    """
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    files = sorted(p for p in into.rglob("*") if p.is_file() and p.name != ".lock")
    path = draw(st.sampled_from(files))
    fitting = BY_SUFFIX.get(path.suffix, _bytes)
    try:
        draw(st.sampled_from((fitting, fitting, fitting, _bytes, _place)))(draw, path)
    except ValueError:  # the content is of another kind than its name says
        _bytes(draw, path)
    return str(path.relative_to(into))
