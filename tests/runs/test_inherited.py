"""Architecture and vocabulary of INIT_FROM, and what a recipe adds."""

import dataclasses
import functools
import os
import pathlib

import pytest

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig
from bertjax.runs import inherited, layout, model_file
from bertjax.text import vocabulary_file
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

# What ModernBERT has and no recipe's default.
THEIRS = EncoderConfig(
  vocabulary_size=8,
  width=4,
  layers=3,
  heads=2,
  feed_forward=6,
  positions=64,
  types=0,
  dropout=0.3,
  norm_epsilon=1e-5,
  position_scheme='rotary',
  local_rotary_base=100.0,
  norm_bias=False,
  block_order='pre',
  first_norm=False,
  feed_forward_block='gated',
  layer_pattern='local_global',
  local_window=8,
  shared_head=True,
  dtype='bfloat16',
)
RECIPE = functools.partial(
  EncoderConfig,
  vocabulary_size=16384,
  width=256,
  layers=4,
  heads=4,
  feed_forward=1024,
  dropout=0.1,
  vocabulary_multiple=128,
)


def make(folder, config=THEIRS, letter='a'):
  vocabulary_file.save(str(folder), [*SPECIAL_TOKENS, letter, 'b', 'c'], False)
  model_file.write(str(folder), {'': config})
  return str(folder)


@pytest.fixture
def start(tmp_path):
  (tmp_path / 'start').mkdir()
  return make(tmp_path / 'start')


def test_without_a_start_all_is_the_recipes():
  assert inherited.architecture(RECIPE) == RECIPE()


def test_architecture_is_theirs_and_training_and_program_the_recipes(start):
  found = inherited.architecture(RECIPE, start)
  assert found == dataclasses.replace(
    THEIRS, dropout=0.1, vocabulary_multiple=128, dtype=None
  )


@pytest.mark.parametrize(
  'there, here, found',
  [
    (0.0, None, 0.0),  # a model without any stays so
    (0.0, 0.2, 0.2),
    (None, None, None),
    (0.3, None, None),
  ],
)
def test_a_model_without_dropout_of_attention_gets_none(
  tmp_path, there, here, found
):
  (tmp_path / 'start').mkdir()
  start = make(
    tmp_path / 'start', dataclasses.replace(THEIRS, attention_dropout=there)
  )
  recipe = functools.partial(RECIPE, attention_dropout=here)
  assert inherited.architecture(recipe, start).attention_dropout == found


@pytest.mark.parametrize(
  'fields',
  [
    {'activation': 'relu'},
    {'norm_bias': True, 'decoder_bias': False},
    {'block_order': 'pre', 'final_norm': False},
    {'positions': 128},
    {'rotary_base': 160000.0},
    {'local_window': 16},
    {'types': 1},
  ],
)
def test_a_wish_that_differs_is_refused_by_name(start, fields):
  name, wanted = list(fields.items())[-1]
  with pytest.raises(UserError) as caught:
    inherited.architecture(functools.partial(RECIPE, **fields), start)
  assert str(caught.value) == (
    f'INIT_FROM brings its own {name}, {getattr(THEIRS, name)!r}, but '
    f'EncoderConfig.{name} is {wanted!r}; leave it out, or name it in CHANGES'
  )


def test_a_wish_that_is_theirs_is_none(start):
  fields = dataclasses.asdict(THEIRS) | {'vocabulary_size': 30522}
  found = inherited.architecture(lambda **x: RECIPE(**(fields | x)), start)
  assert found == THEIRS


def test_changes_are_the_recipes_also_at_their_default(start):
  changes = {'positions': 8192, 'rotary_base': 160000.0, 'norm_epsilon': 1e-12}
  fields = {k: v for k, v in changes.items() if k != 'norm_epsilon'}
  recipe = functools.partial(RECIPE, **fields)
  found = inherited.architecture(recipe, start, changes=[*changes])
  kept = {'dropout': 0.1, 'vocabulary_multiple': 128, 'dtype': None}
  assert found == dataclasses.replace(THEIRS, **kept, **changes)


