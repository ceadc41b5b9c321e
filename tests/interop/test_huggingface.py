"""Directories are read and written; what does not fit is refused in a line."""

import dataclasses
import json
import os
import re
import resource
import shlex

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from flax import traverse_util

from bertjax import batch
from bertjax.errors import UserError
from bertjax.interop import config_json, head_classes, huggingface, names
from bertjax.interop.bert_like import BERT
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.text import byte_level
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

CONFIG = EncoderConfig(
  vocabulary_size=60,
  width=12,
  layers=2,
  heads=3,
  feed_forward=20,
  positions=9,
  dropout=0.2,
)
TOKENIZER = Tokenizer(
  [*SPECIAL_TOKENS, *(chr(ord('a') + i) for i in range(20))], cased=False
)


def make_params(
  heads=names.PRETRAINING, classes=3, config=CONFIG, vocabulary=60
):
  """Returns small random parameters for every row of the table."""
  random = np.random.default_rng(0)
  sizes = {
    'V': vocabulary,
    'D': 12,
    'F': 20,
    'L': 9,
    'T': 2,
    '2': 2,
    'C': classes,
  }
  sizes |= {'H': 3, 'K': 4}
  flat = {
    ours: random.normal(size=[sizes[letter] for letter in row.shape]).astype(
      np.float32
    )
    for row in names.table(config, heads)
    for ours in row.ours
  }
  return traverse_util.unflatten_dict(flat, sep='/')


def save(directory, heads=names.PRETRAINING, config=CONFIG, **more):
  parameters = make_params(heads, config=config)
  huggingface.save(str(directory), config, parameters, TOKENIZER, **more)
  return parameters


def rewrite(directory, change):
  """Saves the tensors of a directory again, changed: a dict in, a dict out."""
  path = directory / 'model.safetensors'
  safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)


def assert_equal(parameters, expected):
  assert jax.tree.structure(parameters) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, parameters, expected)


@pytest.mark.parametrize(
  'heads', [h for h in BERT.classes if 'tag_head' not in h]
)
def test_export_then_import_is_the_identity(tmp_path, heads):
  parameters = save(tmp_path, heads)
  checkpoint = huggingface.read(str(tmp_path))
  assert checkpoint.config == CONFIG and checkpoint.unused == ()
  assert_equal(checkpoint.parameters, parameters)


def test_a_head_for_tags_is_told_from_one_for_classes(tmp_path):
  parameters = save(tmp_path, ('tag_head',), labels=['O', 'B', 'I'])
  checkpoint = huggingface.read(str(tmp_path))
  assert checkpoint.task == {'kind': 'tags', 'labels': ('O', 'B', 'I')}
  assert_equal(checkpoint.parameters, parameters)


def test_export_names_the_class_and_the_labels(tmp_path):
  save(
    tmp_path,
    ('pooler', 'classifier'),
    labels=['bad', 'good', 'neither'],
    problem_type='single_label_classification',
    card='# A model\n',
  )
  attributes = json.loads((tmp_path / 'config.json').read_text())
  assert attributes['architectures'] == ['BertForSequenceClassification']
  assert attributes['id2label']['1'] == 'good'
  assert attributes['label2id']['neither'] == 2
  assert attributes['attention_probs_dropout_prob'] == 0.2
  assert {path.name for path in tmp_path.iterdir()} == {
    'config.json',
    'model.safetensors',
    'vocab.txt',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'README.md',
  }


def test_the_first_names_of_norms_and_no_prefix_are_read(tmp_path):
  parameters = save(tmp_path)
  old = {
    'LayerNorm.weight': 'LayerNorm.gamma',
    'LayerNorm.bias': 'LayerNorm.beta',
  }

  def rename(tensors):
    for new, first in old.items():
      tensors = {k.replace(new, first): v for k, v in tensors.items()}
    assert any(name.endswith('gamma') for name in tensors)
    return {k.removeprefix('bert.'): v for k, v in tensors.items()}

  rewrite(tmp_path, rename)
  assert_equal(huggingface.read(str(tmp_path)).parameters, parameters)


