"""INIT_FROM: another computation is refused unless CHANGES names it."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from bertjax import batch
from bertjax.errors import UserError
from bertjax.interop import huggingface
from bertjax.models.bert import Bert
from bertjax.models.config import NEEDS, EncoderConfig, fields_affecting
from bertjax.runs import layout, model_file, trained_model
from bertjax.runs.checkpoints import Checkpoints
from bertjax.tasks import kinds
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

CONFIG = EncoderConfig(
  vocabulary_size=8, width=4, layers=1, heads=2, feed_forward=4, positions=8
)
GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'run_of_0_1'
TOKENS = [*SPECIAL_TOKENS, 'a', 'b', 'c']


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  folder = tmp_path_factory.mktemp('model')
  boxed = Bert(CONFIG).init(
    jax.random.key(0), batch.synthetic(1, 8, 2, 8, seed=0), train=False
  )['params']
  parameters = jax.tree.map(
    lambda box: np.asarray(box.unbox()),
    boxed,
    is_leaf=lambda x: hasattr(x, 'unbox'),
  )
  huggingface.save(str(folder), CONFIG, parameters, Tokenizer(TOKENS, False))
  return folder


def start(directory, changes, **fields):
  return trained_model.parameters(
    str(directory),
    dataclasses.replace(CONFIG, **fields),
    str(directory / 'vocab.txt'),
    changes,
  )


# Those that need another one cannot differ alone.
@pytest.mark.parametrize(
  'name', [x for x in fields_affecting('computation') if x not in NEEDS]
)
def test_another_computation_is_refused_unless_it_is_named(
  directory, name, capsys
):
  old = getattr(CONFIG, name)
  new = 'another' if isinstance(old, str) else 4 * (old or 1)
  if name == 'head_activation':
    new = 'another'
  with pytest.raises(UserError) as caught:
    start(directory, (), **{name: new})
  assert str(caught.value) == (
    f'INIT_FROM was trained with another computation: {name} {old!r} there '
    f'and {new!r} here; set EncoderConfig.{name}, or name it in CHANGES'
  )
  capsys.readouterr()
  assert 'encoder' in start(directory, (name,), **{name: new})
  said = capsys.readouterr().out.splitlines()
  assert said[-1] == f'INIT_FROM: {name} changes from {old!r} to {new!r}'


def test_each_of_several_changes_is_printed_and_each_other_one_refused(
  directory, capsys
):
  fields = {'norm_epsilon': 1e-5, 'activation': 'relu'}
  start(directory, list(fields), **fields)
  said = capsys.readouterr().out
  assert 'INIT_FROM: norm_epsilon changes from 1e-12 to 1e-05\n' in said
  assert "INIT_FROM: activation changes from 'gelu' to 'relu'\n" in said
  with pytest.raises(UserError, match='computation: norm_epsilon'):
    start(directory, 'activation', **fields)


@pytest.mark.parametrize(
  'changes, words',
  [
    (('norm_epsilom',), "did you mean 'norm_epsilon'.*set CHANGES"),
    ('width', "got 'width'.*set CHANGES"),
    ('activation', "activation, which is 'gelu' in INIT_FROM and in this run"),
  ],
)
def test_a_change_that_is_none_is_refused(directory, changes, words):
  with pytest.raises(UserError, match=words):
    start(directory, changes)


def test_changes_are_names(directory):
  with pytest.raises(UserError, match='a list of texts, got 3; set .*changes'):
    trained_model.parameters(None, CONFIG, None, 3)
  assert trained_model.parameters(None, CONFIG, None) is None


def test_learned_positions_cannot_change(directory):
  with pytest.raises(UserError, match='has 8 that are learned'):
    start(directory, 'positions', positions=16)


def test_nothing_grows_from_nothing():
  with pytest.raises(UserError, match='False without INIT_FROM.*set TILE'):
    trained_model.parameters(None, CONFIG, tile=True)


def test_changes_of_nothing_are_refused():
  with pytest.raises(UserError, match='INIT_FROM is None'):
    trained_model.parameters(None, CONFIG, None, ('activation',))


def test_dropout_and_the_program_may_differ(directory):
  start(directory, (), dropout=0.3, scan_layers=True, dtype='bfloat16')


@pytest.mark.parametrize('vocab_file', [None, 'nowhere/vocab.txt'])
def test_a_start_that_is_not_there_is_said_before_its_vocabulary(vocab_file):
  with pytest.raises(
    UserError, match='no directory google-bert/b.*hf download'
  ):
    trained_model.parameters('google-bert/bert-base-cased', CONFIG, vocab_file)


def test_a_run_with_what_is_no_number_is_refused_by_name(tmp_path):
  kernel = np.ones((2, 3), np.float32)
  parameters = {'a': {'kernel': kernel}, 'b': {'bias': np.float32([1, np.nan])}}
  with Checkpoints(str(tmp_path / layout.CHECKPOINTS)) as checkpoints:
    checkpoints.save(3, {'parameters': {'a': {'kernel': kernel}}})
    checkpoints.save(4, {'parameters': parameters})
  model_file.write(str(tmp_path), {'': CONFIG})
  with pytest.raises(UserError, match='at step 4 of .* infinity in b/bias;'):
    trained_model.read(str(tmp_path))
  assert trained_model.read(str(tmp_path), step=3).step == 3


def test_a_model_stands_on_this_machine_or_at_home(
  directory, tmp_path, monkeypatch
):
  monkeypatch.setenv('HOME', str(directory.parent))
  found = trained_model.read(f'~/{directory.name}')
  assert (found.config, found.path) == (CONFIG, str(directory))
  with pytest.raises(UserError, match='on this machine, got .gs://bucket/run'):
    trained_model.read('gs://bucket/run')


def test_a_file_is_no_model(tmp_path):
  (tmp_path / 'vocab.txt').touch()
  with pytest.raises(UserError, match='there is no directory .*/vocab.txt; '):
    trained_model.best_run(str(tmp_path / 'vocab.txt'))


@pytest.mark.parametrize(
  'name, changes, words',
  [
    ('model.json', {'width': 8}, 'of shape'),
    ('model.json', {'layers': 3}, r'encoder/layer_01/.*of shape \(.*got None'),
    ('model.json', {'vocabulary_size': 65}, 'embeddings/token'),
    ('model.json', {'heads': 4}, 'of shape'),
    ('model.json', {'positions': 8}, r'of shape \(8, 16\).*got \(512, 16\)'),
    ('model.json', {'feed_forward': 8}, 'of shape'),
    ('model.json', {'position_scheme': 'x'}, "got 'x'"),
    ('task.json', {'labels': ['a', 'b', 'c']}, 'classifier of 3 numbers'),
    ('task.json', {'labels': ['a']}, 'classifier of 1 numbers'),
    ('task.json', {'labels': []}, 'of 0 numbers.*classifier of 2 numbers'),
    ('task.json', {'labels': ['0', '0']}, 'labels that differ'),
    ('task.json', {'kind': 'number', 'metrics': ['pearson']}, 'of 1 numbers'),
    ('task.json', {'kind': 'clases'}, "did you mean 'classes'"),
    ('task.json', {'head': 'tag_head'}, "got 'tag_head'"),
    ('task.json', {'head': 'hed'}, "got 'hed'"),
    ('task.json', {'metrics': ['acuracy']}, "did you mean 'accuracy'"),
    ('task.json', {'metrics': []}, 'metrics of text, got none'),
    ('task.json', {'length': 0}, 'got 0'),
    ('task.json', {'task': '../x'}, 'the name of a folder'),
  ],
)
def test_a_file_that_was_altered_by_hand_is_named(
  tmp_path, name, changes, words
):
  run = tmp_path / 'run'
  shutil.copytree(GOLDEN / 'fine_tuned' / 'text' / 'seed_0', run)
  path = run / name
  content = json.loads(path.read_text())
  content.get('encoder', content).update(changes)
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match=words) as caught:
    kinds.of_json(trained_model.read(str(run)).task)
  said = str(caught.value)
  assert str(path) in said and said.endswith('to write it anew')
  assert '; set' not in said


def test_a_kernel_that_refuses_short_rows_does_not_matter(tmp_path):
  run = tmp_path / 'run'
  shutil.copytree(GOLDEN / 'fine_tuned' / 'text' / 'seed_0', run)
  content = json.loads((run / 'model.json').read_text())
  content.get('encoder', content)['attention_kernel'] = 'splash'
  (run / 'model.json').write_text(json.dumps(content))
  found = trained_model.read(str(run))
  assert found.config.attention_kernel == 'splash'


def test_a_folder_without_a_checkpoint_says_what_to_do(tmp_path):
  (tmp_path / layout.RESULTS).write_text('{"tasks": []}')
  with pytest.raises(UserError, match='start the fine-tuning again'):
    trained_model.read(str(tmp_path))
  (tmp_path / layout.RESULTS).unlink()
  model_file.write(str(tmp_path), {'': CONFIG})
  with pytest.raises(UserError, match='no checkpoint yet; wait'):
    trained_model.read(str(tmp_path))
