"""Whole runs on a rule that a small model learns: is there an x in the text?"""

import dataclasses
import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from bertjax.errors import RunStopped, UserError
from bertjax.finetuning import finetune
from bertjax.inference import export, on_files
from bertjax.inference.predictor import Predictor
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.tasks import data_sets
from bertjax.text.vocabulary_file import SPECIAL_TOKENS, write
from bertjax.training import loop, optimizer, schedules, signals

TOKENS = [*SPECIAL_TOKENS, *'abcdefx']
CONFIG = functools.partial(
  EncoderConfig,
  width=16,
  layers=2,
  heads=2,
  feed_forward=32,
  positions=24,
  initializer_stddev=0.3,
)


def texts(count, seed):
  rng = np.random.default_rng(seed)
  for _ in range(count):
    letters = list(rng.choice(list('abcdef'), rng.integers(2, 9)))
    if rng.random() < 0.4:
      letters[rng.integers(len(letters))] = 'x'
    yield ' '.join(letters), 'with' if 'x' in letters else 'without'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('texts')
  for name, count, seed in (('train', 512, 0), ('dev', 101, 1)):
    (folder / f'{name}.tsv').write_text(
      'text\tlabel\n'
      + ''.join(f'{text}\t{label}\n' for text, label in texts(count, seed))
    )
  write(TOKENS, str(folder / 'vocab.txt'), cased=False)
  return folder


def run(folder, run_dir, sets=None, **changes):
  if sets is None:
    sets = data_sets.text(
      str(folder / 'train.tsv'), str(folder / 'dev.tsv'), 'text', 'label'
    )
  finetune.fine_tune(
    data_sets=sets,
    run_dir=str(run_dir),
    optimizer=optimizer.adamw,
    schedule=functools.partial(schedules.warmup_linear, warmup_steps=None),
    **{
      'epochs': 6,
      'batch_size': 16,
      'length': 16,
      'dropout': 0.0,
      'learning_rate': 5e-3,
      'log_steps': 50,
      'mesh': partitioning.make_mesh(devices=jax.devices()[:1]),
      'config': CONFIG,
      'vocab_file': str(folder / 'vocab.txt'),
      **changes,
    },
  )


@pytest.fixture(scope='module')
def done(folder, tmp_path_factory):
  run_dir = tmp_path_factory.mktemp('runs') / 'x'
  run(folder, run_dir, seeds=(0, 1))
  return run_dir


def test_every_seed_learns_and_stands_in_the_table(done):
  (row,) = json.loads((done / 'results.json').read_text())['tasks']
  assert row['seeds'] == [0, 1] and row['metrics'] == ['accuracy', 'f1_macro']
  labels = [label for _, label in texts(101, 1)]
  share = labels.count('without') / 101
  assert row['scores']['eval/accuracy_baseline'] == pytest.approx([share] * 2)
  assert min(row['scores']['eval/accuracy']) > 0.95
  assert '| text | Accuracy |' in (done / 'results.md').read_text()


def test_a_run_that_is_done_is_not_run_again(done, folder, monkeypatch):
  monkeypatch.setattr(loop, 'train', None)
  before = (done / 'results.json').read_text()
  run(folder, done, seeds=(0, 1))
  assert (done / 'results.json').read_text() == before


def test_prediction_takes_the_best_run_and_gives_its_score(
  done, folder, tmp_path, capsys
):
  (row,) = json.loads((done / 'results.json').read_text())['tasks']
  best = max(row['scores']['eval/accuracy'])
  on_files.evaluate(model=str(done), files=str(folder / 'dev.tsv'))
  values = json.loads(capsys.readouterr().out)
  assert values['examples'] == 101
  assert values['accuracy'] == pytest.approx(best)
  output = tmp_path / 'out.jsonl'
  on_files.predict_file(
    model=str(done), source=str(folder / 'dev.tsv'), output=str(output)
  )
  records = [json.loads(line) for line in output.read_text().splitlines()]
  right = [
    record['label'] == label
    for record, (_, label) in zip(records, texts(101, 1), strict=True)
  ]
  assert np.mean(right) == pytest.approx(best)
  assert sum(records[0]['scores'].values()) == pytest.approx(1)


