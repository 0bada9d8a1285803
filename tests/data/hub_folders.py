"""Small copies of the hub's repositories, in their own layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Texts = Sequence[tuple[Any, Any]]


def lego_record(direction: str, source: Any, target: Any) -> dict[str, Any]:
    one, other = direction.split("-")
    return {"src_lang": one, "tgt_lang": other, "src": source, "tgt": target}


def lego_file(folder: Path, name: str, records: Sequence[dict[str, Any]]) -> Path:
    """A language's file of ``Lego-MT/Parallel_Dataset``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    (folder / name).write_text("".join(lines), encoding="utf-8")
    return folder


def lego(folder: Path, code: str = "ca", each: int = 30) -> Path:
    """``ca.jsonl``: as many pairs of four directions, turn by turn."""
    directions = (f"en-{code}", f"{code}-en", f"{code}-es", f"fr-{code}")
    records = [
        lego_record(d, f"{d} source {i}", f"{d} target {i}")
        for i in range(each)
        for d in directions
    ]
    (folder / "README.md").parent.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return lego_file(folder, f"{code}.jsonl", records)


def numbered(subset: str, split: str, count: int) -> Texts:
    one, other = subset.split("-")
    return [(f"{one} {split} {i}", f"{other} {split} {i}") for i in range(count)]


def opus_split(folder: Path, subset: str, split: str, texts: Texts, name: str = "") -> Path:
    """One file of ``Helsinki-NLP/opus-100``; its ending decides the format."""
    one, other = subset.split("-")
    rows = [{"translation": {one: a, other: b}} for a, b in texts]
    file = folder / subset / (name or f"{split}-00000-of-00001.parquet")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def opus(folder: Path, *subsets: str, train: int = 20, held_out: int = 6) -> Path:
    """Subsets with three splits each, and the description that names them."""
    described = []
    for subset in subsets or ("ca-en",):
        described.append(f"- config_name: {subset}\n  data_files:\n")
        for split, count in (("train", train), ("validation", held_out), ("test", held_out)):
            opus_split(folder, subset, split, numbered(subset, split, count))
            described.append(f"  - split: {split}\n    path: {subset}/{split}-*\n")
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(described) + "---\n")
    return folder