def test_the_size_is_the_recipes_if_the_start_is_to_grow(start):
  found = inherited.architecture(RECIPE, start, tile=True)
  sizes = {'width': 256, 'layers': 4, 'heads': 4, 'feed_forward': 1024}
  kept = {'dropout': 0.1, 'vocabulary_multiple': 128, 'dtype': None}
  assert found == dataclasses.replace(THEIRS, **kept, **sizes)


@pytest.mark.parametrize('name', ['width', 'types', 'dropout', 'wdth'])
def test_what_cannot_change_is_refused(start, name):
  with pytest.raises(UserError, match=f"got '{name}'.*set CHANGES"):
    inherited.architecture(RECIPE, start, changes=name)


def test_learned_positions_cannot_change(tmp_path):
  learned = make(tmp_path, RECIPE(vocabulary_size=8, positions=64))
  with pytest.raises(UserError, match='has 64 that are learned; .*LENGTH'):
    inherited.architecture(RECIPE, learned, changes='positions')


def test_a_run_that_has_begun_needs_its_start_no_more(start, tmp_path):
  run = tmp_path / 'run'
  (run / layout.CHECKPOINTS / '4').mkdir(parents=True)
  make(run, dataclasses.replace(THEIRS, positions=128))
  found = inherited.architecture(RECIPE, 'nowhere', str(run))
  assert found.positions == 128
  assert inherited.vocabulary('nowhere', str(run)) == str(run / 'vocab.txt')
  # Ended after its first checkpoint and before these were written.
  (run / layout.MODEL).unlink()
  (run / 'vocab.txt').unlink()
  assert inherited.architecture(RECIPE, start, str(run)).positions == 64
  assert inherited.vocabulary(start, str(run)) == f'{start}/vocab.txt'


def test_a_folder_without_a_checkpoint_is_not_asked(start, tmp_path):
  run = tmp_path / 'run'
  (run / layout.CHECKPOINTS).mkdir(parents=True)
  make(run, dataclasses.replace(THEIRS, positions=128))
  assert inherited.architecture(RECIPE, start, str(run)).positions == 64
  assert inherited.vocabulary(start, str(run)) == f'{start}/vocab.txt'


def test_the_vocabulary_is_theirs_unless_it_is_given(start):
  assert inherited.vocabulary() is None
  assert inherited.vocabulary(start) == f'{start}/vocab.txt'
  assert inherited.vocabulary(start, vocab_file='v.txt') == 'v.txt'


def test_a_corpus_must_have_their_vocabulary(start, tmp_path):
  same, other = tmp_path / 'same', tmp_path / 'other'
  for folder, letter in ((same, 'a'), (other, 'z')):
    folder.mkdir()
    make(folder, letter=letter)
  assert inherited.vocabulary(start, corpus_dir=str(same)) is None
  assert inherited.vocabulary(start, corpus_dir='nowhere') is None
  match = f'than the corpus in {other}; .*VOCAB_FILE={start}/vocab.txt'
  with pytest.raises(UserError, match=match):
    inherited.vocabulary(start, corpus_dir=[str(same), str(other)])


def test_a_hugging_face_directory_is_read_once_and_again_if_it_changes(
  monkeypatch, tmp_path
):
  (tmp_path / 'config.json').write_text('{}')
  read = []

  def once(path):
    read.append(pathlib.Path(path).name)
    return dataclasses.make_dataclass('Found', ['config'])(THEIRS)

  monkeypatch.setattr(inherited.trained_model, 'read', once)
  for _ in range(2):
    inherited.architecture(RECIPE, str(tmp_path))
  assert len(read) == 1
  os.utime(tmp_path / 'config.json', ns=(1, 1))
  inherited.architecture(RECIPE, str(tmp_path))
  assert len(read) == 2
