"""Paths of single files, and records as JSON lines.

record_files.write_lines('out.jsonl', [{'text': 'Fun', 'label': 'good'}])
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.runs.output_files import writing


def write_lines(path: str, records: Iterable[Mapping[str, Any]]) -> None:
  """Writes JSON lines; half of a surrogate pair becomes '?'."""
  with writing(path) as part, open(part, 'w', encoding='utf-8') as file:
    for record in records:
      line = json.dumps(record, ensure_ascii=False, default=str) + '\n'
      file.write(line.encode('utf-8', 'replace').decode())


def one(path: str | Sequence[str], setting: str) -> str:
  """Returns the path of a file; raises UserError for a list of paths."""
  if not isinstance(path, str):
    raise UserError(f'expected the path of one file, got {path}; set {setting}')
  return path
