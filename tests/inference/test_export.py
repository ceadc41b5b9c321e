import dataclasses
import errno
import json
import os

import jax
import numpy as np
import pytest
from flax.core import meta

from bertjax import batch
from bertjax.errors import UserError
from bertjax.inference import export
from bertjax.interop import huggingface
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.runs import model_file
from bertjax.runs.checkpoints import Checkpoints
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS, write
from bertjax.training import objectives, optimizer, state

CONFIG = EncoderConfig(
  vocabulary_size=16, width=8, layers=1, heads=2, feed_forward=16, positions=20
)


@pytest.fixture
def run_dir(tmp_path):
  folder = tmp_path / 'run'
  shapes = batch.shapes(2, 8, 2)
  created = state.create(
    objectives.MaskedLanguageModel(
      BertForPreTraining(CONFIG, next_sentence=False)
    ),
    optimizer.adamw(1e-3),
    shapes,
    partitioning.make_mesh(),
    seed=0,
  )
  with Checkpoints(str(folder / 'checkpoints')) as checkpoints:
    checkpoints.save(7, created.replace(step=np.int32(7)))
  model_file.write(str(folder), {'': CONFIG})
  write([*SPECIAL_TOKENS, 'A'], str(folder / 'vocab.txt'), cased=False)
  (folder / 'config.gin').write_text('SEED = 0\n')
  lines = [
    {'step': 3, 'eval/mlm_accuracy': 0.1},
    {
      'step': 7,
      'train/loss': 1.0,
      'eval/mlm_accuracy': 0.25,
      'eval/mlm_loss': None,
    },
  ]
  (folder / 'metrics.jsonl').write_text(
    ''.join(json.dumps(line) + '\n' for line in lines) + '{"step": 9, "ev'
  )
  return folder, jax.device_get(created.parameters)


def test_a_run_becomes_a_directory_with_a_card(run_dir, tmp_path):
  folder, parameters = run_dir
  output = tmp_path / 'model'
  export.export(model=str(folder), output=str(output), dry_run=True)
  assert not output.exists()
  export.export(model=str(folder), output=str(output))
  checkpoint = huggingface.read(str(output))
  jax.tree.map(np.testing.assert_array_equal, checkpoint.parameters, parameters)
  card = (output / 'README.md').read_text()
  assert 'eval/mlm_accuracy | 0.2500' in card and '0.1' not in card
  assert 'eval/mlm_loss | nan' in card and 'train/loss' not in card
  assert "AutoModelForMaskedLM.from_pretrained('model')" in card
  assert 'SEED = 0' in card and 'lower-cased' in card
  assert sorted(os.listdir(tmp_path)) == ['model', 'run']
  tokenizer = json.loads((output / 'tokenizer_config.json').read_text())
  assert tokenizer['do_lower_case'] and tokenizer['model_max_length'] == 20


def test_a_hugging_face_directory_is_written_anew_and_keeps_its_card(
  run_dir, tmp_path, capsys
):
  folder, parameters = run_dir
  first, second, bare = (str(tmp_path / name) for name in ('1', '2', '3'))
  export.export(model=str(folder), output=first)
  (tmp_path / '1' / 'README.md').write_text('Mine.')
  capsys.readouterr()
  export.export(model=first, output=second)
  assert f'{second}: {first}, for AutoModelForM' in capsys.readouterr().out
  found = huggingface.read(second).parameters
  jax.tree.map(np.testing.assert_array_equal, found, parameters)
  assert (tmp_path / '2' / 'README.md').read_text() == 'Mine.'
  (tmp_path / '1' / 'README.md').unlink()
  export.export(model=first, output=bare)
  assert not (tmp_path / '3' / 'README.md').exists()
  with pytest.raises(UserError, match='no checkpoint of step 7; set STEP'):
    export.export(model=first, output=str(tmp_path / '4'), step=7)


def test_an_average_of_checkpoints_is_written_and_named(
  run_dir, tmp_path, capsys
):
  folder, parameters = run_dir
  doubled = jax.tree.map(lambda x: 3 * x, parameters)
  with Checkpoints(str(folder / 'checkpoints')) as checkpoints:
    state = {'step': np.int32(9), 'parameters': doubled}
    checkpoints.save(9, state)
  output = str(tmp_path / 'model')
  export.export(model=str(folder), output=output, average=2)
  assert 'average of the steps 7, 9 of' in capsys.readouterr().out
  found = huggingface.read(output).parameters
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, 2 * y, rtol=1e-6),
    found,
    parameters,
  )
  card = (tmp_path / 'model' / 'README.md').read_text()
  assert 'for 9 steps, the average of those at 7, 9.' in card
  assert 'None of the average.' in card
  with pytest.raises(UserError, match='None without AVERAGE.*AVERAGE_DECAY'):
    export.export(
      model=str(folder), output=str(tmp_path / 'new'), average_decay=0.5
    )


def test_nothing_is_written_over(run_dir, tmp_path):
  folder, _ = run_dir
  with pytest.raises(UserError, match='holds something; set OUTPUT'):
    export.export(model=str(folder), output=str(folder))
  with pytest.raises(UserError, match='has neither'):
    export.export(model=str(tmp_path), output=str(tmp_path / 'new'))


