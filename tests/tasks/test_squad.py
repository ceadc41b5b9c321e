import gzip
import json
import math

import pytest

from bertjax.errors import UserError
from bertjax.tasks import answer_spans, squad
from bertjax.tasks.examples import Answer, QuestionExample
from bertjax.tasks.specs import Task
from bertjax.text.context_windows import Answers, Candidate

ITEM = {
  'id': 'q1',
  'question': 'Who?',
  'answers': [
    {'text': 'Ada', 'answer_start': 3},
    {'text': 'By Ada', 'answer_start': 0},
  ],
}


IMPOSSIBLE = {
  'id': 'q2',
  'question': 'When?',
  'is_impossible': True,
  'answers': [],
  'plausible_answers': [{'text': 'Ada', 'answer_start': 3}],
}


def content(*items):
  return {
    'version': 'v2.0',
    'data': [
      {'title': 'Ada', 'paragraphs': [{'context': 'By Ada.', 'qas': items}]}
    ],
  }


def write(path, value):
  path.write_text(json.dumps(value))
  return str(path)


def question(identifier, *answers, title=''):
  return QuestionExample(
    identifier, '?', '', tuple(Answer(x, 0) for x in answers), title
  )


def test_files_of_both_versions_are_read(tmp_path):
  path = write(tmp_path / 'dev.json', content(ITEM, IMPOSSIBLE))
  assert squad.read(path) == [
    QuestionExample(
      'q1', 'Who?', 'By Ada.', (Answer('Ada', 3), Answer('By Ada', 0)), 'Ada'
    ),
    QuestionExample('q2', 'When?', 'By Ada.', (), 'Ada'),
  ]


@pytest.mark.parametrize(
  'value, message',
  [
    ([], r'an object in .*dev.json, got \[\]; give a SQuAD file'),
    ({'a': 1}, r'"data", a list, in the root of .*, got the keys a'),
    ({'version': 1}, 'got the keys version'),
    ({'data': [{'title': 'x'}]}, r'"paragraphs", a list, in data\[0\]'),
    (
      content({'id': 'q1', 'question': '?'}),
      r'"answers", a list, in data\[0\].paragraphs\[0\].qas\[0\] of .*, '
      'got the keys id, question',
    ),
    (content(ITEM | {'id': 7}), '"id", a str, .* got 7'),
    (
      content(ITEM | {'answers': [{'text': 'Ada'}]}),
      r'"answer_start", a int, in .*qas\[0\].answers\[0\] .* the keys text',
    ),
    (content(ITEM | {'is_impossible': 'false'}), '"is_impossible", a bool'),
    (content(), 'expected questions in .*, got none'),
    (content(ITEM, ITEM), r"each id once, got 'q1' in"),
  ],
)
def test_another_structure_is_refused_and_the_place_is_named(
  tmp_path, value, message
):
  with pytest.raises(UserError, match=message):
    squad.read(write(tmp_path / 'dev.json', value))


def test_what_is_no_json_or_no_file_is_refused(tmp_path):
  with pytest.raises(UserError, match='no file matches'):
    squad.read(str(tmp_path / 'dev.json'))
  for text, message in (
    (b'{', 'dev.json, .*; give a SQuAD file'),
    (b'[' * 100_000, 'recursion .*; give a SQuAD file'),
    (b'\xff\xfe\xfa', 'dev.json is cut off'),
    (b'\xfa', 'UTF-8 in .*dev.json, got byte 0xfa'),
  ):
    (tmp_path / 'dev.json').write_bytes(text)
    with pytest.raises(UserError, match=message):
      squad.read(str(tmp_path / 'dev.json'))


def test_several_files_are_read_and_share_no_id(tmp_path):
  other = {**ITEM, 'id': 'q3'}
  first = write(tmp_path / 'a.json', content(ITEM))
  data = gzip.compress(json.dumps(content(other)).encode())
  (tmp_path / 'b.json.gz').write_bytes(data)
  for paths in (str(tmp_path), f'{tmp_path}/*', [first, f'{tmp_path}/b*']):
    assert [x.identifier for x in squad.read(paths)] == ['q1', 'q3']
  write(tmp_path / 'c.json', content(IMPOSSIBLE, ITEM))
  with pytest.raises(UserError, match="'q1' in .*c.json after .*a.json"):
    squad.read(str(tmp_path))


