"""Makes the golden of `tests/interop/test_families_golden.py` with torch.

    pip install torch transformers
    PYTHONPATH=. python experiments/golden/other_families.py tests/golden

Writes other_families.npz: for RoBERTa and ModernBERT, tiny models with small
random weights (whole numbers times `weight_unit`, exact in float32; the scales
of norms 1 plus that), and what torch computes from them in float32 on the CPU,
with eager attention: last hidden states, masked-LM logits, the loss, its
gradient of every tensor, and the logits of each class with a task's head. The
window of ModernBERT is narrower than the rows, some of which are padded. Prints
how far torch's float32 is from its float64, in units of the largest element: no
tolerance below that makes sense.

    PYTHONPATH=. python experiments/golden/other_families.py counts

prints how many parameters the full sizes have, on torch's meta device.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers

from experiments.golden import bert_for_pretraining as pretraining

UNIT = pretraining.WEIGHT_UNIT
VOCABULARY, LENGTH, TARGETS, PADDING = 40, 24, 5, 1
IDS = {
  'pad_token_id': PADDING,
  'bos_token_id': 0,
  'eos_token_id': 2,
  'initializer_range': 0.02,
  'vocab_size': VOCABULARY,
  'hidden_size': 16,
  'num_attention_heads': 2,
  'attn_implementation': 'eager',
}
LABELS = {
  'ForSequenceClassification': ['bad', 'neither', 'good'],
  'ForTokenClassification': ['O', 'B-X', 'I-X'],
  'ForQuestionAnswering': ['LABEL_0', 'LABEL_1'],
}
# Name -> (prefix of the classes, attributes).
MODELS = {
  'roberta': (
    'Roberta',
    dict(
      num_hidden_layers=2,
      intermediate_size=32,
      max_position_embeddings=LENGTH + 2 + PADDING + 1,
      type_vocab_size=1,
      layer_norm_eps=1e-5,
      hidden_act='relu',  # not in the masked-LM head
    ),
  ),
  'modernbert': (
    'ModernBert',
    dict(
      num_hidden_layers=4,
      intermediate_size=24,
      max_position_embeddings=64,
      local_attention=8,
      cls_token_id=0,
      sep_token_id=2,
      classifier_pooling='mean',
    ),
  ),
  # All that is off in the published models, and another pattern.
  'modernbert_biases': (
    'ModernBert',
    dict(
      num_hidden_layers=3,
      intermediate_size=24,
      max_position_embeddings=64,
      local_attention=4,
      global_attn_every_n_layers=2,
      cls_token_id=0,
      sep_token_id=2,
      norm_bias=True,
      attention_bias=True,
      mlp_bias=True,
      classifier_bias=True,
      decoder_bias=False,
      hidden_activation='silu',
      classifier_activation='gelu',
      tie_word_embeddings=False,
    ),
  ),
}
SIZES = {
  'modernbert_base': transformers.ModernBertConfig(),
  'modernbert_large': transformers.ModernBertConfig(
    hidden_size=1024,
    num_hidden_layers=28,
    num_attention_heads=16,
    intermediate_size=2624,
  ),
  'roberta_base': transformers.RobertaConfig(
    max_position_embeddings=514, type_vocab_size=1
  ),
  'roberta_large': transformers.RobertaConfig(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    max_position_embeddings=514,
    type_vocab_size=1,
  ),
}


def make_batch(random) -> dict[str, np.ndarray]:
  """Draws rows that are full, padded, and padded to a third."""
  lengths = np.array([LENGTH, 17, 9])
  column = np.arange(LENGTH)
  segments = (column < lengths[:, None]).astype(np.int32)
  positions = np.zeros((3, TARGETS), np.int32)
  weights = np.zeros((3, TARGETS), np.float32)
  for row, count in enumerate((5, 4, 2)):
    drawn = 1 + random.permutation(lengths[row] - 1)[:count]
    positions[row, :count] = np.sort(drawn)
    weights[row, :count] = 1
  tokens = random.randint(5, VOCABULARY, (3, LENGTH))
  targets = random.randint(5, VOCABULARY, (3, TARGETS))
  return {
    'tokens': np.where(segments, tokens, PADDING).astype(np.int32),
    'types': np.zeros_like(segments),
    'positions': np.tile(column.astype(np.int32), (3, 1)),
    'segments': segments,
    'target_positions': positions,
    'targets': (targets * weights).astype(np.int32),
    'weights': weights,
    'first_positions': np.zeros((3, 1), np.int32),
  }


def make_weights(model, random) -> dict[str, np.ndarray]:
  """Draws whole numbers, puts them times the unit into the model."""
  found = pretraining.make_weights(model, random)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      values = torch.tensor(found[name] * UNIT)
      norm = 'norm' in name.lower() and name.endswith('.weight')
      weight.copy_(values + (1.0 if norm else 0.0))
  return found


def run(model, batch) -> dict[str, np.ndarray]:
  """Returns outputs, and of a masked-LM model loss and gradients, too."""
  inputs = {
    'input_ids': torch.tensor(batch['tokens']).long(),
    'attention_mask': torch.tensor(batch['segments']).long(),
  }
  if not type(model).__name__.endswith('MaskedLM'):
    with torch.no_grad():
      found = model(**inputs)
    if 'logits' in found:
      return {'logits': found.logits.numpy()}
    ends = found.start_logits, found.end_logits
    return {'logits': torch.stack(ends, dim=-1).numpy()}
  labels = np.full(batch['tokens'].shape, -100)
  for row, slot in zip(*np.nonzero(batch['weights']), strict=True):
    position = batch['target_positions'][row, slot]
    labels[row, position] = batch['targets'][row, slot]
  model.zero_grad()
  found = model(
    **inputs, labels=torch.tensor(labels), output_hidden_states=True
  )
  found.loss.backward()
  # That of ModernBERT stands before the last norm.
  hidden = model.base_model(**inputs).last_hidden_state
  rows = np.arange(len(labels))[:, None]
  return {
    'hidden': hidden.detach().numpy(),
    'mlm_logits': found.logits.detach().numpy()[
      rows, batch['target_positions']
    ],
    'loss': found.loss.detach().numpy(),
    **{
      f'gradient/{name}': weight.grad.numpy()
      for name, weight in model.named_parameters()
    },
  }


def make_golden(prefix: str, attributes, batch, random):
  """Returns the arrays of one model: class -> tensors and what it computes."""
  arrays, encoder = {}, {}
  for suffix in ('ForMaskedLM', *LABELS):
    name = prefix + suffix
    labels = LABELS.get(suffix, [])
    config = getattr(transformers, f'{prefix}Config')(
      architectures=[name],
      **IDS | attributes,
      id2label=dict(enumerate(labels or ['LABEL_0', 'LABEL_1'])),
      label2id={x: i for i, x in enumerate(labels or ['LABEL_0', 'LABEL_1'])},
    )
    model = getattr(transformers, name)(config).eval()
    weights = make_weights(model, random)
    with torch.no_grad():  # one encoder for all, to keep the file small
      for key, values in encoder.items():
        if key in weights:
          own = model.get_parameter(key)
          norm = 'norm' in key.lower() and key.endswith('.weight')
          own.copy_(torch.tensor(values * UNIT) + (1.0 if norm else 0.0))
    single = run(model, batch)
    # Eager attention rounds scores to float32 before the softmax, in which the
    # mask of float64 is -infinity, and padding out of reach of any token NaN.
    model.set_attn_implementation('sdpa')
    double = run(model.double(), batch)
    for found in single, double:  # what padding holds is nobody's business
      for key, values in found.items():
        if values.shape[:2] == batch['tokens'].shape:
          found[key] = values * batch['segments'][..., None]
    errors = {
      key: np.abs(single[key] - double[key]).max() / np.abs(double[key]).max()
      for key in single
      if np.abs(double[key]).max() > 1e-12  # that of a key's bias is 0
    }
    worst = max(errors, key=errors.get)
    print(
      f'{name}: torch float32 against float64: at most {errors[worst]:.1e} '
      f'({worst})'
    )
    own = {k: x for k, x in weights.items() if k not in encoder}
    arrays |= {f'{suffix}/tensors/{key}': x for key, x in own.items()}
    arrays |= {f'{suffix}/{key}': x for key, x in single.items()}
    arrays[f'{suffix}/config.json'] = np.array(config.to_json_string())
    encoder |= own if suffix == 'ForMaskedLM' else {}
  return arrays


def count() -> None:
  for name, config in SIZES.items():
    model = {'m': 'ModernBert', 'r': 'Roberta'}[name[0]] + 'ForMaskedLM'
    with torch.device('meta'):
      made = getattr(transformers, model)(config)
    print(name, model, sum(x.numel() for x in made.parameters()))


def main():
  if sys.argv[1] == 'counts':
    return count()
  random = np.random.RandomState(0)  # its streams never change
  batch = make_batch(random)
  arrays = {'weight_unit': np.float32(UNIT)}
  arrays |= {f'batch/{key}': value for key, value in batch.items()}
  for name, (prefix, attributes) in MODELS.items():
    found = make_golden(prefix, attributes, batch, random)
    arrays |= {f'{name}/{key}': value for key, value in found.items()}
  np.savez_compressed(
    pathlib.Path(sys.argv[1]) / 'other_families.npz', **arrays
  )


if __name__ == '__main__':
  main()
