import json
import math

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.finetuning import squad
from bertjax.finetuning.examples import Answer, QuestionExample
from bertjax.inference.windows import Answers, Candidate

ITEM = {
    'id': 'q1', 'question': 'Who?',
    'answers': [{'text': 'Ada', 'answer_start': 3},
                {'text': 'By Ada', 'answer_start': 0}],
}
IMPOSSIBLE = {
    'id': 'q2', 'question': 'When?', 'is_impossible': True, 'answers': [],
    'plausible_answers': [{'text': 'Ada', 'answer_start': 3}],
}


def content(*items):
  return {'version': 'v2.0', 'data': [
      {'title': 'Ada', 'paragraphs': [{'context': 'By Ada.', 'qas': items}]}]}


def write(path, value):
  path.write_text(json.dumps(value))
  return str(path)


def question(identifier, *answers, title=''):
  return QuestionExample(
      identifier, '?', '', tuple(Answer(x, 0) for x in answers), title)


def test_files_of_both_versions_are_read(tmp_path):
  path = write(tmp_path / 'dev.json', content(ITEM, IMPOSSIBLE))
  assert squad.read(path) == [
      QuestionExample('q1', 'Who?', 'By Ada.',
                      (Answer('Ada', 3), Answer('By Ada', 0)), 'Ada'),
      QuestionExample('q2', 'When?', 'By Ada.', (), 'Ada'),
  ]


@pytest.mark.parametrize('value, message', [
    ([], r'"data", a list, in the root of .*, got \[\]'),
    ({'version': 1}, 'got the keys version'),
    ({'data': [{'title': 'x'}]}, r'"paragraphs", a list, in data\[0\]'),
    (content({'id': 'q1', 'question': '?'}),
     r'"answers", a list, in data\[0\].paragraphs\[0\].qas\[0\] of .*, '
     'got the keys id, question'),
    (content(ITEM | {'id': 7}), '"id", a str, .* got 7'),
    (content(ITEM | {'answers': [{'text': 'Ada'}]}),
     r'"answer_start", a int, in .*qas\[0\].answers\[0\] .* the keys text'),
    (content(), 'expected questions in .*, got none'),
    (content(ITEM, ITEM), r"id once in .*, got \[\('q1', 2\)\]"),
])
def test_another_structure_is_refused_and_the_place_is_named(
    tmp_path, value, message):
  with pytest.raises(UserError, match=message):
    squad.read(write(tmp_path / 'dev.json', value))


def test_what_is_no_json_or_no_file_is_refused(tmp_path):
  with pytest.raises(UserError, match='No such file'):
    squad.read(str(tmp_path / 'dev.json'))
  for text in (b'{', b'\xff\xfe\xfa'):
    (tmp_path / 'dev.json').write_bytes(text)
    with pytest.raises(UserError, match='SQuAD file, .*; give another path'):
      squad.read(str(tmp_path / 'dev.json'))


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


@pytest.mark.parametrize('text, expected', [
    ('The  U.S., an\tally', 'us ally'),
    ('A man, a plan', 'man plan'),
    ('the-atre', 'theatre'),  # punctuation goes before articles do
    ('“ally”', '“ally”'),
    ('24–10', '24–10'),
    ('a–b', '–b'),  # an article ends at any character that is no letter
    ('Théâtre the', 'théâtre'),
    ('another then', 'another then'),
    ('The', ''),
])
def test_texts_are_normalized_as_officially(text, expected):
  assert squad.normalize(text) == expected


@pytest.mark.parametrize('prediction, answers, exact, overlap', [
    ('the Broncos!', ['broncos'], 1, 1),
    ('Denver Broncos', ['Broncos', 'Denver'], 0, 2 / 3),
    ('Denver', ['the Denver Broncos of 2015', 'Denver Broncos'], 0, 2 / 3),
    ('x x y', ['x x x z'], 0, 4 / 7),  # x counts twice
    ('x y', ['y x'], 0, 1),
    ('no', ['yes'], 0, 0),
    ('', ['yes'], 0, 0),
    ('', [], 1, 1),
    ('yes', [], 0, 0),
    ('The', ['a', 'yes'], 0, 0),  # 'a' is nothing when normalized
    ('The', ['a'], 1, 1),
])
def test_metrics_as_by_hand(prediction, answers, exact, overlap):
  assert squad.exact_match(prediction, answers) == exact
  assert squad.f1(prediction, answers) == pytest.approx(overlap)


