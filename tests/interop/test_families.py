"""Directories of RoBERTa and ModernBERT: every head, both ways."""

import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from bertjax import batch
from bertjax.errors import UserError
from bertjax.interop import config_json, huggingface, names
from bertjax.models.bert import BertForPreTraining, BertForTask
from bertjax.models.config import EncoderConfig
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

SIZES = {
  'vocabulary_size': 60,
  'width': 12,
  'layers': 4,
  'heads': 3,
  'feed_forward': 20,
  'positions': 9,
}
BIASES = ('norm_bias', 'attention_bias', 'feed_forward_bias', 'head_bias')
ROBERTA = EncoderConfig(**SIZES, types=1, initializer='normal')
MODERN = EncoderConfig(
  **SIZES,
  **dict.fromkeys(BIASES, False),
  types=0,
  position_scheme='rotary',
  block_order='pre',
  first_norm=False,
  feed_forward_block='gated',
  layer_pattern='local_global',
  local_window=4,
  shared_head=True,
  initializer='megatron',
)
BIASED = dataclasses.replace(
  MODERN, **dict.fromkeys(BIASES, True), decoder_bias=False
)
CONFIGS = {'roberta': ROBERTA, 'modernbert': MODERN, 'biased': BIASED}
TASKS = {
  'classifier': 'SequenceClassification',
  'tag_head': 'TokenClassification',
  'span_head': 'QuestionAnswering',
}
PADDING = 3
TOKENIZER = Tokenizer(
  ['a', 'b', 'c', *SPECIAL_TOKENS, *'defghijk'], cased=False
)


def make_params(config, head=None):
  """Returns random parameters of the model's own shapes: of a head, or all."""
  example = batch.synthetic(1, 8, 2, 60, seed=0)
  if head in TASKS:
    model = BertForTask(config, head, 2 if head == 'span_head' else 5)
  else:
    model = BertForPreTraining(config, next_sentence=head == 'nsp_head')
  boxed = jax.eval_shape(
    lambda: model.init(jax.random.key(0), example, train=False)
  )['params']
  shapes = jax.tree.map(
    lambda box: box.value.shape, boxed, is_leaf=lambda x: hasattr(x, 'names')
  )
  random = np.random.default_rng(0)
  parameters = jax.tree.map(
    lambda shape: random.normal(size=shape).astype(np.float32),
    shapes,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  if head == 'none':
    return {k: parameters[k] for k in ('embeddings', 'encoder')}
  return parameters


def save(folder, config, head=None, **more):
  parameters = make_params(config, head)
  huggingface.save(str(folder), config, parameters, TOKENIZER, **more)
  return parameters


def tensors_of(folder):
  return safetensors.numpy.load_file(folder / 'model.safetensors')


def rewrite(folder, change):
  path = folder / 'model.safetensors'
  safetensors.numpy.save_file(change(tensors_of(folder)), path)


def set_attributes(folder, **changes):
  path = folder / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_equal(parameters, expected):
  assert jax.tree.structure(parameters) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, parameters, expected)


@pytest.mark.parametrize('head', ['none', None, *TASKS])
@pytest.mark.parametrize('name', CONFIGS)
def test_export_then_import_is_the_identity_with_every_head(
  tmp_path, capsys, name, head
):
  config = CONFIGS[name]
  parameters = save(tmp_path, config, head)
  assert capsys.readouterr().out == ''
  found = huggingface.read(str(tmp_path))
  assert found.config == config and found.unused == ()
  assert_equal(found.parameters, parameters)
  attributes = json.loads((tmp_path / 'config.json').read_text())
  prefix = 'Roberta' if name == 'roberta' else 'ModernBert'
  ending = {'none': 'Model', None: 'ForMaskedLM'}.get(head)
  assert attributes['architectures'] == [
    prefix + (ending or f'For{TASKS[head]}')
  ]
  kind = {'classifier': 'classes', 'tag_head': 'tags', 'span_head': 'spans'}
  assert (found.task or {}).get('kind') == kind.get(head)
  beside = names.to_huggingface(
    parameters, config, PADDING + 1 if name == 'roberta' else 0
  )
  base = {'roberta': 'roberta.', 'modernbert': 'model.', 'biased': 'model.'}
  if head == 'none':  # transformers saves it without the prefix
    beside = {k.removeprefix(base[name]): x for k, x in beside.items()}
  assert tensors_of(tmp_path).keys() == beside.keys()


@pytest.mark.parametrize('name', CONFIGS)
def test_a_decoder_of_its_own_goes_both_ways(tmp_path, name):
  config = dataclasses.replace(CONFIGS[name], tied_decoder=False)
  parameters = save(tmp_path, config)
  found = huggingface.read(str(tmp_path))
  assert found.config == config and found.unused == ()
  assert_equal(found.parameters, parameters)
  decoder = config_json.family_of(config).decoder
  rewrite(tmp_path, lambda t: {k: x for k, x in t.items() if k != decoder})
  with pytest.raises(UserError, match=f'{decoder}.*tie_word_embeddings = fals'):
    huggingface.read(str(tmp_path))


