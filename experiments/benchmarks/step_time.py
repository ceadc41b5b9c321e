"""Times a pretraining step of bertjax against transformers in torch.

    pip install torch transformers
    PYTHONPATH=. python experiments/benchmarks/step_time.py --sizes mini base

The same work on the same machine in the same process: batch 16, length 128, 20
predicted positions, float32, dropout 0 and 0.1, one AdamW step with clipping.
torch runs `BertForPreTraining` eagerly with its own AdamW, which computes the
vocabulary product on all positions, as everyone who uses it does. Each
repetition times one step of either, in turn, so that a busy machine slows both
alike; the median counts. Prints a row for each size and rate. Source: ours.
"""

# ruff: noqa: E402, I001
from bertjax.training import host_memory

# As bertjax.main does, before anything allocates; torch gains as well.
host_memory.keep_freed()

import argparse
import os
import statistics
import time

import jax
import numpy as np
import torch
import transformers

from bertjax import batch, partitioning
from bertjax.models.bert import BertForPreTraining
from bertjax.models.config import EncoderConfig
from bertjax.training import objectives, optimizer, state, step

# layers, width; google-research/bert
SIZES = {'tiny': (2, 128), 'mini': (4, 256), 'small': (4, 512),
         'medium': (8, 512), 'base': (12, 768)}
VOCABULARY_SIZE = 30522
LEARNING_RATE = 1e-4


def make_jax_step(layers: int, width: int, dropout: float, example):
  """Returns a function that makes one step and waits for it."""
  model = BertForPreTraining(EncoderConfig(
      vocabulary_size=VOCABULARY_SIZE, width=width, layers=layers,
      heads=width // 64, feed_forward=4 * width, dropout=dropout))
  adamw = optimizer.adamw(LEARNING_RATE)
  mesh = partitioning.make_mesh()
  shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype)
            for name, array in example.items()}
  compiled = step.compile_train_step(
      objectives.MaskedLanguageModel(model), adamw, mesh,
      state.abstract(model, adamw, shapes, mesh))
  current = state.create(model, adamw, shapes, mesh, seed=0)
  rng = jax.random.key(0)
  placed = partitioning.put_batch(example, mesh)

  def run():
    nonlocal current
    current, terms = compiled(current, placed, rng)
    jax.block_until_ready((current, terms))

  return run


def make_torch_step(layers: int, width: int, dropout: float, example):
  """Returns a function that makes one step."""
  model = transformers.BertForPreTraining(transformers.BertConfig(
      vocab_size=VOCABULARY_SIZE, hidden_size=width, num_hidden_layers=layers,
      num_attention_heads=width // 64, intermediate_size=4 * width,
      hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout))
  model.train()
  adamw = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
  labels = np.full(example['tokens'].shape, -100)
  rows, slots = np.nonzero(example['weights'])
  labels[rows, example['target_positions'][rows, slots]] = (
      example['targets'][rows, slots])
  inputs = {
      'input_ids': example['tokens'],
      'attention_mask': example['segments'],
      'token_type_ids': example['types'],
      'labels': labels,
      'next_sentence_label': example['pair_labels'][:, 0],
  }
  inputs = {name: torch.tensor(array.astype(np.int64))
            for name, array in inputs.items()}

  def run():
    adamw.zero_grad()
    model(**inputs).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adamw.step()

  return run


def time_in_turn(steps, repetitions: int) -> list[float]:
  """Returns the median milliseconds of every step, after one to warm up."""
  times = [[] for _ in steps]
  for repetition in range(repetitions + 1):
    for run, taken in zip(steps, times, strict=True):
      start = time.perf_counter()
      run()
      if repetition:
        taken.append(1e3 * (time.perf_counter() - start))
  return [statistics.median(taken) for taken in times]


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--sizes', nargs='+', default=['mini', 'base'],
                      choices=SIZES)
  parser.add_argument('--dropout', nargs='+', type=float, default=[0.0, 0.1])
  parser.add_argument('--repetitions', type=int, default=5)
  options = parser.parse_args()
  example = batch.synthetic(batch_size=16, length=128, predictions=20,
                            vocabulary_size=VOCABULARY_SIZE, seed=0)
  print(f'jax {jax.__version__} on {jax.devices()[0].device_kind}, torch '
        f'{torch.__version__}, transformers {transformers.__version__}, '
        f'{os.cpu_count()} cores')
  print('size    dropout  bertjax ms  torch ms  torch / bertjax')
  for size in options.sizes:
    for dropout in options.dropout:
      ours, theirs = time_in_turn(
          [make_jax_step(*SIZES[size], dropout, example),
           make_torch_step(*SIZES[size], dropout, example)],
          options.repetitions)
      print(f'{size:6} {dropout:8} {ours:11.0f} {theirs:9.0f} '
            f'{theirs / ours:16.2f}', flush=True)


if __name__ == '__main__':
  main()
