"""Pretraining goes on from a model, with its architecture and vocabulary."""

import re
import shutil

import jax
import numpy as np
import pytest

from bertjax import main
from bertjax.runs import model_file, trained_model
from tests.test_end_to_end import checkpoint, metrics, write_corpus

SMALL = {'TRAIN_STEPS': 4, 'BATCH_SIZE': 8, 'LENGTH': 32}
SIZES = {'width': 32, 'layers': 4, 'heads': 2, 'feed_forward': 48}


def pretrain(*words, status=0, **macros):
  flags = [f'--gin.{name}={x}' for name, x in (SMALL | macros).items()]
  assert main.main(['main', 'pretrain_text', *words, *flags]) == status


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return write_corpus(tmp_path_factory.mktemp('text') / 'text.txt')


@pytest.fixture(scope='module')
def start(corpus, tmp_path_factory):
  """A tiny ModernBERT, of which no recipe has the architecture."""
  run_dir = tmp_path_factory.mktemp('start') / 'run'
  pretrain(
    'modernbert_tiny',
    *(f'--gin.EncoderConfig.{name}={x}' for name, x in SIZES.items()),
    TEXT_FILES=corpus,
    RUN_DIR=run_dir,
    TOKENIZER='bpe',
    VOCAB_SIZE=300,
    **{'EncoderConfig.positions': 64, 'EncoderConfig.local_window': 8},
  )
  return run_dir


@pytest.fixture(scope='module')
def bert(corpus, tmp_path_factory):
  run_dir = tmp_path_factory.mktemp('bert') / 'run'
  pretrain(
    *(f'--gin.EncoderConfig.{name}={x}' for name, x in SIZES.items()),
    TEXT_FILES=corpus,
    RUN_DIR=run_dir,
    VOCAB_SIZE=300,
    TRAIN_STEPS=1,
  )
  return run_dir


def test_one_command_goes_on_from_a_run_and_resumes_without_it(
  start, corpus, tmp_path, capsys
):
  moved = shutil.copytree(start, tmp_path / 'moved')
  whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
  macros = {'TEXT_FILES': corpus, 'INIT_FROM': moved, 'CHECKPOINT_STEPS': 2}
  macros |= {'LOG_STEPS': 1, 'EncoderConfig.dropout': 0.2}
  capsys.readouterr()
  pretrain(**macros, RUN_DIR=whole)
  said = capsys.readouterr().out
  assert f'INIT_FROM: 4 layers of width 32 in {moved}, with' in said
  assert "block_order 'pre', first_norm False" in said
  assert '41 of 41 parameters come from INIT_FROM' in said
  there, here = (model_file.read(str(path)) for path in (start, whole))
  assert there.position_scheme == here.position_scheme == 'rotary'
  assert (whole / 'tokenizer.json').read_bytes() == (
    start / 'tokenizer.json'
  ).read_bytes()
  began = checkpoint(whole, 0)
  for name, given in checkpoint(start, 4).items():
    if "['parameters']" in name:
      # Rows that only fill the token table up are zeros, and never predicted.
      known = 300 * SIZES['width'] * 4 if 'token' in name else None
      known = 300 * 4 if 'mlm_head' in name else known
      assert began[name][:known] == given[:known], name
  # Before its first step it measures what it was given.
  last = metrics(start)[4]['eval/mlm_loss']
  assert metrics(whole)[0]['eval/mlm_loss'] == pytest.approx(last, rel=1e-6)
  shutil.copytree(whole, resumed)
  shutil.rmtree(resumed / 'checkpoints' / '4')
  shutil.rmtree(moved)
  pretrain(**macros, RUN_DIR=resumed)
  assert metrics(resumed) == metrics(whole)
  assert checkpoint(resumed, 4) == checkpoint(whole, 4)


