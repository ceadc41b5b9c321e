"""With logits that know the answer."""

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.tasks import codecs, labelled_batches
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
  return codecs.make(
    Task('t', kind, labels, metrics), TOKENIZER, length, stride
  )


def knowing(codec, examples, outputs):
  """Returns a function that gives each row the logits of its label."""
  answers = {tuple(row.ids): label for row, label in codec.rows(examples)}

  def logits_of(rows):
    for row in rows:
      label = answers[tuple(row.ids)]
      if codec.task.kind == 'classes':
        yield 5.0 * np.eye(outputs)[label]
      elif codec.task.kind == 'labels':
        yield 5.0 * (2 * np.asarray(label) - 1)
      elif codec.task.kind == 'number':
        yield np.array([label])
      elif codec.task.kind == 'tags':
        yield np.eye(outputs)[np.maximum(label, 0)]
      else:
        logits = np.zeros((len(row.ids) + 3, 2))
        logits[label[0], 0] = logits[label[1], 1] = 9
        yield logits

  return logits_of


@pytest.mark.parametrize(
  'kind, given, metrics',
  [
    ('classes', ['yes', 'no', 'no'], ('accuracy', 'f1')),
    ('number', [0.5, 2.0, 1.0], ('pearson',)),
    ('labels', [('yes', 'no'), (), ('no',)], ('f1_micro', 'accuracy')),
  ],
)
def test_right_logits_of_texts_give_a_full_score(kind, given, metrics):
  labels = () if kind == 'number' else ('no', 'yes')
  codec = make(kind, labels, metrics)
  examples = [
    TextExample(texts, label)
    for texts, label in zip(
      [('a',), ('b', 'c d'), ('a b ' * 20,)], given, strict=True
    )
  ]
  found = codec.predict(examples, knowing(codec, examples, 2))
  assert codec.score(examples, found) == pytest.approx(
    dict.fromkeys(metrics, 1.0)
  )
  assert codec.cut == 2  # one text, tokenized twice


def test_right_logits_give_every_word_of_a_long_sentence_its_tag():
  codec = make('tags', ('O', 'B-X'), ('f1', 'accuracy'), length=8)
  words = tuple('abcdefgh'[i % 8] + 'b' * (i % 2) for i in range(25))
  tags = tuple('B-X' if word[0] in 'adg' else 'O' for word in words)
  examples = [TagExample(words, tags), TagExample(('b',), ('O',))]
  rows = list(codec.rows(examples))
  assert max(len(row.ids) for row, _ in rows) <= 8
  assert (
    sum(tag != labelled_batches.NO_TAG for _, ids in rows for tag in ids) == 26
  )
  found = codec.predict(examples, knowing(codec, examples, 2))
  assert found == [list(tags), ['O']]
  assert codec.score(examples, found) == {'f1': 1.0, 'accuracy': 1.0}


def test_right_logits_find_the_answer_in_a_long_context():
  codec = make('spans', (), ('f1', 'exact_match'), length=90, stride=20)
  context = 'a b ' * 60 + 'g h ' + 'c d ' * 20
  start = context.index('g h')
  examples = [QuestionExample('1', 'a ?', context, (Answer('g h', start),))]
  found = codec.predict(examples, knowing(codec, examples, 2))
  assert found['1'].text == 'g h'
  assert codec.score(examples, found)['exact_match'] == 1.0


def test_trivial_answers():
  codec = make('classes', ('no', 'yes'))
  examples = [TextExample(('a',), x) for x in ('no', 'yes', 'yes', 'yes')]
  trivial = codec.baseline((), examples)
  assert codec.score(examples, trivial) == {'accuracy': 0.75}
  codec = make('spans', (), ('f1', 'exact_match'))
  examples = [
    QuestionExample('1', '?', 'b c d', (Answer('b c', 0),)),
    QuestionExample('2', '?', 'e f', (Answer('f', 2),)),
  ]
  trivial = codec.baseline(examples[:1], examples)
  assert codec.score(examples, trivial)['exact_match'] == 0.5


@pytest.mark.parametrize(
  'label, message',
  [
    (None, 'an example has none; set LABEL_COLUMN'),
    ('maybe', "'maybe' do not occur in training, which has 'no', 'yes'"),
  ],
)
def test_labels_that_cannot_be_scored_are_one_line(label, message):
  with pytest.raises(UserError, match=message):
    make('classes', ('no', 'yes')).labels([TextExample(('a',), label)])