def checked(context, *answers):
  return squad.check([QuestionExample('q', '?', context, answers)])


def test_an_answer_that_stands_elsewhere_moves_to_the_nearest_place():
  context = 'Ada, Ada and Ada'  # at 0, 5, 13
  for start, place in ((0, 0), (1, 0), (4, 5), (8, 5), (10, 13), (99, 13)):
    (example,), count = checked(context, Answer('Ada', start))
    assert example.answers == (Answer('Ada', place),)
    assert count == (start != place)


def test_outer_spaces_are_no_part_of_an_answer():
  (example,), count = checked('By Ada.', Answer(' Ada', 2))
  assert example.answers == (Answer('Ada', 3),) and count == 0


def test_only_questions_that_lose_every_answer_are_left_out():
  (example,), count = checked('Ada', Answer('Bob', 0), Answer('Ada', 0))
  assert example.answers == (Answer('Ada', 0),) and count == 1
  assert checked('Ada', Answer('Bob', 0), Answer(' ', 0)) == ([], 2)
  (example,), count = checked('Ada')
  assert example.answers == () and count == 0


def test_files_of_predictions_are_the_official_json(tmp_path):
  path = str(tmp_path / 'predictions.json')
  pairs = [
    (question('q1'), Answers([Candidate('Zoë', 3, 1.5, 1.0)], -2.0)),
    (question('q2'), Answers([], math.inf)),
  ]
  said = answer_spans.write(Task('t', 'spans'), path, iter(pairs), 2)
  n_best = str(tmp_path / 'predictions_n_best.json')
  assert said == f'2 answers in {path}, the n best in {n_best}'
  with open(path) as file:
    assert json.load(file) == {'q1': 'Zoë', 'q2': ''}
  with open(n_best) as file:
    assert json.load(file) == {
      'q2': [],
      'q1': [{'text': 'Zoë', 'start': 3, 'score': 1.5, 'probability': 1.0}],
    }


def test_parts_of_a_split_share_no_article_and_hold_every_example():
  examples = [question(str(i), title=f't{i * 7 % 11:02}') for i in range(40)]
  train, evaluation = squad.split_by_article(examples, 4)
  assert {x.title for x in evaluation} == {'t00', 't04', 't08'}
  assert not {x.title for x in train} & {x.title for x in evaluation}
  assert sorted(train + evaluation) == sorted(examples)
  backwards = squad.split_by_article(examples[::-1], 4)
  assert backwards == (train[::-1], evaluation[::-1])


def test_few_articles_are_split_and_one_is_refused():
  examples = [question('1', title='a'), question('2', title='b')]
  assert squad.split_by_article(examples) == (examples[1:], examples[:1])
  with pytest.raises(UserError, match='set EVAL_FILES'):
    squad.split_by_article(examples[:1])


def test_half_a_surrogate_pair_is_replaced(tmp_path):
  item = {
    'id': 'q1',
    'question': '\ud83d?',
    'answers': [{'text': 'a\ud83d', 'answer_start': 0}],
  }
  value = content(item)
  value['data'][0]['paragraphs'][0]['context'] = 'a\ud83d b'
  (example,) = squad.read(write(tmp_path / 'dev.json', value))
  assert (example.question, example.context) == ('\ufffd?', 'a\ufffd b')
  assert example.answers == (Answer('a\ufffd', 0),)


def test_blank_questions_are_told(tmp_path, capsys):
  items = ITEM, ITEM | {'id': 'q2', 'question': ' '}
  assert len(squad.read(write(tmp_path / 'dev.json', content(*items)))) == 2
  said = capsys.readouterr().out
  assert said.startswith('warning: 1 of 2 questions') and "'q2'" in said