@pytest.mark.parametrize('dtype', [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path, dtype):
  parameters = save(tmp_path)
  rewrite(tmp_path, lambda t: {k: v.astype(dtype) for k, v in t.items()})
  found = huggingface.read(str(tmp_path)).parameters
  assert_equal(
    found,
    jax.tree.map(lambda x: x.astype(dtype).astype(np.float32), parameters),
  )
  assert {x.dtype for x in jax.tree.leaves(found)} == {np.dtype('float32')}


def test_shards_are_read_through_their_index(tmp_path):
  parameters = save(tmp_path)
  path = tmp_path / 'model.safetensors'
  tensors = safetensors.numpy.load_file(path)
  path.unlink()
  parts = [dict(sorted(tensors.items())[i::2]) for i in range(2)]
  index = {}
  for i, part in enumerate(parts):
    safetensors.numpy.save_file(part, tmp_path / f'part-{i}.safetensors')
    index |= dict.fromkeys(part, f'part-{i}.safetensors')
  (tmp_path / 'model.safetensors.index.json').write_text(
    json.dumps({'weight_map': index})
  )
  assert_equal(huggingface.read(str(tmp_path)).parameters, parameters)
  (tmp_path / 'part-1.safetensors').unlink()
  with pytest.raises(
    UserError, match='part-1.safetensors, got .*; it is missing'
  ):
    huggingface.read(str(tmp_path))


def test_a_decoder_of_its_own_is_used_and_a_copy_is_not(tmp_path):
  save(tmp_path)
  word = 'bert.embeddings.word_embeddings.weight'
  decoder = 'cls.predictions.decoder.weight'
  rewrite(tmp_path, lambda t: t | {decoder: t[word].copy()})
  assert huggingface.read(str(tmp_path)).config.tied_decoder
  rewrite(tmp_path, lambda t: t | {decoder: t[word] + 1})
  checkpoint = huggingface.read(str(tmp_path))
  assert not checkpoint.config.tied_decoder and checkpoint.unused == ()
  example = batch.synthetic(2, 8, 3, 60, seed=0)
  logits = {
    tied: BertForPreTraining(config).apply(
      {'params': checkpoint.parameters}, example, train=False
    )['mlm_logits']
    for tied, config in ((True, CONFIG), (False, checkpoint.config))
  }
  # Another 1 in every column of the decoder adds the sum of the features.
  difference = logits[False] - logits[True]
  np.testing.assert_allclose(
    difference,
    np.broadcast_to(difference[..., :1], difference.shape),
    atol=1e-4,
  )
  assert np.abs(difference).max() > 1e-2
  again = tmp_path / 'again'
  huggingface.save(
    str(again), checkpoint.config, checkpoint.parameters, TOKENIZER
  )
  assert_equal(huggingface.read(str(again)).parameters, checkpoint.parameters)
  tensors = safetensors.numpy.load_file(again / 'model.safetensors')
  np.testing.assert_array_equal(*(tensors[k] for k in BERT.decoder_biases))


def test_what_no_parameter_takes_is_reported(tmp_path):
  save(tmp_path, ('mlm_head',))
  rewrite(
    tmp_path,
    lambda t: (
      t
      | {
        'cls.seq_relationship.bias': np.zeros(2, np.float32),
        'bert.embeddings.position_ids': np.arange(9),
      }
    ),
  )
  checkpoint = huggingface.read(str(tmp_path))
  assert checkpoint.unused == ('cls.seq_relationship.bias',)
  assert 'NOT used, 1 tensors' in checkpoint.report()


@pytest.mark.parametrize(
  'change, message',
  [
    ({'model_type': 'distilbert'}, "bert, modernbert, roberta, got 'distil"),
    ({'is_decoder': True}, 'is_decoder = False'),
    ({'position_embedding_type': 'relative_key'}, "'relative_key'"),
    ({'pruned_heads': {'0': [1]}}, 'pruned_heads'),
    ({'hidden_act': 'mish'}, "'mish'.*hidden_act"),
    ({'rotary_base': 1e4}, 'not understood, rotary_base = 10000.0'),
    ({'hidden_sizes': 4}, "did you mean 'hidden_size'"),
    ({'hidden_size': '12'}, "whole number .*, got '12'"),
    ({'vocab_size': 61}, r'shape \[61, 12\], got \[60, 12\]'),
    ({'num_hidden_layers': 3}, '3 layers.*lacks 16 of its tensors'),
  ],
)
def test_a_config_that_cannot_be_honoured_is_refused(tmp_path, change, message):
  save(tmp_path)
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(UserError, match=message) as caught:
    huggingface.read(str(tmp_path))
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'name',
  [
    'vocab_size',
    'hidden_size',
    'num_hidden_layers',
    'intermediate_size',
    'max_position_embeddings',
  ],
)
def test_a_size_that_config_json_lacks_is_named(tmp_path, name):
  save(tmp_path)
  path = tmp_path / 'config.json'
  attributes = json.loads(path.read_text())
  del attributes[name]
  path.write_text(json.dumps(attributes))
  with pytest.raises(UserError, match=f'{name}.* config.json'):
    huggingface.read(str(tmp_path))


