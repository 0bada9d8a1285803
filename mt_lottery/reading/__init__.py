"""Reading a file that comes from somebody else: a user, another program, a run of long ago.

Such a file may be anything: a folder, a pipe that nobody writes to, a device without an end,
text in another encoding, JSON nested a million deep, YAML whose aliases unfold to gigabytes.
Whatever it is, these functions return its content or raise the caller's class of
:mod:`mt_lottery.errors` with the path, the line where there is one, and the reason.  They
never wait, and what they read is bounded.
"""

from mt_lottery.reading.files import (
    check_regular,
    read_bytes,
    read_text,
    reason,
    sha256_of,
    shown,
)
from mt_lottery.reading.json_files import json_value, parse_json, read_json, read_json_lines
from mt_lottery.reading.lines import LONGEST, raw_lines, text_lines
from mt_lottery.reading.records import Records, format_of
from mt_lottery.reading.tables import parse_csv_rows, read_csv_rows
from mt_lottery.reading.yaml_files import front_matter, parse_yaml, read_yaml

__all__ = [
    "LONGEST",
    "Records",
    "check_regular",
    "format_of",
    "front_matter",
    "json_value",
    "parse_csv_rows",
    "parse_json",
    "parse_yaml",
    "raw_lines",
    "read_bytes",
    "read_csv_rows",
    "read_json",
    "read_json_lines",
    "read_text",
    "read_yaml",
    "reason",
    "sha256_of",
    "shown",
    "text_lines",
]
