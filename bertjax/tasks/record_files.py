"""Answers beside the records that they were given for, as JSON lines.

record_files.write(task, 'out.jsonl', pairs, count=2)
"""

import json

from bertjax.runs.output_files import writing
from bertjax.tasks.examples import Answered
from bertjax.tasks.specs import Task


def write(task: Task, path: str, pairs: Answered, count: int) -> str:
  """Writes each record with the fields of its answer.

  A field of the record becomes NAME_given if the answer has one of that name,
  or if both names are in `SAID`. Half of a surrogate pair becomes '?'.
  """
  with writing(path) as part, open(part, 'w', encoding='utf-8') as file:
    for example, answer in pairs:
      taken = {*answer} if SAID.isdisjoint(answer) else SAID.union(answer)
      record = {
        f'{name}_given' if name in taken else name: value
        for name, value in example.record.items()
      } | {**answer}
      line = json.dumps(record, ensure_ascii=False, default=str) + '\n'
      file.write(line.encode('utf-8', 'replace').decode())
  return f'{count:,} texts in {path}'


# Of a classifier, whatever its kind, so that one name means one thing.
SAID = frozenset(('label', 'labels', 'scores', 'value'))
