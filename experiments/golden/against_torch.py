"""Pretrains BERT mini with bertjax and with torch on the same batches.

    pip install -r requirements.txt torch transformers
    PYTHONPATH=. python experiments/golden/against_torch.py \\
        --text $DATA/text/novels.txt \\
        --vocabulary $DATA/vocabulary/bert-base-uncased.vocab.txt \\
        --output runs/against_torch

Both sides start from the same weights and take turns on every batch: float32,
dropout 0, AdamW with BERT's decay mask, clipping, linear warmup and decay.
torch runs transformers' `BertForPreTraining`, with its masked-LM head on the
predicted positions only, which changes nothing but the time, and torch's own
AdamW and clipping. Its schedule and decay mask are written out here, so that a
mistake in bertjax would show. Writes losses.csv and curves.png; prints the gap
and both held-out losses.
"""

import argparse
import csv
import itertools
import os
import time

import jax
import matplotlib
import numpy as np
import torch
import transformers

from bertjax import batch as batch_lib
from bertjax.corpus import corpora, pipeline
from bertjax.interop import names
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.parallel import partitioning
from bertjax.training import objectives, optimizer, schedules, step
from bertjax.training import state as state_lib

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

BATCH_SIZE, LENGTH, PREDICTIONS, SEED = 16, 128, 20, 0
PEAK, DECAY = 5e-4, 0.01


class Ours:
  """bertjax's side: its model, objective, schedule, optimizer and step."""

  def __init__(self, config: EncoderConfig, steps: int):
    model = BertForPreTraining(config)
    self._mesh = partitioning.make_mesh()
    shapes = batch_lib.shapes(BATCH_SIZE, LENGTH, PREDICTIONS)
    adamw = optimizer.adamw(schedules.warmup_linear(PEAK, None, steps))
    objective = objectives.MaskedLanguageModel(model)
    abstract = state_lib.abstract(objective, adamw, shapes, self._mesh)
    self._train = step.compile_train_step(
      objective, adamw, self._mesh, step.placement(abstract)
    )
    self._evaluate = step.compile_evaluation_step(
      objective, self._mesh, step.placement(abstract.parameters)
    )
    self._state = state_lib.create(objective, adamw, shapes, self._mesh, SEED)
    self._rng = jax.random.key(SEED)
    self.weights = names.to_huggingface(
      jax.device_get(self._state.parameters), config
    )

  def train(self, batch) -> dict[str, float]:
    placed = partitioning.put_batch(batch, self._mesh)
    self._state, terms = self._train(self._state, placed, self._rng, None)
    return _losses(terms)

  def evaluate(self, batch):
    """Returns the sum and the number of the masked-LM losses of a batch."""
    placed = partitioning.put_batch(batch, self._mesh)
    return map(
      float, self._evaluate(self._state.parameters, placed, None)['mlm_loss']
    )


def _losses(terms) -> dict[str, float]:
  return {
    name: float(terms[name][0] / terms[name][1])
    for name in ('mlm_loss', 'nsp_loss')
  }


class Theirs:
  """torch's side."""

  def __init__(self, config: EncoderConfig, steps: int, weights):
    self._model = transformers.BertForPreTraining(
      transformers.BertConfig(
        vocab_size=config.vocabulary_size,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.feed_forward,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
      )
    )
    tensors = {name: torch.tensor(np.array(x)) for name, x in weights.items()}
    missing, unexpected = self._model.load_state_dict(tensors, strict=False)
    tied = {
      'cls.predictions.decoder.weight',
      'cls.predictions.decoder.bias',
      'bert.embeddings.position_ids',
    }
    assert set(missing) <= tied and not unexpected, (missing, unexpected)
    still = ('bias', 'LayerNorm.weight')  # as in google-research/bert
    parameters = list(self._model.named_parameters())
    self._adamw = torch.optim.AdamW(
      [
        {
          'params': [x for n, x in parameters if not n.endswith(still)],
          'weight_decay': DECAY,
        },
        {
          'params': [x for n, x in parameters if n.endswith(still)],
          'weight_decay': 0.0,
        },
      ],
      lr=PEAK,
      betas=(0.9, 0.999),
      eps=1e-6,
    )
    warmup = steps // 10
    self._schedule = torch.optim.lr_scheduler.LambdaLR(
      self._adamw,
      lambda made: min(
        (made + 1) / (warmup + 1), (steps - made) / (steps - warmup)
      ),
    )

  def _forward(self, batch):
    """Returns both losses' means and the weight of the first."""
    batch = {key: torch.tensor(np.array(x)) for key, x in batch.items()}
    hidden, pooled = self._model.bert(
      batch['tokens'].long(),
      (batch['segments'] > 0).long(),
      batch['types'].long(),
      return_dict=False,
    )
    rows, slots = torch.nonzero(batch['weights'], as_tuple=True)
    places = batch['target_positions'].long()[rows, slots]
    logits = self._model.cls.predictions(hidden[rows, places])
    mlm = torch.nn.functional.cross_entropy(
      logits, batch['targets'].long()[rows, slots]
    )
    real = batch['pair_weights'][:, 0] > 0
    nsp = torch.nn.functional.cross_entropy(
      self._model.cls.seq_relationship(pooled)[real],
      batch['pair_labels'].long()[real, 0],
    )
    return mlm, nsp, len(rows)

  def train(self, batch) -> dict[str, float]:
    self._adamw.zero_grad()
    mlm, nsp, _ = self._forward(batch)
    (mlm + nsp).backward()
    torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
    self._adamw.step()
    self._schedule.step()
    return {'mlm_loss': mlm.item(), 'nsp_loss': nsp.item()}

  def evaluate(self, batch):
    """Returns the sum and the number of the masked-LM losses of a batch."""
    with torch.no_grad():
      mlm, _, count = self._forward(batch)
    return mlm.item() * count, count