def test_defaults_of_transformers_hold_where_an_attribute_is_absent():
  config = config_json.to_encoder({'hidden_dropout_prob': 0.0}, 'config.json')
  assert (config.width, config.layers, config.dropout) == (768, 12, 0.0)
  assert config.attention_dropout_rate == 0.1


def test_weights_that_cannot_be_read_are_refused(tmp_path):
  with pytest.raises(UserError, match='no directory'):
    huggingface.read(str(tmp_path / 'nowhere'))
  save(tmp_path)
  path = tmp_path / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(UserError, match='cut off or damaged, fetch it again'):
    huggingface.read(str(tmp_path))
  path.rename(tmp_path / 'pytorch_model.bin')
  for architectures, name in [
    (['BertForMaskedLM'], 'BertForMaskedLM'),
    (["x'); evil('"], 'AutoModelForPreTraining'),
    (None, 'AutoModelForPreTraining'),
  ]:
    (tmp_path / 'config.json').write_text(
      json.dumps({'architectures': architectures})
    )
    with pytest.raises(
      UserError,
      match=(
        rf'pickle.*t\.{name}\.from_pretrained.*save_pretrained.*'
        r'AutoTokenizer'
      ),
    ) as caught:
      huggingface.read(str(tmp_path))
    compile(advice(caught)[2], 'the advice', 'exec')
  evil = tmp_path / """$(touch x)`touch y`'; touch z #"""
  evil.mkdir()
  (evil / 'pytorch_model.bin').touch()
  with pytest.raises(UserError) as caught:
    huggingface.read(str(evil))
  python, option, code = advice(caught)
  assert (python, option) == ('python', '-c') and repr(str(evil)) in code
  (tmp_path / 'pytorch_model.bin').unlink()
  with pytest.raises(UserError, match='expected model.safetensors.*; put it'):
    huggingface.read(str(tmp_path))


def advice(caught):
  """Returns the words of the command in a message, as a shell reads them."""
  command = re.search('run (python .*) and use', str(caught.value))[1]
  return shlex.split(command)


