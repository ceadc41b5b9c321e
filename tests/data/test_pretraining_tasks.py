"""Text and vocabulary are prepared, and registered as a task of seqio."""

import re

import pytest

from bertjax.data import pretraining_tasks
from bertjax.errors import UserError
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


def prepare(tmp_path, name, run_dir, **more):
  text = tmp_path / 'text.txt'
  text.write_text('A cat sat. A dog ran.\n\nA cow lay. A pig ate.\n' * 20)
  return pretraining_tasks.from_text(
    str(text),
    str(run_dir),
    vocab_size=60,
    corpus_dir=str(tmp_path / 'corpus'),
    name=name,
    **more,
  )


def test_a_run_dir_is_made_if_it_is_missing(tmp_path):
  run_dir = tmp_path / 'runs' / 'new'
  assert prepare(tmp_path, 'of_a_new_run', run_dir) == 'of_a_new_run'
  assert (run_dir / 'vocab.txt').exists()


@pytest.mark.parametrize(
  'text, share',
  [('A cat sat.\n\n', (0.3, 0.7)), ('a ' * 20 + '.\n' + 'b.\n\n', (0, 0.2))],
)
def test_the_share_of_sentences_cut_in_two_is_told(
  tmp_path, capsys, text, share
):
  path = tmp_path / 'text.txt'
  path.write_text(''.join(f'{i} {text}' for i in range(300)))
  arguments = str(path), str(tmp_path / 'run')
  more = {'vocab_size': 60, 'name': f'of_cuts_{share[0]}'}
  pretraining_tasks.from_text(*arguments, **more)
  (line,) = re.findall('pairs of one .*', capsys.readouterr().out)
  found = re.search(
    r': ([\d.]+)% at LENGTH 128, ([\d.]+)% at LENGTH 512$', line
  )
  for percent in found.groups():
    assert share[0] <= float(percent) / 100 <= share[1]
  more |= {'next_sentence': False}
  pretraining_tasks.from_text(*arguments, **more)
  assert 'pairs of one' not in capsys.readouterr().out


def test_a_run_dir_that_cannot_be_made_is_one_line(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='cannot write .*/file/run: .*RUN_DIR'):
    prepare(tmp_path, 'of_no_run', tmp_path / 'file' / 'run')
  assert not (tmp_path / 'corpus').exists()


def write_vocabulary(path, tokens):
  path.parent.mkdir(exist_ok=True)
  path.write_text('\n'.join([*SPECIAL_TOKENS, *tokens]))
  return str(path)


def test_a_vocabulary_of_another_size_put_into_run_dir_is_refused(tmp_path):
  run_dir = tmp_path / 'run'
  kept = write_vocabulary(run_dir / 'vocab.txt', 'abc')
  words = f'{kept} holds 8 tokens, and VOCAB_SIZE is 60; set VOCAB_FILE'
  with pytest.raises(UserError, match=words):
    prepare(tmp_path, 'of_a_foreign_vocabulary', run_dir)
  name = 'of_a_given_vocabulary'
  share = {'next_sentence': False, 'cased': True}
  with pytest.raises(UserError, match='are .UNK'):
    prepare(tmp_path, name, run_dir, vocab_file=kept, **share)


def test_a_vocabulary_that_does_not_fit_the_text_is_told(tmp_path, capsys):
  # 'a cat sat . a dog ran . a cow lay . a pig ate .' and then without some.
  words = '. a cat sat dog ran cow lay pig ate'.split()
  for count, outcome in ((10, None), (9, 'warning: 6.1% of'), (2, '50.0%')):
    run_dir = tmp_path / f'run_{count}'
    path = write_vocabulary(tmp_path / f'{count}.txt', words[:count])
    prepare(tmp_path, f'of_{count}_words', run_dir, vocab_file=path)
    out = capsys.readouterr().out
    assert outcome in out if outcome else '[UNK]' not in out
  path = write_vocabulary(tmp_path / '1.txt', words[:1])
  for next_sentence in (True, False):
    with pytest.raises(UserError, match='75.0% .* are .UNK.*; set VOCAB_FILE'):
      prepare(
        tmp_path,
        'of_another_language',
        tmp_path / 'other',
        vocab_file=path,
        next_sentence=next_sentence,
      )
  assert not (tmp_path / 'other' / 'vocab.txt').exists()


def test_an_unknown_argument_is_one_line(tmp_path):
  with pytest.raises(UserError, match="mask_rate.*, got 'mask_rat' .did you"):
    prepare(tmp_path, 'of_an_unknown', tmp_path / 'run', mask_rat=0.2)
