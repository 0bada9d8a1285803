"""Reading a file that comes from somebody else: a user, another program, a run of long ago.

Such a file may be anything: a folder, a pipe that nobody writes to, a device without an end,
text in another encoding, JSON nested a million deep, YAML whose aliases unfold to gigabytes.
Whatever it is, these functions return its content or raise the caller's class of
:mod:`mt_lottery.errors` with the path, the line where there is one, and the reason.  They
never wait, and what they read is bounded.
"""

from mt_lottery.reading.files import check_regular as check_regular
from mt_lottery.reading.files import read_bytes as read_bytes
from mt_lottery.reading.files import read_text as read_text
from mt_lottery.reading.files import reason as reason
from mt_lottery.reading.files import sha256_of as sha256_of
from mt_lottery.reading.files import shown as shown
from mt_lottery.reading.json_files import parse_json as parse_json
from mt_lottery.reading.json_files import read_json as read_json
from mt_lottery.reading.json_files import read_json_lines as read_json_lines
from mt_lottery.reading.tables import read_csv_rows as read_csv_rows
from mt_lottery.reading.yaml_files import read_yaml as read_yaml
