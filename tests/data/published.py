"""Small folders in the layouts in which WMT24++, Flores and the Tatoeba Challenge are published."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def parquet(file: Path, rows: Sequence[Mapping[str, Any]], **how: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), file, **how)
    return file


def jsonl(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    return file


def wmt24pp(folder: Path, *varieties: str, bad: int = 2, good: int = 8) -> Path:
    """``google/wmt24pp``: the fields of its card."""
    for variety in varieties:
        jsonl(folder / f"en-{variety}.jsonl", [
            {
                **{"lp": f"en-{variety}", "domain": "canary" if i < bad else "news"},
                **{"document_id": "d", "segment_id": i, "is_bad_source": i < bad},
                **{"source": f"en {i}", "target": f"{variety} {i}", "original_target": "x"},
            }
            for i in range(bad + good)
        ])  # fmt: skip
    return folder


SPLITS = {"dev": 9, "devtest": 5}


def flores200(folder: Path, *codes: str) -> Path:
    """The published archive."""
    for split, count in SPLITS.items():
        for code in codes:
            file = folder / f"flores200_dataset/{split}/{code}.{split}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{code} {split} {i}\n" for i in range(count)))
    (folder / "flores200_dataset/metadata_dev.tsv").write_text("URL\tdomain\n")
    return folder


def flores_hub(folder: Path, *codes: str) -> Path:
    """``facebook/flores``."""
    for split, count in SPLITS.items():
        for code in codes:
            rows = [
                {"id": i + 1, "URL": "u", "sentence": f"{code} {split} {i}"} for i in range(count)
            ]
            parquet(folder / f"{code}/{split}-00000-of-00001.parquet", rows)
    return folder


def flores_plus(folder: Path, *codes: str, ending: str = ".parquet") -> Path:
    """``openlanguagedata/flores_plus``."""
    for split, count in SPLITS.items():
        for code in codes:
            rows = [
                {
                    **{"id": i, "iso_639_3": code[:3], "iso_15924": code[4:8]},
                    **{"glottocode": "x", "text": f"{code} {split} {i}", "url": "u"},
                }
                for i in range(count)
            ]
            (parquet if ending == ".parquet" else jsonl)(folder / split / f"{code}{ending}", rows)
    return folder


def flores_release(folder: Path, *codes: str) -> Path:
    """The archive of a release of Flores+."""
    for split, count in SPLITS.items():
        for code in codes:
            file = folder / f"floresp-v2.0-rc.3/{split}/{split}.{code}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{code} {split} {i}\n" for i in range(count)))
    return folder


Labelled = Sequence[tuple[str, str, str, str]]


def tatoeba_release(folder: Path, pair: str, split: str, rows: Labelled) -> Path:
    """A split in the archive of a release; the training text is packed."""
    place = folder / f"data/release/v2021-08-07/{pair}"
    place.mkdir(parents=True, exist_ok=True)
    train = split == "train"
    columns = {
        "src": [row[2] for row in rows],
        "trg": [row[3] for row in rows],
        "id": ["\t".join([*(["OpenSubtitles-v2018"] * train), *row[:2]]) for row in rows],
    }
    for kind, lines in columns.items():
        text = "".join(f"{line}\n" for line in lines).encode()
        if train:
            (place / f"train.{kind}.gz").write_bytes(gzip.compress(text))
        else:
            (place / f"{split}.{kind}").write_bytes(text)
    return folder


def tatoeba_table(folder: Path, pair: str, split: str, rows: Labelled) -> Path:
    """A table of the repository."""
    file = folder / f"data/{split}/{pair}/{split}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return folder