def test_packing_and_layer_settings_train_as_well(folder, tmp_path):
  run(
    folder,
    tmp_path / 'packed',
    pack=True,
    seeds=3,
    layer_decay=0.9,
    class_weights='balanced',
    head_dropout=0.1,
  )
  (row,) = json.loads((tmp_path / 'packed' / 'results.json').read_text())[
    'tasks'
  ]
  assert row['scores']['eval/accuracy'][0] > 0.95


def test_a_stopped_run_goes_on_where_it_stood(folder, tmp_path, monkeypatch):
  def curve(name):
    lines = (tmp_path / name / 'text' / 'seed_0' / 'metrics.jsonl').read_text()
    return [
      {k: v for k, v in json.loads(line).items() if 'speed' not in k}
      for line in lines.splitlines()
    ]

  run(folder, tmp_path / 'whole', seeds=0, epochs=3)

  class StopsSoon(signals.Stop):
    count = 0

    def agreed(self):
      StopsSoon.count += 1
      return 15 if StopsSoon.count > 50 else 0

  with monkeypatch.context() as patch:
    patch.setattr(signals, 'Stop', StopsSoon)
    with pytest.raises(RunStopped):
      run(folder, tmp_path / 'cut', seeds=0, epochs=3)
  run(folder, tmp_path / 'cut', seeds=0, epochs=3)
  assert curve('cut') == curve('whole')


@pytest.mark.slow
def test_early_stopping_ends_a_run_that_gets_no_better(folder, tmp_path):
  run(folder, tmp_path / 'x', seeds=0, epochs=50, patience=2)
  lines = (tmp_path / 'x' / 'text' / 'seed_0' / 'metrics.jsonl').read_text()
  records = [json.loads(line) for line in lines.splitlines()]
  found = [r['eval/accuracy'] for r in records if 'eval/accuracy' in r]
  best = found.index(max(found))
  assert len(found) == best + 3 < 50


def test_an_exported_run_predicts_the_same(done, tmp_path):
  export.export(model=str(done), output=str(tmp_path / 'hf'))
  attributes = json.loads((tmp_path / 'hf' / 'config.json').read_text())
  assert attributes['id2label'] == {'0': 'with', '1': 'without'}
  assert attributes['problem_type'] == 'single_label_classification'
  assert attributes['architectures'] == ['BertForSequenceClassification']
  card = (tmp_path / 'hf' / 'README.md').read_text()
  assert 'fine-tuned on text' in card and '| eval/accuracy |' in card
  ours, theirs = (
    Predictor.load(str(path)).classify(['a x b', 'c'], 16)
    for path in (done, tmp_path / 'hf')
  )
  for a, b in zip(ours, theirs, strict=True):
    assert a['label'] == b['label']
    assert a['scores'] == pytest.approx(b['scores'], abs=1e-6)


def test_another_task_starts_from_the_encoder_of_a_run(
  done, folder, tmp_path, capsys
):
  conll = tmp_path / 'train.txt'
  conll.write_text(
    '\n\n'.join(
      '\n'.join(f'{w} {"B-X" if w == "x" else "O"}' for w in text.split())
      for text, _ in texts(300, 5)
    )
  )
  run(
    folder,
    tmp_path / 'tags',
    data_sets.tags(str(conll), str(conll)),
    init_from=str(done),
    vocab_file=None,
    seeds=(0, 1),
    epochs=2,
  )
  said = capsys.readouterr().out  # once for both seeds
  assert said.count('tag_head is NEWLY INITIALISED') == 1
  assert said.count('parameters: ') == 1
  (row,) = json.loads((tmp_path / 'tags' / 'results.json').read_text())['tasks']
  assert row['scores']['eval/f1'][0] > 0.95
  predicted = Predictor.load(str(tmp_path / 'tags')).tag(
    [['a', 'x'], ['x']], 16
  )
  assert predicted == [['O', 'B-X'], ['B-X']]
  on_files.predict_file(
    model=str(tmp_path / 'tags'),
    source=str(conll),
    output=str(tmp_path / 'out.txt'),
  )
  assert (tmp_path / 'out.txt').read_text().splitlines()[0].count(' ') == 2


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'activation': 'relu'}, "activation, 'gelu', but .*'relu'; leave it out"),
    ({'positions': 32}, 'own positions, 24, but .* is 32; leave it out'),
  ],
)
def test_what_the_model_to_start_from_brings_is_not_set(
  done, folder, tmp_path, changes, words
):
  config = functools.partial(CONFIG, **changes)
  with pytest.raises(UserError, match=words):
    run(folder, tmp_path / 'x', config=config, init_from=str(done))
  assert not list(tmp_path.iterdir())