def test_what_transformers_does_not_have_is_not_written(tmp_path):
  parameters = make_params(('mlm_head', 'span_head'))
  with pytest.raises(UserError, match='heads mlm_head . span_head'):
    huggingface.save(str(tmp_path), CONFIG, parameters, TOKENIZER)
  parameters = make_params()
  many = Tokenizer([f'w{i}' for i in range(61)], False)
  with pytest.raises(UserError, match='61 entries .* 60 rows'):
    huggingface.save(str(tmp_path), CONFIG, parameters, many)
  parameters = make_params(('pooler', 'classifier'))
  with pytest.raises(UserError, match='2 labels for a head of 3'):
    huggingface.save(
      str(tmp_path), CONFIG, parameters, TOKENIZER, labels=['a', 'b']
    )
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  'head, name',
  [
    ('mlm_head', 'BertForMaskedLM'),
    ('tag_head', 'BertForTokenClassification'),
    ('span_head', 'BertForQuestionAnswering'),
  ],
)
def test_a_pooler_without_a_place_is_left_out_aloud(
  tmp_path, capsys, head, name
):
  parameters = save(tmp_path, ('pooler', head))
  assert capsys.readouterr().out == (
    f'warning: NOT saved, since {name} has no place for it: pooler\n'
  )
  assert head_classes.architecture(['pooler', head], CONFIG) == name
  del parameters['pooler']
  assert_equal(huggingface.read(str(tmp_path)).parameters, parameters)
  save(tmp_path, ('pooler', 'classifier'))
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
  'heads, more, name, left_out',
  [
    (names.PRETRAINING, 'detection', 'BertForPreTraining', 'detection_head'),
    (('pooler', 'mlm_head'), 'sop', 'BertForMaskedLM', 'sop_head, pooler'),
  ],
)
def test_heads_that_only_pretraining_has_are_left_out_aloud(
  tmp_path, capsys, heads, more, name, left_out
):
  kept = make_params(heads)
  parameters = kept | {f'{more}_head': {'kernel': np.zeros((16, 2))}}
  huggingface.save(str(tmp_path), CONFIG, parameters, TOKENIZER)
  assert capsys.readouterr().out == (
    f'warning: NOT saved, since {name} has no place for it: {left_out}\n'
  )
  kept = {k: x for k, x in kept.items() if k not in left_out}
  assert_equal(huggingface.read(str(tmp_path)).parameters, kept)


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
  try:
    with pytest.raises(OSError, match='File too large'):
      save(tmp_path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def set_attributes(directory, **changes):
  path = directory / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_head_without_names_gets_those_that_transformers_needs(tmp_path):
  """Without any, it makes a head of two classes, and refuses ours."""
  parameters = make_params(('pooler', 'classifier'), classes=1)
  huggingface.save(
    str(tmp_path), CONFIG, parameters, TOKENIZER, problem_type='regression'
  )
  attributes = json.loads((tmp_path / 'config.json').read_text())
  assert attributes['id2label'] == {'0': 'LABEL_0'}
  assert attributes['label2id'] == {'LABEL_0': 0}
  assert huggingface.read(str(tmp_path)).task == {
    'kind': 'number',
    'labels': (),
  }


def test_the_bias_of_the_decoder_is_read_if_there_are_two(tmp_path):
  """transformers 5 adds it, and never reads the other one."""
  save(tmp_path, config=dataclasses.replace(CONFIG, tied_decoder=False))
  scores, other = BERT.decoder_biases
  assert scores == 'cls.predictions.decoder.bias'
  rewrite(tmp_path, lambda t: t | {other: t[scores] + 1})
  expected = safetensors.numpy.load_file(tmp_path / 'model.safetensors')[scores]
  checkpoint = huggingface.read(str(tmp_path))
  np.testing.assert_array_equal(
    checkpoint.parameters['mlm_head']['bias'], expected
  )
  assert checkpoint.unused == ()
  rewrite(tmp_path, lambda t: {k: v for k, v in t.items() if k != other})
  assert_equal(
    huggingface.read(str(tmp_path)).parameters, checkpoint.parameters
  )


def test_an_untied_decoder_has_to_be_there(tmp_path):
  save(tmp_path)
  set_attributes(tmp_path, tie_word_embeddings=False)
  with pytest.raises(UserError, match='decoder.weight.*tie_word_embeddings'):
    huggingface.read(str(tmp_path))
  word = 'bert.embeddings.word_embeddings.weight'
  rewrite(tmp_path, lambda t: t | {BERT.decoder: t[word].copy()})
  assert not huggingface.read(str(tmp_path)).config.tied_decoder
  save(tmp_path / 'without', ('pooler',))
  set_attributes(tmp_path / 'without', tie_word_embeddings=False)
  huggingface.read(str(tmp_path / 'without'))


def test_two_classes_of_one_name_are_refused(tmp_path):
  heads = ('pooler', 'classifier')
  with pytest.raises(
    UserError, match="distinct names in labels, got 'a' twice"
  ):
    save(tmp_path, heads, labels=['a', 'b', 'a'])
  save(tmp_path, heads)
  set_attributes(tmp_path, id2label={'0': 'a', '1': 'b', '2': 'a'})
  with pytest.raises(UserError, match="names in id2label of .* got 'a' twice"):
    huggingface.read(str(tmp_path))


@pytest.mark.parametrize('names_of', [3, 1, 100, -3])
@pytest.mark.parametrize('heads', [('pooler', 'classifier'), ('tag_head',)])
def test_id2label_has_the_classes_of_the_head(tmp_path, heads, names_of):
  save(tmp_path, heads)
  classes = len(huggingface.read(str(tmp_path)).task['labels'])
  ids = range(names_of) if names_of > 0 else range(1, classes + 1)
  names = {str(i): f'name {i}' for i in ids}
  set_attributes(tmp_path, id2label=names)
  if names_of == classes:
    assert huggingface.read(str(tmp_path)).task['labels'][0] == 'name 0'
    return
  with pytest.raises(UserError) as caught:
    huggingface.read(str(tmp_path))
  assert str(caught.value).startswith(
    f'expected id2label of the {classes} classes of its head, 0 to '
    f'{classes - 1}, in {tmp_path}/config.json, got {len(names)}: '
  )
  assert len(str(caught.value)) < 400


def test_a_model_of_multiple_choice_is_refused(tmp_path):
  parameters = make_params(('pooler', 'classifier'), classes=1)
  huggingface.save(str(tmp_path), CONFIG, parameters, TOKENIZER)
  set_attributes(tmp_path, architectures=['BertForMultipleChoice'])
  with pytest.raises(UserError, match='BertForMultipleChoice, which compares'):
    huggingface.read(str(tmp_path))


def test_an_unknown_problem_is_refused(tmp_path):
  save(tmp_path, ('pooler', 'classifier'))
  set_attributes(tmp_path, problem_type='regresion')
  with pytest.raises(
    UserError, match="did you mean 'regression'.*problem_type"
  ):
    huggingface.read(str(tmp_path))


def test_padding_has_the_id_that_the_vocabulary_gives_it(tmp_path):
  tokens = [*TOKENIZER.tokens[1:], '[PAD]']
  huggingface.save(
    str(tmp_path), CONFIG, make_params(), Tokenizer(tokens, cased=False)
  )
  attributes = json.loads((tmp_path / 'config.json').read_text())
  assert attributes['pad_token_id'] == len(tokens) - 1


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_tensor_with_what_is_no_number_is_refused_by_name(tmp_path, value):
  save(tmp_path)
  name = 'bert.encoder.layer.1.output.dense.weight'

  def spoil(tensors):
    tensors[name][3, 4] = value
    return tensors

  rewrite(tmp_path, spoil)
  with pytest.raises(UserError, match=f'finite numbers in {name}'):
    huggingface.read(str(tmp_path))


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o007, 0o660)])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask, mode):
  before = os.umask(umask)
  try:
    save(tmp_path)
  finally:
    os.umask(before)
  modes = {
    path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()
  }
  assert modes == dict.fromkeys(modes, mode)


