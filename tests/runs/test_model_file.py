"""Files of a run from a stranger: each fault is one line of file and key."""

import json
import re

import pytest

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig
from bertjax.runs import checksums, metrics_file, model_file, trained_model
from bertjax.text import byte_level, vocabulary_file
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

CONFIG = EncoderConfig(8, width=8, layers=1, heads=1, feed_forward=8)
DEEP, LONG = '[' * 200_000, '1' * 5000
ROW = {
  'task': 'x',
  'metrics': ['f1'],
  'seeds': [0],
  'scores': {'eval/f1': [0.5]},
  'best_run': 'x/seed_0',
  'published': None,
}


def read_all(run_dir):
  model_file.read(run_dir)
  model_file.read_main(run_dir)
  model_file.read_objective(run_dir)
  model_file.read_task(run_dir)
  model_file.read_results(run_dir)
  metrics_file.read_metrics(run_dir)
  metrics_file.read_examples(run_dir)


def encoder(**changes):
  fields = {
    'vocabulary_size': 8,
    'width': 8,
    'layers': 1,
    'heads': 1,
    'feed_forward': 8,
  }
  return {'encoder': fields | changes}


def results(**changes):
  row = {key: x for key, x in (ROW | changes).items() if x is not ...}
  return {'tasks': [row]}


FACTS = {
  'name': 'X',
  'losses': {'loss': 1},
  'titles': {},
  'watched': [],
  'vocabulary_loss': None,
  'chances': {},
}


@pytest.mark.parametrize(
  'name, content, words',
  [
    ('model.json', '{', 'JSON in'),
    ('model.json', '<DEEP>', 'JSON in'),
    ('model.json', '\udcff', 'UTF-8 in'),
    ('model.json', [1], 'an object in .*, got .1.'),
    ('model.json', {}, "'encoder' in"),
    (
      'model.json',
      {'encoder': 3},
      "a dict from texts to anything as 'encoder' in",
    ),
    ('model.json', {'encoder': {'width': 8}}, "'vocabulary_size' in encoder"),
    (
      'model.json',
      encoder(width='8'),
      'a whole number from 1 .*got .8.; mend it',
    ),
    (
      'model.json',
      encoder(scan_layers=1),
      'True or False, got 1; mend it',
    ),
    (
      'model.json',
      encoder(dropout=[0]),
      'a number from 0 .*got .0.; mend it',
    ),
    ('model.json', encoder(layers=10**9), 'from 1 to 1,000, got 1000000000'),
    ('model.json', encoder(heads=3), ': width 8 is not a multiple'),
    ('model.json', encoder(widht=8), "did you mean 'width'.* encoder of"),
    ('model.json', encoder() | {'main': 7}, "a text as 'main' in"),
    (
      'model.json',
      encoder() | {'objective': [7]},
      'a dict from texts to anything or None as',
    ),
    (
      'model.json',
      encoder() | {'objective': FACTS | {'losses': [1]}},
      "a dict from texts to numbers as 'losses' in objective of",
    ),
    ('task.json', '', 'JSON in'),
    ('task.json', '<DEEP>', 'JSON in'),
    ('task.json', [], 'an object in'),
    ('task.json', {}, "'kind' in"),
    ('task.json', {'kind': ['classes']}, "a text as 'kind' in"),
    (
      'task.json',
      {'kind': 'x', 'labels': 'ab'},
      "a list of texts as 'labels'",
    ),
    (
      'task.json',
      {'kind': 'x', 'length': '9'},
      "a whole number as 'length' in",
    ),
    ('task.json', {'kind': 'x', 'columns': ['a']}, "as 'columns' in"),
    ('results.json', '<DEEP>', 'JSON in'),
    ('results.json', [], 'an object in'),
    ('results.json', {}, "'tasks' in"),
    (
      'results.json',
      {'tasks': {}},
      "a list of dicts from texts to anything as 'tasks' in",
    ),
    ('results.json', results(best_run=...), r"'best_run' in tasks\[0\] of"),
    ('results.json', results(best_run=3), "a text as 'best_run' in"),
    ('results.json', results(scores={}), "'eval/f1' in scores of"),
    ('results.json', results(scores={'eval/f1': []}), 'expected scores in'),
    ('results.json', results(scores={'eval/f1': ['a']}), "as 'scores' in"),
    ('results.json', results(best_run='/etc'), "best_run below .*, got '/etc'"),
    ('results.json', results(best_run='x/../../y'), 'best_run below'),
    ('metrics.jsonl', '{"step": 1}\noops\n{"step": 2}\n', 'JSON in line 2 of'),
    ('metrics.jsonl', '[1]\n', 'an object in line 1 of'),
    ('metrics.jsonl', '<DEEP>\n', 'JSON in line 1 of'),
    ('metrics.jsonl', '{"a": 1}\n', "'step' in line 1 of"),
    ('metrics.jsonl', '{"step": "1"}\n', "a whole number as 'step' in line 1"),
    (
      'metrics.jsonl',
      '{"step": 1, "a": "b"}\n',
      "number or None as 'a' in line",
    ),
    ('metrics.jsonl', '<LONG>\n', 'JSON in line 1 of'),
    (
      'examples.jsonl',
      '{"step": 1, "texts": [1]}\n',
      "texts as 'texts' in line",
    ),
  ],
)
def test_a_malformed_file_of_a_run_is_one_line(tmp_path, name, content, words):
  model_file.write(str(tmp_path), {'': CONFIG})
  text = content if isinstance(content, str) else json.dumps(content)
  text = text.replace('<DEEP>', DEEP).replace('<LONG>', LONG)
  (tmp_path / name).write_bytes(text.encode(errors='surrogateescape'))
  with pytest.raises(UserError, match=words) as caught:
    read_all(str(tmp_path))
  said = str(caught.value)
  assert '\n' not in said and len(said) < 500
  assert str(tmp_path / name) in said