@pytest.mark.parametrize('name', CONFIGS)
def test_shards_half_precision_and_a_copy_of_the_table_are_read(tmp_path, name):
  config = CONFIGS[name]
  parameters = save(tmp_path, config)
  family = config_json.family_of(config)
  path = tmp_path / 'model.safetensors'
  tensors = tensors_of(tmp_path)
  tensors[family.decoder] = tensors[family.token_table].copy()
  path.unlink()
  index = {}
  for i in range(3):
    part = dict(sorted(tensors.items())[i::3])
    part = {k: x.astype(ml_dtypes.bfloat16) for k, x in part.items()}
    safetensors.numpy.save_file(part, tmp_path / f'part-{i}.safetensors')
    index |= dict.fromkeys(part, f'part-{i}.safetensors')
  (tmp_path / 'model.safetensors.index.json').write_text(
    json.dumps({'weight_map': index})
  )
  found = huggingface.read(str(tmp_path))
  assert found.config == config and found.unused == ()
  assert_equal(
    found.parameters,
    jax.tree.map(
      lambda x: x.astype(ml_dtypes.bfloat16).astype(np.float32), parameters
    ),
  )


def test_a_decoder_that_lacks_its_bias_is_reported(tmp_path):
  save(tmp_path, dataclasses.replace(MODERN, tied_decoder=False))
  rewrite(tmp_path, lambda t: {k: x for k, x in t.items() if 'r.bias' not in k})
  found = huggingface.read(str(tmp_path))
  assert found.unused == ('decoder.weight',)
  assert names.heads_of(found.parameters) == ('prediction_head',)


def test_rows_that_pad_the_vocabulary_stay_here(tmp_path):
  config = dataclasses.replace(
    MODERN, vocabulary_multiple=64, tied_decoder=False
  )
  parameters = save(tmp_path, config)
  tensors = tensors_of(tmp_path)
  for name in ('decoder.weight', 'decoder.bias'):
    assert len(tensors[name]) == 60
  assert len(tensors['model.embeddings.tok_embeddings.weight']) == 60
  found = huggingface.read(str(tmp_path)).parameters
  again = names.fit_vocabulary(found, config)
  assert again['mlm_head']['decoder'].shape == (64, 12)
  np.testing.assert_array_equal(
    again['mlm_head']['decoder'][:60], parameters['mlm_head']['decoder'][:60]
  )


def test_positions_of_roberta_begin_behind_the_id_of_its_padding(tmp_path):
  parameters = save(tmp_path, ROBERTA)
  attributes = json.loads((tmp_path / 'config.json').read_text())
  assert attributes['pad_token_id'] == PADDING == TOKENIZER.id_of('pad')
  assert attributes['bos_token_id'] == TOKENIZER.id_of('cls')
  assert attributes['eos_token_id'] == TOKENIZER.id_of('sep')
  assert attributes['max_position_embeddings'] == 9 + PADDING + 1
  name = 'roberta.embeddings.position_embeddings.weight'
  table = tensors_of(tmp_path)[name]
  assert not table[: PADDING + 1].any()
  np.testing.assert_array_equal(
    table[PADDING + 1 :], parameters['embeddings']['position']['embedding']
  )
  rewrite(tmp_path, lambda t: t | {name: t[name][1:]})
  with pytest.raises(UserError, match=r'\[13, 12\], got \[12, 12\]; mend max_'):
    huggingface.read(str(tmp_path))


def test_roberta_has_type_0_alone_as_its_tokenizers_give_it(tmp_path):
  save(tmp_path, ROBERTA)
  name = 'roberta.embeddings.token_type_embeddings.weight'
  rewrite(tmp_path, lambda t: t | {name: np.concatenate([t[name]] * 2)})
  set_attributes(tmp_path, type_vocab_size=2)
  found = huggingface.read(str(tmp_path))
  assert found.config == ROBERTA and found.unused == (f'{name}[1:]',)


def test_products_that_are_one_there_lie_behind_each_other():
  """As `unbind` and `chunk` in transformers' ModernBERT take them apart."""
  parameters = make_params(BIASED)
  tensors = names.to_huggingface(parameters, BIASED)
  layer = parameters['encoder']['layer_02']
  qkv = tensors['model.layers.2.attn.Wqkv.weight'].reshape(3, 3, 4, 12)
  for i, name in enumerate(('query', 'key', 'value')):
    kernel = layer['attention'][name]['kernel']  # [D, H, K]
    np.testing.assert_array_equal(qkv[i], np.moveaxis(kernel, 0, -1))
  gate, multiplied = np.split(tensors['model.layers.2.mlp.Wi.bias'], 2)
  np.testing.assert_array_equal(gate, layer['feed_forward']['gate']['bias'])
  np.testing.assert_array_equal(
    multiplied, layer['feed_forward']['input']['bias']
  )


