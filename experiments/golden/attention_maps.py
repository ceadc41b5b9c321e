"""Makes the golden of `tests/inspection/test_attention_maps.py`.

    pip install torch transformers
    PYTHONPATH=. python experiments/golden/attention_maps.py tests/golden

Reads bert_2_layers.npz there (see bert_for_pretraining.py) and writes
attention_maps.npz, computed by transformers in float32 on the CPU: `weights`,
its `output_attentions` [N, B, H, L, M]; and `importance` [N, H], the mean of
|dL/dmask| over the batch's sequences. The mask, of ones, multiplies the output
of each head, and L is the sum of the sequence's masked-LM and next-sentence
losses. One backward pass per sequence; shares no code with bertjax. Source:
Michel, Levy and Neubig 2019 (arXiv:1905.10650), equation 1.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers


def load(path: pathlib.Path):
  """Returns the model of a golden file, and its batch."""
  arrays = np.load(path)
  vocabulary, width, layers, heads, feed_forward, positions = arrays[
    'sizes'
  ].tolist()
  model = transformers.BertForPreTraining(
    transformers.BertConfig(
      vocab_size=vocabulary,
      hidden_size=width,
      num_hidden_layers=layers,
      num_attention_heads=heads,
      intermediate_size=feed_forward,
      max_position_embeddings=positions,
      attn_implementation='eager',
    )
  ).eval()
  with torch.no_grad():
    for name, weight in model.named_parameters():
      offset = 1.0 if name.endswith('LayerNorm.weight') else 0.0
      parts = name.split('.')
      if 'layer' in parts:
        index = parts.index('layer') + 1
        number, parts[index] = int(parts[index]), '*'
        array = arrays['weight/' + '.'.join(parts)][number]
      else:
        array = arrays[f'weight/{name}']
      weight.copy_(torch.tensor(array * arrays['weight_unit'] + offset))
  batch = {
    name.removeprefix('batch/'): arrays[name]
    for name in arrays
    if name.startswith('batch/')
  }
  return model, batch


def inputs_of(batch, rows=slice(None)):
  return {
    theirs: torch.tensor(batch[ours][rows]).long()
    for theirs, ours in (
      ('input_ids', 'tokens'),
      ('token_type_ids', 'types'),
      ('attention_mask', 'segments'),
    )
  }


def loss_of(model, batch, row: int) -> torch.Tensor:
  """Returns a sequence's loss in nats, summed over its targets and its pair."""
  found = model(**inputs_of(batch, slice(row, row + 1)))
  counted = batch['weights'][row] > 0
  places = batch['target_positions'][row][counted]
  cross_entropy = torch.nn.functional.cross_entropy
  return cross_entropy(
    found.prediction_logits[0, places],
    torch.tensor(batch['targets'][row][counted]).long(),
    reduction='sum',
  ) + cross_entropy(
    found.seq_relationship_logits,
    torch.tensor(batch['pair_labels'][row]).long(),
  )


def main():
  folder = pathlib.Path(sys.argv[1])
  model, batch = load(folder / 'bert_2_layers.npz')
  with torch.no_grad():
    weights = model(**inputs_of(batch), output_attentions=True).attentions
  config = model.config
  mask = torch.ones(
    config.num_hidden_layers, config.num_attention_heads, requires_grad=True
  )
  for number, layer in enumerate(model.bert.encoder.layer):
    layer.attention.output.dense.register_forward_pre_hook(
      lambda _, given, number=number: (
        given[0].unflatten(-1, (config.num_attention_heads, -1))
        * mask[number, :, None]
      ).flatten(-2)
    )
  rows = len(batch['tokens'])
  importance = (
    sum(
      torch.autograd.grad(loss_of(model, batch, row), mask)[0].abs()
      for row in range(rows)
    )
    / rows
  )
  np.savez_compressed(
    folder / 'attention_maps.npz',
    importance=importance.numpy(),
    weights=torch.stack(weights).numpy(),
  )
  print(importance.numpy().round(3))


if __name__ == '__main__':
  main()
