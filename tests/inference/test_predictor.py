"""Against the model itself, row by row and without batching."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pandas as pd
import pytest
from flax.core import meta

from bertjax import batch as batch_lib
from bertjax.errors import UserError
from bertjax.inference import on_files
from bertjax.inference.predictor import Predictor
from bertjax.interop import huggingface
from bertjax.models import bert
from bertjax.models.config import EncoderConfig
from bertjax.models.poolings import POOLINGS
from bertjax.parallel import partitioning
from bertjax.runs import model_file, trained_model
from bertjax.runs.checkpoints import Checkpoints
from bertjax.tasks.specs import Task
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS, write
from bertjax.training import objectives, optimizer, state

TOKENS = [*SPECIAL_TOKENS, *'abcdefgh']
CONFIG = EncoderConfig(
  vocabulary_size=16,
  width=8,
  layers=2,
  heads=2,
  feed_forward=16,
  positions=20,
  initializer_stddev=0.5,
)
TEXTS = ['a b c', '', 'h', 'a b c d e f g h a b c d e f g h', 'c [MASK]']


@pytest.fixture(scope='module')
def parameters():
  example = batch_lib.synthetic(2, 8, 2, 16, seed=0)
  model = bert.BertForPreTraining(CONFIG)
  adamw, mesh = optimizer.adamw(1e-3), partitioning.make_mesh()
  shapes = {
    k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in example.items()
  }
  return state.create(
    objectives.MaskedLanguageModel(model), adamw, shapes, mesh, seed=3
  ).parameters


@pytest.fixture(scope='module')
def predictor(parameters):
  return Predictor(CONFIG, jax.device_get(parameters), Tokenizer(TOKENS, False))


def hidden_states(parameters, text, masks=False):
  """Returns float32[L, D] of one text, and its ids, without any padding."""
  ((row, _),) = Tokenizer(TOKENS, False).rows([text], 20, masks)
  ids = row.ids
  row = np.asarray([ids], np.int32)
  hidden = bert.Bert(CONFIG).apply(
    {'params': parameters},
    {
      'tokens': row,
      'types': 0 * row,
      'segments': 0 * row + 1,
      'positions': np.arange(row.shape[1], dtype=np.int32)[None],
    },
    train=False,
  )['hidden']
  return np.asarray(hidden[0]), ids


@pytest.mark.parametrize('pooling', POOLINGS)
@pytest.mark.parametrize('normalize', [False, True])
def test_vectors_are_those_of_each_text_alone(
  parameters, predictor, pooling, normalize
):
  found = predictor.embed(TEXTS, pooling, normalize, length=20, batch_size=2)
  assert found.dtype == np.float32
  pool = {
    'cls': lambda h: h[0],
    'mean': lambda h: h.mean(axis=0),
    'max': lambda h: h.max(axis=0),
  }[pooling]
  for vector, text in zip(found, TEXTS, strict=True):
    expected = pool(hidden_states(parameters, text)[0])
    if normalize:
      expected = expected / np.sqrt((expected**2).sum())
    np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_each_mask_gets_its_own_likeliest_words(parameters, predictor):
  texts = ['a [MASK] b [MASK]', 'c [MASK]']
  found = predictor.fill_mask(texts, top_k=4, length=20, batch_size=2)
  assert [len(answers) for answers in found] == [2, 1]
  for text, answers in zip(texts, found, strict=True):
    _, ids = hidden_states(parameters, text, masks=True)
    places = [i for i, token in enumerate(ids) if token == 4]
    row = np.asarray([ids], np.int32)
    logits = bert.BertForPreTraining(CONFIG, False).apply(
      {'params': parameters},
      {
        'tokens': row,
        'types': 0 * row,
        'segments': 0 * row + 1,
        'positions': np.arange(len(ids), dtype=np.int32)[None],
        'target_positions': np.asarray([places], np.int32),
      },
      train=False,
    )['mlm_logits'][0]
    # Rows 13 to 15 of the token table have no token.
    expected = np.asarray(jax.nn.softmax(logits[:, : len(TOKENS)]))
    for answer, probabilities in zip(answers, expected, strict=True):
      order = np.argsort(-probabilities)[:4]
      assert [token for token, _ in answer] == [TOKENS[i] for i in order]
      np.testing.assert_allclose(
        [p for _, p in answer], probabilities[order], atol=1e-5
      )


def test_what_was_cut_is_counted(parameters):
  predictor = Predictor(CONFIG, parameters, Tokenizer(TOKENS, False))
  predictor.embed(TEXTS, length=6)
  assert predictor.cut == 1


def test_no_texts_give_no_vectors(predictor):
  assert predictor.embed([], length=20).shape == (0, 8)


def test_a_text_without_masks_gives_none(predictor):
  found = predictor.fill_mask(['a b', 'a [MASK]'], top_k=1, length=20)
  assert [len(answers) for answers in found] == [0, 1]


def test_what_cannot_work_is_refused(parameters, predictor):
  with pytest.raises(UserError, match='LENGTH of 3 to the 20 positions'):
    predictor.embed(TEXTS, length=21)
  with pytest.raises(UserError, match='POOLING'):
    predictor.embed(TEXTS, pooling='median')
  with pytest.raises(UserError, match='at most the 13 tokens.*got 14.*TOP_K'):
    predictor.fill_mask(['[MASK]'], top_k=14)
  with pytest.raises(UserError, match='17 entries and a token table of 16'):
    Predictor(CONFIG, parameters, Tokenizer([*TOKENS, *'ijkl'], False))
  headless = {k: parameters[k] for k in ('embeddings', 'encoder')}
  with pytest.raises(UserError, match='no masked-LM head'):
    Predictor(CONFIG, headless, Tokenizer(TOKENS, False)).fill_mask(['[MASK]'])


@pytest.fixture(scope='module')
def run_dir(parameters, tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  with Checkpoints(str(folder / 'checkpoints')) as checkpoints:
    for step, scale in ((1, 0.5), (2, 1.0)):
      checkpoints.save(
        step,
        state.TrainState(
          np.asarray(step),
          jax.tree.map(lambda x: x * scale, parameters),  # noqa: B023
          {'moments': np.zeros(3)},
        ),
      )
  model_file.write(str(folder), {'': CONFIG})
  write(TOKENS, str(folder / 'vocab.txt'), cased=False)
  return folder


def test_a_run_and_its_export_predict_the_same(
  parameters, predictor, run_dir, tmp_path
):
  expected = predictor.embed(TEXTS, length=20)
  loaded = Predictor.load(str(run_dir))
  np.testing.assert_array_equal(loaded.embed(TEXTS, length=20), expected)
  earlier = Predictor.load(str(run_dir), step=1)
  assert np.abs(earlier.embed(TEXTS, length=20) - expected).max() > 1e-3
  huggingface.save(
    str(tmp_path), CONFIG, jax.device_get(parameters), loaded.tokenizer
  )
  exported = Predictor.load(str(tmp_path))
  np.testing.assert_array_equal(exported.embed(TEXTS, length=20), expected)
  with pytest.raises(UserError, match=r'choose another of the steps \[1, 2\]'):
    Predictor.load(str(run_dir), step=7)
  with pytest.raises(UserError, match='no directory .*nowhere'):
    Predictor.load(str(tmp_path / 'nowhere'))


def test_a_file_of_texts_is_embedded_in_both_forms(
  run_dir, predictor, tmp_path
):
  source, vectors = tmp_path / 'in.txt', tmp_path / 'out.npy'
  source.write_text('\n'.join(TEXTS) + '\n')
  on_files.predict_file(
    work=on_files.embedding,
    source=str(source),
    output=str(vectors),
    model=str(run_dir),
    length=20,
  )
  expected = predictor.embed(TEXTS, length=20)
  found = np.load(vectors)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, expected)
  lines = tmp_path / 'out.jsonl'
  on_files.predict_file(
    work=on_files.embedding,
    source=str(source),
    output=str(lines),
    model=str(run_dir),
    length=20,
  )
  records = [json.loads(line) for line in lines.read_text().splitlines()]
  assert [record['text'] for record in records] == TEXTS
  np.testing.assert_allclose(
    [record['embedding'] for record in records], expected, rtol=1e-6
  )


def test_masks_of_a_file_are_filled(run_dir, predictor, tmp_path):
  source, output = tmp_path / 'in.jsonl', tmp_path / 'out.jsonl'
  source.write_text('{"id": 5, "text": "a [MASK]"}\n')
  on_files.predict_file(
    work=functools.partial(on_files.filling, top_k=2),
    source=str(source),
    output=str(output),
    model=str(run_dir),
    length=20,
  )
  record = json.loads(output.read_text())
  assert record['id'] == 5 and len(record['masks']) == 1
  ((expected,),) = predictor.fill_mask(['a [MASK]'], top_k=2, length=20)
  assert [x['token'] for x in record['masks'][0]] == [t for t, _ in expected]


def test_a_job_is_refused_before_it_writes(run_dir, tmp_path):
  source = tmp_path / 'in.txt'
  source.write_text('a\n')
  arguments = {
    'source': str(source),
    'output': str(tmp_path / 'out.npy'),
    'work': on_files.embedding,
  }
  with pytest.raises(
    UserError, match='a text .*got None; set on_files.predict_file.model'
  ):
    on_files.predict_file(**arguments, model=None)
  with pytest.raises(UserError, match='predict_file.batch_size'):
    on_files.predict_file(**arguments, model=str(run_dir), batch_size=0)
  on_files.predict_file(
    **arguments, model=str(run_dir), length=20, dry_run=True
  )
  source.write_text('')
  with pytest.raises(UserError, match='an empty file .*; set INPUT'):
    on_files.predict_file(**arguments, model=str(run_dir), length=20)
  assert [path.name for path in tmp_path.iterdir()] == ['in.txt']


def test_one_text_instead_of_a_list_is_refused(predictor):
  for function in (predictor.embed, predictor.fill_mask):
    with pytest.raises(UserError, match='a list of texts, got .a'):
      function('a [MASK]', length=20)


@pytest.mark.parametrize(
  'texts',
  [
    {'a': 1},
    {'a'},
    None,
    5,
    b'a',
    pd.DataFrame({'a': ['b']}),
    *([x] for x in ({'a': 'b'}, None, np.nan, 5, b'a', (), ('a', 5))),
    [('a', 'b', 'c')],
  ],
  ids=str,
)
def test_what_are_no_texts_is_refused_in_one_line(predictor, texts):
  task = Task('t', 'classes', ('x', 'y'))
  classifier = dataclasses.replace(predictor, task=task)
  for function in (predictor.embed, predictor.fill_mask, classifier.classify):
    with pytest.raises(UserError, match='expected .*text') as error:
      function(texts, length=20)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'sentences', ['a', {'a': 1}, [{'a': 1}], ['a b'], [iter('ab')], [[5]], None]
)
def test_what_are_no_sentences_is_refused_in_one_line(predictor, sentences):
  task = Task('t', 'tags', ('O', 'B-X'))
  tagger = dataclasses.replace(predictor, task=task)
  with pytest.raises(UserError, match='expected a list of'):
    tagger.tag(sentences, length=20)


def test_texts_may_come_in_a_column_and_with_halves_of_characters(predictor):
  expected = predictor.embed(['a b', 'c'], length=20)
  for kind in (pd.Series, np.array, tuple, iter):
    assert (predictor.embed(kind(['a b', 'c']), length=20) == expected).all()
  assert predictor.embed(['\ud83d'], length=20).shape == (1, 8)


@pytest.mark.parametrize('size', [0, -1, 1.5, True])
def test_a_batch_without_rows_loses_no_text(predictor, size):
  for function in (predictor.embed, predictor.fill_mask):
    with pytest.raises(
      UserError, match='whole number .*set predictor.*batch_size'
    ):
      function(['a [MASK]'] * 3, length=20, batch_size=size)


def test_parameters_under_another_vocabulary_are_refused(run_dir, tmp_path):
  vocab_file = str(tmp_path / 'vocab.txt')
  write(TOKENS, vocab_file, cased=False)
  assert trained_model.parameters(None, CONFIG, None) is None
  assert 'encoder' in trained_model.parameters(str(run_dir), CONFIG, vocab_file)
  other = dataclasses.replace(CONFIG, activation='relu')
  with pytest.raises(UserError, match="'gelu' there and 'relu' here"):
    trained_model.parameters(str(run_dir), other, vocab_file)
  write(TOKENS, vocab_file, cased=True)
  with pytest.raises(UserError, match='another vocabulary.*VOCAB_FILE'):
    trained_model.parameters(str(run_dir), CONFIG, vocab_file)
  write([*TOKENS[:-1], 'z'], vocab_file, cased=False)
  with pytest.raises(UserError, match='another vocabulary.*VOCAB_FILE'):
    trained_model.parameters(str(run_dir), CONFIG, vocab_file)
  assert 'encoder' in trained_model.parameters(str(run_dir), CONFIG)


def test_a_file_in_place_of_a_run_is_one_line(tmp_path):
  (tmp_path / 'in.txt').touch()
  with pytest.raises(UserError, match='there is no directory .*in.txt; '):
    Predictor.load(str(tmp_path / 'in.txt'))


def test_a_decoder_without_parameters_fills_masks_too():
  """ModernBERT's without a bias, tied: all it has is the shared head."""
  config = dataclasses.replace(CONFIG, shared_head=True, decoder_bias=False)
  example = batch_lib.synthetic(1, 8, 2, 16, seed=0)
  model = bert.BertForPreTraining(config, next_sentence=False)
  parameters = meta.unbox(
    model.init(jax.random.key(0), example, train=False)['params']
  )
  assert 'mlm_head' not in parameters
  predictor = Predictor(config, parameters, Tokenizer(TOKENS, False))
  [[filled]] = predictor.fill_mask(['a [MASK]'], top_k=3, length=8)
  assert len(filled) == 3
  del parameters['prediction_head']
  predictor = Predictor(config, parameters, Tokenizer(TOKENS, False))
  with pytest.raises(UserError, match='has no masked-LM head'):
    predictor.fill_mask(['a [MASK]'], length=8)