def test_what_is_not_used_is_told(done, folder, tmp_path, capsys):
  start = {'init_from': str(done), 'dry_run': True}
  run(folder, tmp_path / 'x', **start)
  assert 'not used' not in capsys.readouterr().out
  config = functools.partial(CONFIG, layers=4, dtype='bfloat16')
  nowhere = str(tmp_path / 'vocab.txt')
  run(folder, tmp_path / 'x', config=config, vocab_file=nowhere, **start)
  said = capsys.readouterr().out
  told = f"dtype 'bfloat16' (there None), VOCAB_FILE {nowhere}\n"
  assert f'these are not used: EncoderConfig.{told}' in said


def test_a_length_beyond_the_model_to_start_from_says_the_most(
  done, folder, tmp_path
):
  with pytest.raises(UserError, match='in INIT_FROM; set a .* up to 24$'):
    run(folder, tmp_path / 'x', init_from=str(done), length=99)


def test_data_sets_that_cannot_be_are_refused(folder, tmp_path):
  (one,) = data_sets.text(
    str(folder / 'train.tsv'), str(folder / 'dev.tsv'), 'text', 'label'
  )
  with pytest.raises(UserError, match='got none; set fine_tune.data_sets'):
    run(folder, tmp_path / 'x', [])
  with pytest.raises(UserError, match="got .'text', 'text'.; set"):
    run(folder, tmp_path / 'x', [one, one])
  task = dataclasses.replace(one.task, metrics=('acuracy',))
  with pytest.raises(UserError, match="did you mean 'accuracy'"):
    run(folder, tmp_path / 'x', [dataclasses.replace(one, task=task)])


def test_files_of_glue_with_one_label_are_refused(folder, tmp_path):
  (tmp_path / 'SST-2').mkdir()
  for split in ('train', 'dev'):
    path = tmp_path / 'SST-2' / f'{split}.tsv'
    path.write_text('sentence\tlabel\n' + 'a\t1\n' * 5)
  glue = data_sets.glue(str(tmp_path))
  with pytest.raises(UserError, match="'positive' for all 5 .*DATA_DIR"):
    run(folder, tmp_path / 'x', glue)
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'vocab_file': None}, 'INIT_FROM.*VOCAB_FILE'),
    ({'seeds': (1, 1)}, 'distinct seeds.*SEEDS'),
    ({'class_weights': (1.0,)}, 'CLASS_WEIGHTS'),
    ({'length': 99}, 'LENGTH 99 exceeds the 24 positions'),
    ({'select': 'first'}, 'fine_tune.select'),
    ({'epochs': 0}, 'fine_tune.epochs'),
    ({'epochs': 1e12}, 'at most 1,000,000,000 steps.*set EPOCHS'),
    ({'select': 'last', 'patience': 2}, "SELECT 'best'"),
    ({'batch_size': 0}, 'fine_tune.batch_size'),
    ({'epoch': 3}, "did you mean 'epochs'"),
    ({'kind': 'tags'}, 'got .kind.'),
    ({'stride': 9}, "windows for STRIDE, got .'classes'.; set STRIDE to None"),
  ],
)
def test_what_cannot_work_is_one_line(folder, tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    run(folder, tmp_path / 'x', **changes)
  assert not list(tmp_path.iterdir())
