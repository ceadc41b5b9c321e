"""Compared with a whole epoch of the batches that training reads."""

import numpy as np
import pytest

from bertjax import batch
from bertjax.corpus import pipeline, row_samples
from bertjax.errors import UserError
from tests.corpus.test_token_counts import TOKENS, corpus, random_documents

LENGTH, BATCH = 32, 4


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  tokens = [*TOKENS, *(f'[unused{i}]' for i in range(9))]
  documents = random_documents(300)
  return corpus(tmp_path_factory.mktemp('rows'), documents, tokens)


def epoch(prepared, packed, **more):
  """Returns the rows that hold anything, of all batches of an epoch."""
  batches = pipeline.batches(
    prepared,
    batch_size=BATCH,
    length=LENGTH,
    predictions=batch.predictions_of(LENGTH, 0.15),
    sequences=batch.sequences_of(LENGTH, packed),
    seed=5,
    epochs=1,
    **more,
  )
  every = [*batches]
  rows = {key: np.concatenate([x[key] for x in every]) for key in every[0]}
  held = rows['segments'].any(1)
  return {key: array[held] for key, array in rows.items()}


@pytest.mark.parametrize('pairs', [True, False])
def test_a_sample_of_all_rows_tells_exactly_how_they_are_filled(
  prepared, pairs
):
  rows = row_samples.Rows(BATCH, LENGTH, pairs, seed=5, steps=1000)
  for packed, found in enumerate(row_samples.filling(prepared, rows)):
    own = epoch(prepared, bool(packed), next_sentence=pairs)
    count = len(own['segments'])
    assert found['packed'] == packed
    assert found['sampled_rows'] == found['rows_an_epoch'] == count
    full = (own['segments'] > 0).mean()
    assert found['padding_share'] == pytest.approx(1 - full)
    per_row = [len(set(x.tolist()) - {0}) for x in own['segments']]
    assert found['sequences_a_row'] == pytest.approx(np.mean(per_row))
    assert found['steps_an_epoch'] == count / BATCH
    assert found['epochs'] == pytest.approx(1000 * BATCH / count)
    assert found['tokens'] == pytest.approx(full * 1000 * BATCH * LENGTH, 1e-3)


def test_packing_leaves_less_padding_and_fewer_rows(prepared):
  apart, packed = row_samples.filling(
    prepared, row_samples.Rows(BATCH, LENGTH, seed=5)
  )
  assert packed['padding_share'] < apart['padding_share']
  assert packed['rows_an_epoch'] < apart['rows_an_epoch']


def test_a_sample_of_some_rows_is_near(prepared, monkeypatch):
  rows = row_samples.Rows(BATCH, LENGTH, seed=5)
  whole, _ = row_samples.filling(prepared, rows)
  monkeypatch.setattr(row_samples, 'ROWS', 50)
  some, _ = row_samples.filling(prepared, rows)
  assert 50 <= some['sampled_rows'] < whole['sampled_rows']
  assert some['rows_an_epoch'] == pytest.approx(whole['rows_an_epoch'], rel=0.2)


def test_a_budget_of_tokens_takes_as_many_steps_as_it_needs(prepared):
  rows = row_samples.Rows(BATCH, LENGTH, token_budget=1e5)
  for found in row_samples.filling(prepared, rows):
    a_step = found['tokens'] / found['steps']
    assert found['tokens'] - a_step < 1e5 <= found['tokens'] + 1
    full = 1 - found['padding_share']
    assert a_step == pytest.approx(BATCH * LENGTH * full, rel=1e-3)


def test_documents_of_a_token_are_refused_in_one_line(tmp_path):
  prepared = corpus(tmp_path, [['cat'], ['cat']])
  rows = row_samples.Rows(BATCH, LENGTH)
  with pytest.raises(UserError, match='a token or two in .*; set CORPUS_DIR'):
    row_samples.filling(prepared, rows)
  with pytest.raises(UserError, match='set LENGTH'):
    row_samples.Rows(BATCH, 4)
