import numpy as np
import pytest

from bertjax.corpus import mixture_samples, pipeline, row_samples
from bertjax.corpus.mixtures import Mixture
from tests.corpus.test_token_counts import TOKENS, corpus, random_documents

LENGTH, BATCH = 32, 8


@pytest.fixture(scope='module')
def corpora(tmp_path_factory):
  """Two, of which the first has a word everywhere that the other lacks."""
  folders = [tmp_path_factory.mktemp(x) for x in ('one', 'two')]
  tokens = [*TOKENS, 'marker']
  marked = [
    [' '.join(f'{word} marker' for word in x.split() * 5) for x in document]
    for document in random_documents()
  ]
  return (
    corpus(folders[0], marked, tokens),
    corpus(folders[1], random_documents(200), tokens),
  )


@pytest.mark.parametrize('rates', [(3, 1), ((0, (1, 0)), (30, (1, 4)))])
def test_shares_are_those_of_the_batches(corpora, rates):
  mixture = Mixture(corpora, rates)
  rows = row_samples.Rows(BATCH, LENGTH, seed=5, steps=100, next_sentence=False)
  fillings = [row_samples.filling(x, rows) for x in corpora]
  apart, packed = mixture_samples.shares_of(mixture, rows, fillings)
  assert (apart['packed'], packed['packed']) == (False, True)
  first, second = apart['sources']
  expected = 0.75 if rates == (3, 1) else 0.3 + 0.7 / 5
  assert first['asked'] == pytest.approx(expected)
  assert first['asked'] + second['asked'] == pytest.approx(1)
  # Every step is looked at: so many rows of each were in the batches.
  marker = corpora[0].vocabulary.tokens.index('marker')
  batches = pipeline.batches(
    mixture, BATCH, LENGTH, 5, seed=5, next_sentence=False, mask_rate=0.01
  )
  found = [
    (x['tokens'] == marker).sum(1) > 2  # one may be a random mask
    for x, _ in zip(batches, range(100), strict=False)
  ]
  assert first['came_out'] == np.mean(found)
  for source, filling in zip(apart['sources'], fillings, strict=True):
    read = source['asked'] * 100 * BATCH
    assert source['epochs'] == pytest.approx(read / filling[0]['rows_an_epoch'])


def test_a_budget_of_tokens_takes_the_fewest_steps_that_reach_it(corpora):
  mixture = Mixture(corpora, ((0, (1, 0)), (30, (1, 4))))
  rows = row_samples.Rows(BATCH, LENGTH, seed=5, token_budget=30_000)
  fillings = [row_samples.filling(x, rows) for x in corpora]
  for found in mixture_samples.shares_of(mixture, rows, fillings):
    a_step = found['tokens'] / found['steps']
    assert 30_000 <= found['tokens'] < 30_000 + 2 * a_step
    assert sum(x['token_share'] for x in found['sources']) == pytest.approx(1)