def held_out_loss(side, batches) -> float:
  """Returns the mean masked-LM loss, in nats per masked token."""
  sums = np.array([list(side.evaluate(batch)) for batch in batches]).sum(0)
  return sums[0] / sums[1]


def draw(rows, path: str) -> None:
  """Draws both curves, each a mean of 20 steps, and their difference."""
  table = np.array(
    [[row['ours_mlm_loss'], row['torch_mlm_loss']] for row in rows]
  )
  window = min(20, len(table))
  smooth = np.stack(
    [
      np.convolve(column, np.ones(window) / window, 'valid')
      for column in table.T
    ],
    1,
  )
  steps = np.arange(len(smooth)) + window
  figure, (above, below) = plt.subplots(
    2, 1, sharex=True, figsize=(7, 5), height_ratios=(3, 1)
  )
  above.plot(
    steps, smooth[:, 1], label='transformers in torch', linewidth=3, color='0.7'
  )
  above.plot(steps, smooth[:, 0], label='bertjax', linewidth=1, color='C0')
  above.set_ylabel(f'masked-LM loss, nats (mean of {window} steps)')
  above.legend()
  below.plot(
    np.arange(len(table)) + 1,
    table[:, 0] - table[:, 1],
    linewidth=0.7,
    color='C3',
  )
  below.set_ylabel('bertjax − torch')
  below.set_xlabel('step')
  figure.tight_layout()
  figure.savefig(path, dpi=120)


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--text', required=True)
  parser.add_argument('--vocabulary', required=True)
  parser.add_argument('--output', required=True)
  parser.add_argument('--steps', type=int, default=1000)
  parser.add_argument('--held_out_batches', type=int, default=50)
  options = parser.parse_args()
  os.makedirs(options.output, exist_ok=True)

  corpus = corpora.from_text(options.text, options.output, options.vocabulary)
  config = EncoderConfig(
    vocabulary_size=len(corpus.vocabulary.tokens),
    width=256,
    layers=4,
    heads=4,
    feed_forward=1024,
    dropout=0.0,
  )
  sizes = dict(
    corpus=corpus,
    batch_size=BATCH_SIZE,
    length=LENGTH,
    predictions=PREDICTIONS,
    seed=SEED,
  )
  training = iter(pipeline.batches(**sizes))
  held_out = list(
    itertools.islice(
      pipeline.batches(**sizes, split='validation', epochs=1, shuffle=False),
      options.held_out_batches,
    )
  )
  ours = Ours(config, options.steps)
  theirs = Theirs(config, options.steps, ours.weights)

  rows, waited, started = [], 0.0, time.monotonic()
  for number in range(1, options.steps + 1):
    before = time.monotonic()
    batch = next(training)
    waited += time.monotonic() - before
    mine, other = ours.train(batch), theirs.train(batch)
    rows.append(
      {
        'step': number,
        **{f'ours_{name}': value for name, value in mine.items()},
        **{f'torch_{name}': value for name, value in other.items()},
      }
    )
    if number % 50 == 0:
      left = (time.monotonic() - started) / number * (options.steps - number)
      print(
        f'step {number}: {mine["mlm_loss"]:.5f} here, '
        f'{other["mlm_loss"]:.5f} in torch; {left:.0f} s left',
        flush=True,
      )

  with open(f'{options.output}/losses.csv', 'w', encoding='utf-8') as file:
    table = csv.DictWriter(file, rows[0])
    table.writeheader()
    table.writerows(rows)
  draw(rows, f'{options.output}/curves.png')
  gaps = np.array(
    [row['ours_mlm_loss'] - row['torch_mlm_loss'] for row in rows[200:] or rows]
  )
  print(
    f'after step 200: mean gap {gaps.mean():+.5f} nats, mean of its '
    f'absolute value {np.abs(gaps).mean():.5f}, largest '
    f'{np.abs(gaps).max():.5f}'
  )
  for name, side in (('bertjax', ours), ('torch', theirs)):
    print(
      f'held-out masked-LM loss, {name}: {held_out_loss(side, held_out):.5f}'
    )


if __name__ == '__main__':
  main()
