"""With logits that know the answer."""

import dataclasses

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.models import bert
from bertjax.tasks import kinds, labelled_batches
from bertjax.tasks.examples import (
  Answer,
  QuestionExample,
  TagExample,
  TextExample,
)
from bertjax.tasks.specs import Task
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *'abcdefgh', '##b', '?'], cased=False)


def make(kind, labels=(), metrics=('accuracy',), length=12, stride=128):
  return Task('t', kind, labels, metrics, length=length, stride=stride)


def right(task, examples):
  """Returns pairs of each example with the answer to logits of its label."""
  answers = {
    tuple(row.ids): label
    for row, label in kinds.labelled_rows(task, TOKENIZER, examples)
  }
  outputs = kinds.find(task.kind).outputs(task)

  def run(rows):
    rows = [*rows]
    return zip(rows, logits_of(rows), strict=True)

  def logits_of(rows):
    for row in rows:
      if not row.ids:
        yield None
        continue
      label = answers[tuple(row.ids)]
      if task.kind == 'classes':
        yield 5.0 * np.eye(outputs)[label]
      elif task.kind == 'labels':
        yield 5.0 * (2 * np.asarray(label) - 1)
      elif task.kind == 'number':
        yield np.array([label])
      elif task.kind == 'tags':
        yield np.eye(outputs)[np.maximum(label, 0)]
      else:
        logits = np.zeros((len(row.ids) + 3, 2))
        logits[label[0], 0] = logits[label[1], 1] = 9
        yield logits

  return [*kinds.answers(task, TOKENIZER, iter(examples), run)]


def score(task, found):
  return kinds.find(task.kind).score(task, found)


@pytest.mark.parametrize(
  'kind, given, metrics',
  [
    ('classes', ['yes', 'no', 'no'], ('accuracy', 'f1')),
    ('number', [0.5, 2.0, 1.0], ('pearson',)),
    ('labels', [('yes', 'no'), (), ('no',)], ('f1_micro', 'accuracy')),
  ],
)
def test_right_logits_of_texts_give_a_full_score(kind, given, metrics):
  task = make(kind, () if kind == 'number' else ('no', 'yes'), metrics)
  examples = [
    TextExample(texts, label)
    for texts, label in zip(
      [('a',), ('b', 'c d'), ('a b ' * 20,)], given, strict=True
    )
  ]
  found = right(task, examples)
  assert score(task, found) == pytest.approx(dict.fromkeys(metrics, 1.0))
  assert [example for example, _ in found] == examples
  rows = [*kinds.find(kind).encode(task, TOKENIZER, examples)]
  assert [row.source.cut for row in rows] == [False, False, True]


def test_right_logits_give_every_word_of_a_long_sentence_its_tag():
  task = make('tags', ('O', 'B-X'), ('f1', 'accuracy'), length=8)
  words = tuple('abcdefgh'[i % 8] + 'b' * (i % 2) for i in range(25))
  tags = tuple('B-X' if word[0] in 'adg' else 'O' for word in words)
  examples = [TagExample(words, tags), TagExample(('b',), ('O',))]
  rows = list(kinds.labelled_rows(task, TOKENIZER, examples))
  assert max(len(row.ids) for row, _ in rows) <= 8
  assert (
    sum(tag != labelled_batches.NO_TAG for _, ids in rows for tag in ids) == 26
  )
  found = right(task, examples)
  assert [answer for _, answer in found] == [list(tags), ['O']]
  assert score(task, found) == {'f1': 1.0, 'accuracy': 1.0}


def test_right_logits_find_the_answer_in_a_long_context():
  task = make('spans', (), ('f1', 'exact_match'), length=90, stride=20)
  context = 'a b ' * 60 + 'g h ' + 'c d ' * 20
  start = context.index('g h')
  examples = [QuestionExample('1', 'a ?', context, (Answer('g h', start),))]
  found = right(task, examples)
  assert found[0][1].text == 'g h'
  assert score(task, found)['exact_match'] == 1.0


def test_answers_come_in_order_also_for_examples_without_a_row():
  task = make('tags', ('O', 'B-X'), length=8)
  examples = [
    TagExample((), ()),
    TagExample(('a',), ('B-X',)),
    TagExample((), ()),
  ]
  found = right(task, examples)
  assert [answer for _, answer in found] == [[], ['B-X'], []]


def test_the_trivial_tag_of_a_word_is_its_most_frequent_one_in_training():
  train = [
    TagExample(('the', 'run', 'run'), ('DT', 'NN', 'VB')),
    TagExample(('run', 'cat', 'dog'), ('VB', 'NN', 'NN')),
    TagExample(('cow',), ('NN',)),
  ]
  trivial = kinds.KINDS['tags'].trivial(make('tags'), train)
  assert trivial(TagExample(('the', 'run', 'unseen'))) == ['DT', 'VB', 'NN']
  assert trivial(TagExample(('The',))) == ['NN']


def test_the_trivial_answer_is_as_long_as_the_median_one_in_training():
  train = [
    QuestionExample('1', '?', 'b c d', (Answer('b c', 0),)),
    QuestionExample('2', '?', 'b c d', ()),
  ]
  trivial = kinds.KINDS['spans'].trivial(make('spans'), train)
  assert trivial(QuestionExample('3', '?', ' By  Ada, a b')) == 'By Ada,'
  assert trivial(QuestionExample('4', '?', '')) == ''


def test_a_model_for_another_kind_is_refused_with_what_it_has():
  with pytest.raises(UserError, match='runs/x has no head of a task'):
    kinds.check(None, ('tags',), 'runs/x')
  with pytest.raises(UserError, match='a task of spans, and one of tags'):
    kinds.check(make('spans'), ('tags',), 'runs/x')
  assert kinds.check(make('spans'), (), 'runs/x').kind == 'spans'


def test_every_kind_that_is_trained_has_all_that_training_asks_for():
  trained = {name: kind for name, kind in kinds.KINDS.items() if kind.loss}
  assert {*trained} == {'classes', 'number', 'labels', 'tags', 'spans'}
  for kind in trained.values():
    assert kind.head in bert.TASK_HEADS
    assert kind.label_of and kind.score and kind.trivial
    assert 0 < kind.usual <= len(kind.metrics)


def test_a_task_that_was_written_is_read_as_it_was():
  task = make('classes', ('no', 'yes'), length=77)
  written = {'task': 't', 'kind': 'classes', 'labels': ['no', 'yes']}
  read = kinds.of_json(
    written | {'length': 77, 'stride': 128, 'head': None, 'more': 1}
  )
  assert read == dataclasses.replace(task, metrics=('accuracy', 'f1_macro'))
  with pytest.raises(UserError, match="did you mean 'number'"):
    kinds.of_json(written | {'kind': 'numbr'})
