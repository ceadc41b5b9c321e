"""Compares bertjax with transformers on Hugging Face directories.

    pip install torch transformers
    PYTHONPATH=. python experiments/golden/huggingface_parity.py $DATA/weights/*

For each directory it prints the largest absolute difference, in float32, of
attention weights, hidden states, pooled output, masked-LM and next-sentence
logits over all positions of a batch of random rows, with pairs and padding.
Then it does the same for what `huggingface.save` writes and transformers loads,
and compares the tokenizers' ids. Exits with status 1 if a difference exceeds
1e-4.
"""

import sys
import tempfile

import jax
import numpy as np
import torch
import transformers

from bertjax.inspection import taps
from bertjax.interop import huggingface, names
from bertjax.models.bert import BertForPreTraining
from bertjax.text.tokenizer import Tokenizer

LIMIT = 1e-4
TEXTS = ['Hello, World!', 'naïve café – 東京', "don't [MASK] it", '', 'a' * 120]


def make_batch(vocabulary_size: int, length: int = 48, rows: int = 4):
  random = np.random.default_rng(0)
  lengths = np.array([length, length // 2, 7, length - 1])[:rows, None]
  column = np.arange(length)
  segments = (column < lengths).astype(np.int32)
  every = np.tile(column.astype(np.int32), (rows, 1))
  return {
    'tokens': segments
    * random.integers(1, vocabulary_size, (rows, length)).astype(np.int32),
    'types': segments * (column >= lengths // 3).astype(np.int32),
    'positions': every,
    'segments': segments,
    'target_positions': every,  # each position is scored
    'first_positions': np.zeros((rows, 1), np.int32),
  }


def ours(config, parameters, batch) -> dict[str, np.ndarray]:
  model = BertForPreTraining(config, next_sentence='nsp_head' in parameters)
  outputs = jax.jit(lambda p, b: model.apply({'params': p}, b, train=False))(
    parameters, batch
  )
  weights = 'attention/weights'
  outputs['attention'] = np.moveaxis(
    taps.stack(taps.collect(model, parameters, batch, [weights]), weights),
    (1, 3),
    (0, 1),
  )
  return {name: np.asarray(array) for name, array in outputs.items()}


def theirs(directory: str, batch) -> dict[str, np.ndarray]:
  inputs = {
    'input_ids': torch.tensor(batch['tokens']).long(),
    'token_type_ids': torch.tensor(batch['types']).long(),
    'attention_mask': torch.tensor(batch['segments']).long(),
  }
  transformers.logging.set_verbosity_error()
  model = transformers.BertForPreTraining.from_pretrained(
    directory, attn_implementation='eager', dtype=torch.float32
  ).eval()
  with torch.no_grad():
    encoded = model.bert(**inputs, output_attentions=True)
    heads = model(**inputs)
  return {
    'attention': np.moveaxis(
      torch.stack(encoded.attentions).numpy(), (1, 3), (0, 1)
    ),
    'hidden': encoded.last_hidden_state.numpy(),
    'pooled': encoded.pooler_output[:, None].numpy(),
    'mlm_logits': heads.prediction_logits.numpy(),
    'nsp_logits': heads.seq_relationship_logits[:, None].numpy(),
  }


def compare(directory: str, config, parameters, batch) -> float:
  found, expected = ours(config, parameters, batch), theirs(directory, batch)
  real = batch['segments'].astype(bool)
  worst = 0.0
  for name, array in found.items():
    mine, other = array, expected[name]
    if array.shape[1] == real.shape[1]:
      mine, other = mine[real], other[real]
    difference = float(np.abs(mine - other).max())
    worst = max(worst, difference)
    print(f'  {name:11} {difference:.1e} of {np.abs(other).max():.1f}')
  return worst


def main() -> int:
  worst = 0.0
  for directory in sys.argv[1:]:
    print(directory)
    checkpoint = huggingface.read(directory)
    print('  ' + checkpoint.report().replace('\n', '\n  '))
    batch = make_batch(checkpoint.config.vocabulary_size)
    worst = max(
      worst, compare(directory, checkpoint.config, checkpoint.parameters, batch)
    )
    heads = names.heads_of(checkpoint.parameters)
    with tempfile.TemporaryDirectory() as folder:
      huggingface.save(
        folder,
        checkpoint.config,
        checkpoint.parameters,
        Tokenizer.load(directory),
      )
      print(f'  exported with {", ".join(heads)}:')
      worst = max(
        worst, compare(folder, checkpoint.config, checkpoint.parameters, batch)
      )
      reference = transformers.AutoTokenizer.from_pretrained(folder)
      tokenizer = Tokenizer.load(folder)
      for text in TEXTS:
        [(mine, _)] = tokenizer.rows([text], length=512)
        other = reference(text)['input_ids']
        assert mine.ids == other or '[MASK]' in text, (text, mine, other)
  print(f'largest difference {worst:.1e}, limit {LIMIT}')
  return int(worst > LIMIT)


if __name__ == '__main__':
  sys.exit(main())
