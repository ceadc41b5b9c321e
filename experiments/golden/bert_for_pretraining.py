"""Makes the goldens of `tests/models/test_bert.py` with transformers and torch.

    pip install torch transformers
    python experiments/golden/bert_for_pretraining.py tests/golden

Writes bert_2_layers.npz and bert_12_layers.npz: a tiny random
`BertForPreTraining`, a batch with padding, both sentence types and fewer
targets than slots, and what torch computes from it in float32 on the CPU:
hidden states, logits, loss and the gradient of every parameter. Weights are
int8 multiples of 1/256 (norm scales: 1 plus that), small on disk and exact in
float32; those of all layers are stacked under one name with a '*'. Prints how
far torch's float32 is from its float64; no tolerance below that makes sense.
"""

import pathlib
import re
import sys

import numpy as np
import torch
import transformers

SIZES = {
  'bert_2_layers': dict(layers=2, width=32, heads=4, feed_forward=64),
  'bert_12_layers': dict(layers=12, width=16, heads=2, feed_forward=32),
}
VOCABULARY_SIZE, POSITIONS, BATCH, LENGTH, TARGETS = 60, 24, 3, 16, 4
WEIGHT_UNIT = 1 / 256
# BERT's own 0.02 would leave so narrow a model nearly linear. Above 0.2 the
# positions of the deep model become alike, and the gradients of queries and
# keys drown in rounding, even torch's.
WEIGHT_STDDEV = 0.15


def make_weights(model, random) -> dict[str, np.ndarray]:
  """Draws every weight as an int8 number of units."""
  return {
    name: np.clip(
      np.round(random.randn(*weight.shape) * (WEIGHT_STDDEV / WEIGHT_UNIT)),
      -127,
      127,
    ).astype(np.int8)
    for name, weight in model.named_parameters()
  }


def make_batch(random) -> dict[str, np.ndarray]:
  """Draws a batch whose rows are full, padded, and padded to a third."""
  lengths = np.array([LENGTH, 11, 6])
  column = np.arange(LENGTH)
  segments = (column < lengths[:, None]).astype(np.int32)
  target_positions = np.zeros((BATCH, TARGETS), np.int32)
  weights = np.zeros((BATCH, TARGETS), np.float32)
  for row, count in enumerate((4, 3, 1)):
    target_positions[row, :count] = np.sort(
      1 + random.permutation(lengths[row] - 1)[:count]
    )
    weights[row, :count] = 1
  tokens = random.randint(5, VOCABULARY_SIZE, (BATCH, LENGTH))
  targets = random.randint(5, VOCABULARY_SIZE, (BATCH, TARGETS))
  return {
    'tokens': (tokens * segments).astype(np.int32),
    'types': ((column >= lengths[:, None] // 2) * segments).astype(np.int32),
    'positions': np.tile(column.astype(np.int32), (BATCH, 1)),
    'segments': segments,
    'target_positions': target_positions,
    'targets': (targets * weights).astype(np.int32),
    'weights': weights,
    'first_positions': np.zeros((BATCH, 1), np.int32),
    'pair_labels': np.array([[0], [1], [1]], np.int32),
    'pair_weights': np.ones((BATCH, 1), np.float32),
  }


def run(model, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns outputs and gradients of one forward and backward pass."""
  labels = np.full((BATCH, LENGTH), -100)
  for row, slot in zip(*np.nonzero(batch['weights']), strict=True):
    labels[row, batch['target_positions'][row, slot]] = batch['targets'][
      row, slot
    ]
  model.zero_grad()
  result = model(
    input_ids=torch.tensor(batch['tokens'].astype(np.int64)),
    attention_mask=torch.tensor(batch['segments'].astype(np.int64)),
    token_type_ids=torch.tensor(batch['types'].astype(np.int64)),
    labels=torch.tensor(labels),
    next_sentence_label=torch.tensor(
      batch['pair_labels'][:, 0].astype(np.int64)
    ),
    output_hidden_states=True,
  )
  result.loss.backward()
  logits = result.prediction_logits.detach().numpy()
  rows = np.arange(BATCH)[:, None]
  return {
    'hidden': result.hidden_states[-1].detach().numpy(),
    'mlm_logits': logits[rows, batch['target_positions']],
    'nsp_logits': result.seq_relationship_logits.detach().numpy()[:, None],
    'loss': result.loss.detach().numpy(),
    **{
      f'gradient/{name}': weight.grad.numpy()
      for name, weight in model.named_parameters()
    },
  }


def stack_layers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Stacks 'layer.0.x', 'layer.1.x', ... as 'layer.*.x': [N, ...]."""
  stacks = {}
  for name, array in arrays.items():
    stacks.setdefault(re.sub(r'layer\.\d+', 'layer.*', name), []).append(array)
  return {
    name: np.stack(stack) if '*' in name else stack[0]
    for name, stack in stacks.items()
  }


def make_golden(layers, width, heads, feed_forward):
  """Returns the arrays of one golden file; prints torch's own error."""
  random = np.random.RandomState(layers)  # its streams never change
  model = transformers.BertForPreTraining(
    transformers.BertConfig(
      vocab_size=VOCABULARY_SIZE,
      hidden_size=width,
      num_hidden_layers=layers,
      num_attention_heads=heads,
      intermediate_size=feed_forward,
      max_position_embeddings=POSITIONS,
      attn_implementation='eager',
    )
  )
  model.eval()  # no dropout
  weights = make_weights(model, random)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      offset = 1.0 if name.endswith('LayerNorm.weight') else 0.0
      weight.copy_(torch.tensor(weights[name] * WEIGHT_UNIT + offset))
  batch = make_batch(random)
  single, double = run(model, batch), run(model.double(), batch)
  errors = {
    name: np.abs(single[name] - double[name]).max() / np.abs(double[name]).max()
    for name in single
    if 'key.bias' not in name
  }
  worst = max(errors, key=errors.get)
  print(
    f'{layers} layers: loss {single["loss"]:.6f}, torch float32 against '
    f'float64: at most {errors[worst]:.1e} ({worst})'
  )
  return {
    'sizes': np.array(
      [VOCABULARY_SIZE, width, layers, heads, feed_forward, POSITIONS]
    ),
    'weight_unit': np.float32(WEIGHT_UNIT),
    **{f'batch/{name}': value for name, value in batch.items()},
    **stack_layers(
      {f'weight/{name}': value for name, value in weights.items()}
    ),
    **stack_layers(single),
  }


def main():
  folder = pathlib.Path(sys.argv[1])
  for name, sizes in SIZES.items():
    np.savez_compressed(folder / f'{name}.npz', **make_golden(**sizes))


if __name__ == '__main__':
  main()