@pytest.mark.slow
def test_a_second_phase_has_longer_rows_and_another_base(
  start, corpus, tmp_path, capfd, errors
):
  later = {
    'EncoderConfig.positions': 128,
    'EncoderConfig.rotary_base': 80000.0,
    'LENGTH': 128,
    'TEXT_FILES': corpus,
    'INIT_FROM': start,
    'RUN_DIR': tmp_path / 'run',
  }
  pretrain('--dry_run', status=2, **later)
  (line,) = errors(capfd.readouterr().err)
  assert 'brings its own positions, 64, but' in line
  pretrain('--dry_run', CHANGES='positions,rotary_base', **later)
  told = capfd.readouterr().out
  assert 'INIT_FROM: positions changes from 64 to 128\n' in told
  assert 'INIT_FROM: rotary_base changes from 160000.0 to 80000.0\n' in told
  assert '41 of 41 parameters come from INIT_FROM' in told


@pytest.mark.slow
def test_a_larger_model_grows_from_it(start, corpus, tmp_path, capfd, errors):
  large = {'width': 64, 'heads': 4, 'layers': 4, 'feed_forward': 96}
  macros = {'INIT_FROM': start, 'TRAIN_STEPS': 1, 'DROPOUT': 0}
  macros |= {'TEXT_FILES': corpus, 'LOG_STEPS': 1}
  words = [f'--gin.EncoderConfig.{name}={x}' for name, x in large.items()]
  pretrain(**macros, RUN_DIR=tmp_path / 'small')
  pretrain(*words, **macros, TILE=True, RUN_DIR=tmp_path / 'large')
  assert model_file.read(str(tmp_path / 'large')).width == 64
  then, now = (
    metrics(tmp_path / x)[1]['train/mlm_loss'] for x in ('small', 'large')
  )
  assert now == pytest.approx(then, abs=1e-4)
  capfd.readouterr()
  words[0] = '--gin.EncoderConfig.width=32'
  pretrain(*words, **macros, TILE=True, RUN_DIR=tmp_path / 'other', status=2)
  (line,) = errors(capfd.readouterr().err)
  assert 'expected heads of width 16, as in INIT_FROM, got 8' in line


@pytest.mark.slow
def test_a_prepared_corpus_has_its_vocabulary(
  start, bert, tmp_path, capfd, errors
):
  same, other = (
    next(x for x in (run_dir / 'corpus').iterdir() if x.is_dir())
    for run_dir in (start, bert)
  )
  macros = {'INIT_FROM': start, 'RUN_DIR': tmp_path / 'run', 'TRAIN_STEPS': 1}
  pretrain(CORPUS_DIR=same, **macros)
  macros['RUN_DIR'] = tmp_path / 'other'
  capfd.readouterr()
  pretrain(status=2, CORPUS_DIR=other, **macros)
  (line,) = errors(capfd.readouterr().err)
  assert 'another vocabulary than the corpus in' in line


@pytest.mark.slow
def test_one_command_goes_on_from_a_hugging_face_directory(
  start, corpus, tmp_path
):
  directory, run_dir = tmp_path / 'modernbert', tmp_path / 'run'
  export(start, directory)
  macros = {'TEXT_FILES': corpus, 'INIT_FROM': directory, 'TRAIN_STEPS': 1}
  pretrain(RUN_DIR=run_dir, **macros)
  found = trained_model.read(str(run_dir), step=0)
  assert found.config.layer_pattern == 'local_global'
  assert 'nsp_head' not in found.parameters
  jax.tree.map(
    np.testing.assert_array_equal,
    found.parameters['encoder'],
    trained_model.read(str(start)).parameters['encoder'],
  )


@pytest.mark.slow
def test_a_dry_run_says_what_a_bert_would_give(bert, corpus, tmp_path, capsys):
  export(bert, tmp_path / 'bert')
  capsys.readouterr()
  macros = {'TEXT_FILES': corpus, 'INIT_FROM': tmp_path / 'bert'}
  pretrain('--dry_run', RUN_DIR=tmp_path / 'run', **macros)
  told = capsys.readouterr().out
  assert re.search(r'(\d+) of \1 parameters come from INIT_FROM', told)
  # BERT has types of sentences, so the head for pairs is among them.
  assert 'NEWLY' not in told and 'NOT used' not in told


def export(run_dir, output):
  words = ['main', 'export', f'--gin.MODEL={run_dir}', f'--gin.OUTPUT={output}']
  assert main.main(words) == 0