@pytest.mark.parametrize(
  'config, head, change, words',
  [
    (MODERN, None, 'model.layers.1.attn.Wqkv.weight', 'lacks 1 of its tens'),
    (MODERN, None, 'model.final_norm.weight', 'lacks 1 of its tensors'),
    (BIASED, None, 'model.layers.3.mlp.Wi.bias', 'lacks 1 .*mlp.Wi.bias'),
    (ROBERTA, None, 'roberta.encoder.layer.1.output.dense.bias', 'lacks 1'),
    (MODERN, None, {'hidden_size': 24}, 'mend .*hidden_size'),
    (MODERN, None, {'intermediate_size': 21}, r'\[42, 12\], got \[40, 12\]'),
    (MODERN, None, {'num_hidden_layers': 7, 'layer_types': None}, 'lacks'),
    (MODERN, None, {'attention_bias': True}, 'lacks 8 .*Wo.bias'),
    (
      MODERN,
      'classifier',
      {'architectures': ['ModernBertForMultipleChoice']},
      'ModernBertForMultipleChoice, which compares choices',
    ),
    (
      ROBERTA,
      'tag_head',
      {'architectures': ['RobertaForMultipleChoice']},
      'RobertaForMultipleChoice, which compares choices',
    ),
    (
      MODERN,
      'tag_head',
      {'architectures': None},
      'architectures in .*config.json.*ModernBertForTokenClassification',
    ),
  ],
)
def test_what_does_not_fit_is_one_line(tmp_path, config, head, change, words):
  save(tmp_path, config, head)
  if isinstance(change, str):
    rewrite(tmp_path, lambda t: {k: x for k, x in t.items() if k != change})
  else:
    set_attributes(tmp_path, **change)
  with pytest.raises(UserError, match=words) as caught:
    huggingface.read(str(tmp_path))
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('config', [ROBERTA, MODERN])
def test_heads_without_a_place_are_left_out_aloud(tmp_path, capsys, config):
  parameters = save(tmp_path, config, 'nsp_head')
  name = config_json.family_of(config).prefix + 'ForMaskedLM'
  assert capsys.readouterr().out == (
    f'warning: NOT saved, since {name} has no place for it: pooler, nsp_head\n'
  )
  kept = {
    k: x for k, x in parameters.items() if k not in ('pooler', 'nsp_head')
  }
  assert_equal(huggingface.read(str(tmp_path)).parameters, kept)


def test_heads_that_no_class_has_together_are_refused(tmp_path):
  parameters = make_params(MODERN) | make_params(MODERN, 'classifier')
  with pytest.raises(UserError, match='no ModernBERT with the heads predictio'):
    huggingface.save(str(tmp_path), MODERN, parameters, TOKENIZER)
  del parameters['mlm_head'], parameters['classifier']
  with pytest.raises(UserError, match='the heads prediction_head; it has none'):
    huggingface.save(str(tmp_path), MODERN, parameters, TOKENIZER)
  config = dataclasses.replace(MODERN, norm='rms_norm')
  with pytest.raises(UserError, match="with norm 'rms_norm'"):
    huggingface.save(str(tmp_path), config, make_params(config), TOKENIZER)


@pytest.mark.parametrize('name', CONFIGS)
def test_special_ids_and_inputs_are_those_of_the_tokenizer(tmp_path, name):
  """Those of transformers' defaults are not in so small a vocabulary."""
  save(tmp_path, CONFIGS[name])
  attributes = json.loads((tmp_path / 'config.json').read_text())
  ids = {k: x for k, x in attributes.items() if k.endswith('_token_id')}
  assert {'pad_token_id', 'bos_token_id', 'eos_token_id'} <= ids.keys()
  assert set(ids.values()) == {
    TOKENIZER.id_of(role) for role in ('pad', 'cls', 'sep')
  }
  settings = json.loads((tmp_path / 'tokenizer_config.json').read_text())
  assert settings['model_input_names'] == ['input_ids', 'attention_mask']


def test_the_pooler_of_roberta_is_in_its_classifier_or_alone(tmp_path):
  parameters = save(tmp_path, ROBERTA, 'classifier')
  pooler = parameters['pooler']['kernel'].T
  tensors = tensors_of(tmp_path)
  np.testing.assert_array_equal(tensors['classifier.dense.weight'], pooler)
  extra = {
    f'roberta.pooler.dense.{x}': np.zeros_like(tensors[f'classifier.dense.{x}'])
    for x in ('weight', 'bias')
  }
  rewrite(tmp_path, lambda t: t | extra)
  found = huggingface.read(str(tmp_path))
  assert found.unused == tuple(sorted(extra))
  assert_equal(found.parameters, parameters)
  bare = {k: x for k, x in parameters.items() if k != 'classifier'}
  huggingface.save(str(tmp_path / 'bare'), ROBERTA, bare, TOKENIZER)
  assert 'pooler.dense.weight' in tensors_of(tmp_path / 'bare')
  assert_equal(huggingface.read(str(tmp_path / 'bare')).parameters, bare)


def test_every_parameter_has_one_row():
  for config in CONFIGS.values():
    heads = names.heads_of(make_params(config))
    paths = [x for row in names.table(config, heads) for x in row.ours]
    flat = traverse_util.flatten_dict(make_params(config), sep='/')
    assert sorted(paths) == sorted(flat)