@pytest.mark.parametrize(
  'name', ['../model/part.safetensors', '/part.safetensors', 'x.bin', 3, None]
)
def test_an_index_that_leads_elsewhere_is_refused(tmp_path, name):
  directory = tmp_path / 'model'
  save(directory)
  (directory / 'model.safetensors').rename(directory / 'part.safetensors')
  (directory / 'model.safetensors.index.json').write_text(
    json.dumps({'weight_map': {'a': name, 'b': 'part.safetensors'}})
  )
  words = 'names of safetensors files beside it|from texts to texts'
  with pytest.raises(UserError, match=words):
    huggingface.read(str(directory))


@pytest.mark.parametrize(
  'content, words',
  [
    ('[' * 100_000, 'expected JSON'),
    ('{}', "expected 'weight_map'"),
    ('{"weight_map": []}', "as 'weight_map'"),
    (' ' * (5 << 20), 'at most 4 MB'),
  ],
)
def test_a_damaged_index_is_one_line(tmp_path, content, words):
  save(tmp_path)
  (tmp_path / 'model.safetensors').rename(tmp_path / 'part.safetensors')
  (tmp_path / 'model.safetensors.index.json').write_text(content)
  with pytest.raises(UserError, match=f'{words}.*index.json.*fetch it again'):
    huggingface.read(str(tmp_path))