def test_scores_are_means_in_percent():
  examples = [question('1', 'Denver Broncos'), question('2', 'b'),
              question('3', 'c')]
  predictions = {'1': 'Denver', '2': 'B.', 'other': 'x'}
  assert squad.score(examples, predictions) == pytest.approx(
      {'exact_match': 100 / 3, 'f1': (200 / 3 + 100) / 3})
  assert squad.score([*examples, question('4')], predictions) == pytest.approx({
      'exact_match': 50, 'f1': (200 / 3 + 200) / 4,
      'has_answer_exact_match': 100 / 3,
      'has_answer_f1': (200 / 3 + 100) / 3,
      'no_answer_exact_match': 100, 'no_answer_f1': 100})
  assert squad.score([question('4')], {'4': 'x'}) == {
      'exact_match': 0, 'f1': 0, 'no_answer_exact_match': 0, 'no_answer_f1': 0}


def thresholded(examples, answers, threshold):
  return squad.score(examples, {
      identifier: '' if difference > threshold else text
      for identifier, (text, difference) in answers.items()})['f1']


def test_the_threshold_is_the_best_of_all():
  rng = np.random.default_rng(0)
  words = ['x', 'y', 'x y', '']
  for _ in range(50):
    examples = [
        question(str(i), *rng.choice(words[:3], rng.integers(0, 3)))
        for i in range(12)]
    answers = {  # one is missing; differences are equal now and then
        str(i): (str(rng.choice(words)), float(rng.integers(-4, 4)))
        for i in range(11)}
    threshold, found = squad.best_threshold(examples, answers)
    assert found == pytest.approx(max(
        thresholded(examples, answers, x) for x in np.arange(-6, 6)))
    assert found == pytest.approx(thresholded(examples, answers, threshold))


def test_a_threshold_can_leave_all_or_none_unanswered():
  answers = {'1': ('x', -3.0), '2': ('x', -2.0), '3': ('', math.inf)}
  none = [question('1'), question('2'), question('3')]
  threshold, found = squad.best_threshold(none, answers)
  assert threshold < -3 and found == 100
  every = [question('1', 'x'), question('2', 'x'), question('3', 'x')]
  threshold, found = squad.best_threshold(every, answers)
  assert threshold == -2 and found == pytest.approx(200 / 3)


def test_files_of_predictions_are_the_official_json(tmp_path):
  path = str(tmp_path / 'predictions.json')
  squad.write_predictions(path, {'q1': 'Zoë', 'q2': ''})
  with open(path) as file:
    assert json.load(file) == {'q1': 'Zoë', 'q2': ''}
  squad.write_n_best(path, {
      'q1': Answers([Candidate('Zoë', 3, 1.5, 1.0)], -2.0),
      'q2': Answers([], math.inf)})
  with open(path) as file:
    assert json.load(file) == {'q2': [], 'q1': [
        {'text': 'Zoë', 'start': 3, 'score': 1.5, 'probability': 1.0}]}


def test_first_words_are_those_of_the_context():
  examples = [QuestionExample('1', '?', ' By  Ada, a b', ()),
              QuestionExample('2', '?', '', ())]
  assert squad.first_words(examples, 2) == {'1': 'By Ada,', '2': ''}


def test_parts_of_a_split_share_no_article_and_hold_every_example():
  examples = [question(str(i), title=f't{i * 7 % 11}') for i in range(40)]
  evaluated = []
  for part in range(4):
    train, evaluation = squad.split_by_article(examples, 4, part)
    assert not {x.title for x in train} & {x.title for x in evaluation}
    assert sorted(train + evaluation) == sorted(examples) and evaluation
    backwards = squad.split_by_article(examples[::-1], 4, part)
    assert backwards == (train[::-1], evaluation[::-1])
    evaluated += evaluation
  assert sorted(evaluated) == sorted(examples)


@pytest.mark.parametrize('parts, part', [(3, 0), (1, 0), (2, 2), (2, -1)])
def test_a_split_with_an_empty_side_is_refused(parts, part):
  examples = [question('1', title='a'), question('2', title='b')]
  with pytest.raises(UserError, match='set part, parts'):
    squad.split_by_article(examples, parts, part)
