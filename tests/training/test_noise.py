"""A small model learns what noise and pairs are to teach it, in seconds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax import batch
from bertjax.corpus.windows import Form, Windows
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.text import noises
from bertjax.text.vocabulary import Vocabulary
from bertjax.training import evaluation, objectives

L, P = 24, 20
TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
VOCABULARY = Vocabulary([*TOKENS, *(f'w{i}' for i in range(24))], False)
CONFIG = EncoderConfig(
  len(VOCABULARY.tokens), 32, 1, 4, 64, positions=L, dropout=0.0,
  initializer_stddev=0.1,
)  # fmt: skip


class Counting:
  """Documents that count: each word is the one after the word before it.

  Half of them count within the first twelve words, half within the others.
  """

  tokens = 200 * 120

  def __len__(self):
    return 200

  def piece(self, number):
    low, first = 5 + 12 * (number % 2), 7 * number
    counted = low + (first + np.arange(120)) % 12
    return number, counted.astype(np.uint16), np.arange(6, 121, 6)


def rows(form, seed, count):
  windows = Windows(Counting(), VOCABULARY, form, seed)
  found, number = [], 0
  while sum(len(x['tokens']) for x in found) < count:
    found.append(windows.rows(number))
    number += 1
  return {k: np.concatenate([x[k] for x in found])[:count] for k in found[0]}


def learn(form, steps):
  """Returns what an evaluation finds on other rows after some steps."""
  objective = objectives.MaskedLanguageModel(
    BertForPreTraining(
      CONFIG,
      form.next_sentence,
      form.pair_kind,
      noises.target_of(form.noise),
    )
  )
  train, held_out = rows(form, 0, 64 * 40), rows(form, 1, 512)
  objective.check_batch(train)
  shapes = batch.shapes(4, L, P, form.sequences, objective.keys)
  assert {k: v.dtype for k, v in train.items()} == {
    k: v.dtype for k, v in shapes.items()
  }
  first = {key: jnp.asarray(x[:64]) for key, x in train.items()}
  boxed = objective.initialize(jax.random.key(0), first)
  parameters = jax.tree.map(
    lambda x: getattr(x, 'value', x),
    boxed,
    is_leaf=lambda x: hasattr(x, 'names'),
  )
  chain = optax.adam(optax.linear_schedule(6e-3, 0, steps))

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def step(parameters, state, some):
    def loss(parameters):
      terms = objective(parameters, some, None, train=True)
      return sum(
        terms[name][0] / jnp.maximum(weight, 1)
        for name, weight in objective.weights(some).items()
      )

    updates, state = chain.update(jax.grad(loss)(parameters), state)
    return optax.apply_updates(parameters, updates), state

  state = chain.init(parameters)
  for i in range(steps):
    at = 64 * (i % 40)
    some = {key: x[at : at + 64] for key, x in train.items()}
    parameters, state = step(parameters, state, some)
  terms = jax.jit(functools.partial(objective, rng=None, train=False))(
    parameters, held_out
  )
  mesh = partitioning.make_mesh(devices=jax.devices()[:1])
  return objective, evaluation.evaluate(
    objective, lambda _: terms, [held_out], mesh
  )


@pytest.mark.parametrize(
  'noise, rate, pairs, sequences, mask_rate',
  [
    ('replacement', 0.15, None, 1, 0),
    ('insertion', 0.1, 'same_document', 3, 0.15),
    ('deletion', (0.2, 0.4), None, 1, 0.15),
  ],
)
def test_a_small_model_says_more_than_the_most_frequent_answers(
  noise, rate, pairs, sequences, mask_rate
):
  form = Form(
    L,
    P,
    sequences,
    pairs is not None,
    mask_rate=mask_rate,
    pair_kind=pairs or 'nsp',
    noise=noise,
    noise_rate=rate,
  )
  objective, found = learn(form, 300)
  margins = {'detection': 0.05} | ({pairs: 0.1} if pairs else {})
  margins |= {'mlm': 0.1} if mask_rate else {}
  for name, margin in margins.items():
    best = found[f'{name}_baseline']
    assert found[f'{name}_accuracy'] > best + margin, (name, found)
    assert found[f'{name}_loss'] < 0.9 * found[f'{name}_loss_baseline']
  assert found['detection_auc'] > 0.7
  line = evaluation.summary(objective, found)
  assert line.count('(always the most frequent answer: ') == len(margins)
  assert line.count('(frequencies alone: ') == len(margins)


def test_a_small_model_puts_shuffled_tokens_at_their_places():
  form = Form(L, P, noise='permutation', noise_rate=0.1, next_sentence=False)
  objective, found = learn(form, 150)
  chances = objective.chances
  assert found['order_accuracy'] > chances['order_accuracy'] + 0.2
  assert found['order_loss'] < chances['order_loss'] - 0.2
  assert 'order_baseline' not in found
  line = evaluation.summary(objective, found)
  accuracy = f'{found["order_accuracy"]:.4f}'
  assert line.endswith(
    f'(guessing: 1.5230), accuracy {accuracy} (guessing: 0.3333)'
  )