def test_an_export_replaces_another_on_demand(run_dir, tmp_path):
  folder, _ = run_dir
  (tmp_path / 'model').mkdir()
  (tmp_path / 'model' / 'old.json').touch()
  settings = {'model': str(folder), 'output': str(tmp_path / 'model')}
  with pytest.raises(UserError, match='OVERWRITE=True'):
    export.export(**settings)
  export.export(**settings, overwrite=True)
  names = os.listdir(tmp_path / 'model')
  assert 'model.safetensors' in names and 'old.json' not in names
  with pytest.raises(UserError, match='holds the input'):
    export.export(model=str(folder), output=str(folder), overwrite=True)


def test_a_full_disk_leaves_no_export(run_dir, tmp_path, full_disk):
  folder, _ = run_dir
  export.export(model=str(folder), output=str(tmp_path / 'before'))
  with full_disk(), pytest.raises(UserError, match='free space there or set O'):
    export.export(model=str(folder), output=str(tmp_path / 'model'))
  assert sorted(os.listdir(tmp_path)) == ['before', 'run']


def test_a_place_that_cannot_be_written_is_one_line(
  run_dir, tmp_path, monkeypatch
):
  folder, _ = run_dir
  below = str(folder / 'config.gin' / 'model')
  with pytest.raises(UserError, match='config.gin is no folder; set OUTPUT'):
    export.export(model=str(folder), output=below, dry_run=True)
  output = str(tmp_path / 'model')
  replace = os.replace

  def full(source, target):
    if str(target) == output:
      raise OSError(errno.ENOSPC, 'No space left')
    replace(source, target)

  monkeypatch.setattr(os, 'replace', full)
  with pytest.raises(UserError, match=f'{output}: No space left'):
    export.export(model=str(folder), output=output)
  assert os.listdir(tmp_path) == ['run']


@pytest.mark.parametrize(
  'heads, name',
  [
    ((), 'AutoModel'),
    (('pooler',), 'AutoModel'),
    (('pooler', 'mlm_head', 'nsp_head'), 'AutoModelForPreTraining'),
    (('mlm_head',), 'AutoModelForMaskedLM'),
    (('pooler', 'mlm_head'), 'AutoModelForMaskedLM'),
    (('pooler', 'classifier'), 'AutoModelForSequenceClassification'),
    (('tag_head',), 'AutoModelForTokenClassification'),
    (('pooler', 'span_head'), 'AutoModelForQuestionAnswering'),
  ],
)
def test_the_card_names_the_class_that_has_the_heads(heads, name):
  assert export.auto_class(heads, CONFIG) == name


def test_a_dry_run_refuses_what_transformers_does_not_have(
  run_dir, tmp_path, monkeypatch
):
  folder, _ = run_dir
  load = export.Predictor.load

  def with_two_heads(*arguments):
    predictor = load(*arguments)
    predictor.parameters['span_head'] = {}
    return predictor

  monkeypatch.setattr(export.Predictor, 'load', with_two_heads)
  with pytest.raises(UserError, match='heads mlm_head . span_head'):
    export.export(model=str(folder), output=str(tmp_path / 'x'), dry_run=True)


@pytest.mark.parametrize(
  'changes, title, tag',
  [
    ({'types': 1}, 'RoBERTa', 'roberta'),
    (
      {
        'types': 0,
        'position_scheme': 'rotary',
        'block_order': 'pre',
        'first_norm': False,
        'feed_forward_block': 'gated',
        'shared_head': True,
      },
      'ModernBERT',
      'modernbert',
    ),
  ],
)
def test_a_card_names_the_family(tmp_path, monkeypatch, changes, title, tag):
  config = dataclasses.replace(CONFIG, **changes)
  model = BertForPreTraining(config, next_sentence=False)
  example = batch.synthetic(1, 8, 2, 16, seed=0)
  parameters = meta.unbox(
    model.init(jax.random.key(0), example, train=False)['params']
  )
  tokenizer = Tokenizer([*SPECIAL_TOKENS, 'A'], cased=False)
  predictor = export.Predictor(config, parameters, tokenizer, step=3)
  monkeypatch.setattr(export.Predictor, 'load', lambda *_: predictor)
  run, output = tmp_path / 'run', tmp_path / 'model'
  run.mkdir()
  (run / 'config.gin').write_text('SEED = 0\n')
  export.export(model=str(run), output=str(output))
  card = (output / 'README.md').read_text()
  assert f'tags: [{tag}, bertjax]' in card
  assert f'# {title}, pretrained with bertjax' in card
  assert "AutoModelForMaskedLM.from_pretrained('model')" in card
  found = huggingface.read(str(output))
  assert found.config.types == config.types
  jax.tree.map(np.testing.assert_array_equal, found.parameters, parameters)


def test_what_no_family_has_is_one_line(run_dir, tmp_path, monkeypatch):
  folder, _ = run_dir
  load = export.Predictor.load

  def with_another_norm(*arguments):
    predictor = load(*arguments)
    config = dataclasses.replace(predictor.config, norm='rms_norm')
    return dataclasses.replace(predictor, config=config)

  monkeypatch.setattr(export.Predictor, 'load', with_another_norm)
  words = "no BERT with norm 'rms_norm' .only 'layer_norm'., so this model can"
  with pytest.raises(UserError, match=words):
    export.export(model=str(folder), output=str(tmp_path / 'x'), dry_run=True)
