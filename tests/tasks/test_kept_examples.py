import datetime
import errno
import io
import tempfile

import pytest

from bertjax.errors import UserError
from bertjax.tasks.examples import (
  Answer,
  QuestionExample,
  TagExample,
  TextExample,
)
from bertjax.tasks.kept_examples import keep


@pytest.mark.parametrize(
  'examples',
  [
    [
      TextExample(('a', 'b'), ('x', 'y'), 3, {'t': 'a', 'n': [1, None]}),
      TextExample(('\ud83d',), 0.1),
      TextExample(('c',), 'z'),
      TextExample(('d',)),
    ],
    [TagExample(('a',), ('O',), (('a', 'O'),)), TagExample(('b',))],
    [QuestionExample('1', '?', 'b c', (Answer('b', 0),), 't')],
  ],
)
def test_examples_come_again_as_they_were(examples):
  kept = keep(iter(examples))
  assert not isinstance(kept, list)  # not in memory
  assert len(kept) == len(examples)
  assert [*kept] == [*kept] == examples
  assert [type(x) for x in kept] == [type(x) for x in examples]


def test_two_may_go_through_them_at_a_time():
  kept = keep(TextExample((f'{i} ' * 99,)) for i in range(900))
  pairs = [*zip(kept, kept, strict=True)]
  assert len(pairs) == 900 and all(a == b for a, b in pairs)


def test_the_source_is_read_once():
  read = []

  def source():
    for i in range(3):
      read.append(i)
      yield TextExample((str(i),))

  kept = keep(source())
  assert len([*kept, *keep(kept)]) == 6 and read == [0, 1, 2]


def test_nothing_and_what_is_in_memory_are_kept_as_they_are():
  assert not keep(iter(()))
  examples = [object()]
  assert keep(examples) is examples
  assert keep(iter(examples)) == examples


def test_values_without_json_become_text():
  day = datetime.date(2026, 1, 2)
  (kept,) = keep(iter([TextExample(('a',), record={'day': day})]))
  assert kept.record == {'day': '2026-01-02'}


def test_a_full_disk_is_one_line(monkeypatch):
  class Full(io.BytesIO):
    def flush(self):
      raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(tempfile, 'TemporaryFile', Full)
  with pytest.raises(UserError, match='No space left .*set TMPDIR'):
    keep(iter([TextExample(('a',))]))