@pytest.mark.parametrize('name', ['model.json', 'task.json', 'results.json'])
def test_a_large_file_of_a_run_is_not_read(tmp_path, name):
  model_file.write(str(tmp_path), {'': CONFIG})
  with open(tmp_path / name, 'wb') as file:
    file.truncate(1 << 32)  # as a hole, which takes no disk
  with pytest.raises(UserError, match=f'4 MB in .*{name}, got 4096;'):
    read_all(str(tmp_path))


def test_a_line_of_metrics_without_end_is_not_read(tmp_path):
  with open(tmp_path / 'metrics.jsonl', 'wb') as file:
    file.truncate(1 << 32)
  with pytest.raises(UserError, match='line 1 of .* is longer than any'):
    metrics_file.read_metrics(str(tmp_path))


def test_what_a_run_writes_is_read(tmp_path):
  run_dir = str(tmp_path)
  model_file.write(run_dir, {'': CONFIG})
  model_file.write_task(run_dir, {'kind': 'x', 'threshold': float('inf')})
  (tmp_path / 'results.json').write_text(json.dumps(results(more=[1])))
  read_all(run_dir)
  assert model_file.read(run_dir) == CONFIG
  assert trained_model.best_run(run_dir) == f'{run_dir}/x/seed_0'


def test_checksums_of_files_elsewhere_are_damage(tmp_path):
  item = checksums.epath.Path(tmp_path / 'state')
  item.mkdir()
  (tmp_path / 'mine').touch()
  for name in ('../mine', str(tmp_path / 'mine')):
    (item / 'checksums.json').write_text(json.dumps({name: [0, 0]}))
    assert checksums.find_damage(item) == f'state/checksums.json names {name}'
  (item / 'checksums.json').write_text(DEEP)
  assert re.search('is not readable', checksums.find_damage(item))


def test_a_byte_level_vocabulary_that_was_altered_is_noticed(tmp_path):
  letters = [*SPECIAL_TOKENS, *byte_level.alphabet(), 'ab', 'bc']
  rules = byte_level.rules_of(['a b', 'b c'])
  vocabulary_file.save(str(tmp_path), letters, True, rules)
  model_file.write(str(tmp_path), {'': CONFIG})
  model_file.check_vocabulary(str(tmp_path))
  assert model_file.shown_tokens(str(tmp_path))[-1] == '##bc'
  for parts in (
    (letters, False, rules),
    (letters, True, byte_level.rules_of(['b c', 'a b'])),
    ([*letters[:-2], 'bc', 'ab'], True, rules),
  ):
    vocabulary_file.save(str(tmp_path), *parts)
    with pytest.raises(UserError, match='tokenizer.json, or .* is not as it'):
      model_file.check_vocabulary(str(tmp_path))
