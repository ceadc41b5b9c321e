"""Makes the golden of `tests/interop/test_huggingface.py` with transformers.

    pip install torch transformers
    PYTHONPATH=. python experiments/golden/task_heads.py tests/golden

Writes task_heads.npz: for each of transformers' classes of fine-tuned BERT, the
config.json that it writes, the tensors of its file by their names there (small
random whole numbers times `weight_unit`, exact in float32), and its logits for
a batch with padding and both sentence types, in float32 on the CPU.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers

from experiments.golden import bert_for_pretraining as pretraining

CLASSES = {
  'BertForSequenceClassification': ['bad', 'neither', 'good'],
  'BertForTokenClassification': ['O', 'B-X', 'I-X'],
  'BertForQuestionAnswering': ['LABEL_0', 'LABEL_1'],
}


def make_golden(name: str, labels: list[str], batch, random):
  """Returns the arrays of one class."""
  config = transformers.BertConfig(
    architectures=[name],
    vocab_size=pretraining.VOCABULARY_SIZE,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=pretraining.POSITIONS,
    id2label=dict(enumerate(labels)),
    label2id={label: i for i, label in enumerate(labels)},
  )
  model = getattr(transformers, name)(config).eval()
  weights = pretraining.make_weights(model, random)
  with torch.no_grad():
    for key, weight in model.named_parameters():
      weight.copy_(torch.tensor(weights[key] * pretraining.WEIGHT_UNIT))
    found = model(
      input_ids=torch.tensor(batch['tokens']).long(),
      attention_mask=torch.tensor(batch['segments']).long(),
      token_type_ids=torch.tensor(batch['types']).long(),
    )
  logits = (
    found.logits
    if 'logits' in found
    else torch.stack([found.start_logits, found.end_logits], axis=-1)
  )
  return {
    f'{name}/config.json': np.array(config.to_json_string()),
    f'{name}/logits': logits.numpy(),
    **{f'{name}/tensors/{key}': value for key, value in weights.items()},
  }


def main():
  random = np.random.RandomState(0)  # its streams never change
  batch = pretraining.make_batch(random)
  arrays = {'weight_unit': np.float32(pretraining.WEIGHT_UNIT)}
  for key in ('tokens', 'types', 'positions', 'segments', 'first_positions'):
    arrays[f'batch/{key}'] = batch[key]
  for name, labels in CLASSES.items():
    arrays |= make_golden(name, labels, batch, random)
  np.savez_compressed(pathlib.Path(sys.argv[1]) / 'task_heads.npz', **arrays)


if __name__ == '__main__':
  main()