@pytest.mark.parametrize(
  'path, command',
  [
    (
      'bert-base-uncased',
      'hf download google-bert/bert-base-uncased --local-dir bert-base-uncased',
    ),
    (
      'google-bert/bert-base-uncased',
      'hf download google-bert/bert-base-uncased --local-dir bert-base-uncased',
    ),
    (
      'roberta-base',
      'hf download FacebookAI/roberta-base --local-dir roberta-base',
    ),
    (
      'answerdotai/ModernBERT-base',
      'hf download answerdotai/ModernBERT-base --local-dir ModernBERT-base',
    ),
    ('prajjwal1/bert-tiny', 'hf download prajjwal1/bert-tiny --local-dir'),
    ('there/bert', None),
    ('books', None),
    ('models/of/bert', None),
  ],
)
def test_a_name_of_the_hub_is_answered_with_the_download(
  tmp_path, monkeypatch, path, command
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'there').mkdir()
  with pytest.raises(UserError, match='there is no directory') as caught:
    huggingface.load(path)
  line = str(caught.value)
  assert path in line and '\n' not in line
  assert (command in line) if command else ('hf download' not in line)


def test_no_directory_is_one_line():
  with pytest.raises(UserError, match='a folder, got None; set huggingface'):
    huggingface.load(None)


def test_a_byte_level_tokenizer_is_written_for_transformers(tmp_path):
  tokens = [*SPECIAL_TOKENS, *byte_level.alphabet(), 'ab', 'Ġab']
  rules = byte_level.rules_of(['a b', 'Ġ ab'])
  tokenizer = Tokenizer(tokens, True, rules)
  config = dataclasses.replace(CONFIG, vocabulary_size=len(tokens))
  parameters = make_params(config=config, vocabulary=len(tokens))
  huggingface.save(str(tmp_path), config, parameters, tokenizer)
  assert not (tmp_path / 'vocab.txt').exists()
  library = tokenizers.Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
  texts = ['ab ab', ('ab', 'é ab'), 'an [MASK] b']
  for text, (row, _) in zip(
    texts, tokenizer.rows(texts, 64, masks=True), strict=True
  ):
    wanted = library.encode(*([text] if isinstance(text, str) else text))
    assert wanted.ids == [*row.ids]
    second = row.second or len(row.ids)
    assert wanted.type_ids == [int(i >= second) for i in range(len(row.ids))]
  settings = json.loads((tmp_path / 'tokenizer_config.json').read_text())
  assert settings['tokenizer_class'] == 'PreTrainedTokenizerFast'
  assert settings['mask_token'] == '[MASK]'
  assert 'token_type_ids' in settings['model_input_names']
  assert Tokenizer.load(str(tmp_path)).parts == tokenizer.parts
