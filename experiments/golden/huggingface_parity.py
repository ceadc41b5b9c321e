"""Compares bertjax with transformers on Hugging Face directories.

    pip install torch transformers
    PYTHONPATH=. python experiments/golden/huggingface_parity.py $DATA/weights/*
    PYTHONPATH=. python experiments/golden/huggingface_parity.py \\
      modernbert_base roberta_base

For each directory it prints the largest absolute difference, in float32, of
attention weights, hidden states, pooled output, masked-LM and next-sentence
logits over all positions of a batch of random rows, with padding and, if the
model has types, pairs; and of the masked-LM loss. A name stands for a model of
that size with random weights, which transformers makes and saves. Then it does
the same for what `huggingface.save` writes and transformers loads, and compares
the tokenizers' ids. Exits with status 1 if a difference exceeds 1e-4.
"""

import json
import pathlib
import sys
import tempfile

import jax
import numpy as np
import torch
import transformers

from bertjax.errors import UserError
from bertjax.inspection import taps
from bertjax.interop import huggingface, names
from bertjax.models.bert import BertForPreTraining
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS
from experiments.golden import other_families

LIMIT = 1e-4
TEXTS = ['Hello, World!', 'naïve café – 東京', "don't [MASK] it", '', 'a' * 120]


def make_batch(directory: str, length: int, rows: int = 4):
  config = json.loads(pathlib.Path(directory, 'config.json').read_text())
  padding = config.get('pad_token_id') or 0
  random = np.random.default_rng(0)
  lengths = np.array([length, length // 2, 7, length - 1])[:rows, None]
  column = np.arange(length)
  segments = (column < lengths).astype(np.int32)
  every = np.tile(column.astype(np.int32), (rows, 1))
  tokens = random.integers(5, config['vocab_size'], (rows, length))
  tokens[tokens == padding] = 5  # RoBERTa counts positions without padding
  types = segments * (column >= lengths // 3).astype(np.int32)
  return {
    'tokens': np.where(segments, tokens, padding).astype(np.int32),
    'types': types * (config.get('type_vocab_size', 0) > 1),
    'positions': every,
    'segments': segments,
    'target_positions': every,  # each position is scored
    'first_positions': np.zeros((rows, 1), np.int32),
    'targets': np.roll(tokens, 1, 0),
  }


def loss_of(logits: np.ndarray, batch) -> np.ndarray:
  """Returns the mean cross-entropy of all real positions: float64[1, 1]."""
  real = batch['segments'].astype(bool)
  scores = logits[real].astype(np.float64)
  highest = scores.max(-1, keepdims=True)
  total = np.log(np.exp(scores - highest).sum(-1)) + highest[:, 0]
  own = scores[np.arange(len(scores)), batch['targets'][real]]
  return np.mean(total - own, keepdims=True)[None]


def ours(config, parameters, batch) -> dict[str, np.ndarray]:
  model = BertForPreTraining(config, next_sentence='nsp_head' in parameters)
  keys = set(batch) - {'targets'}
  batch, whole = {key: batch[key] for key in keys}, batch
  outputs = jax.jit(lambda p, b: model.apply({'params': p}, b, train=False))(
    parameters, batch
  )
  weights = 'attention/weights'
  outputs['attention'] = np.moveaxis(
    taps.stack(taps.collect(model, parameters, batch, [weights]), weights),
    (1, 3),
    (0, 1),
  )
  outputs = {name: np.asarray(array) for name, array in outputs.items()}
  return outputs | {'loss': loss_of(outputs['mlm_logits'], whole)}


def theirs(directory: str, batch) -> dict[str, np.ndarray]:
  inputs = {
    'input_ids': torch.tensor(batch['tokens']).long(),
    'attention_mask': torch.tensor(batch['segments']).long(),
  }
  if batch['types'].any():
    inputs['token_type_ids'] = torch.tensor(batch['types']).long()
  transformers.logging.set_verbosity_error()
  config = json.loads(pathlib.Path(directory, 'config.json').read_text())
  [name] = config.get('architectures') or ['BertForPreTraining']
  model = (
    getattr(transformers, name)
    .from_pretrained(
      directory, attn_implementation='eager', dtype=torch.float32
    )
    .eval()
  )
  labels = np.where(batch['segments'], batch['targets'], -100)
  with torch.no_grad():
    encoded = model.base_model(**inputs, output_attentions=True)
    heads = model(**inputs, labels=torch.tensor(labels).long())
  pretraining = 'prediction_logits' in heads
  logits = heads['prediction_logits' if pretraining else 'logits'].numpy()
  found = {
    'attention': np.moveaxis(
      torch.stack(encoded.attentions).numpy(), (1, 3), (0, 1)
    ),
    'hidden': encoded.last_hidden_state.numpy(),
    'mlm_logits': logits,
    # That of a BertForPreTraining has another loss in it.
    'loss': loss_of(logits, batch)
    if pretraining
    else heads.loss.numpy()[None, None],
  }
  if pretraining:
    found['pooled'] = encoded.pooler_output[:, None].numpy()
    found['nsp_logits'] = heads.seq_relationship_logits[:, None].numpy()
  return found


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


def make(name: str, folder: str) -> str:
  """Saves a model of a published size with random weights."""
  torch.manual_seed(0)
  config = other_families.SIZES[name]
  prefix = type(config).__name__.removesuffix('Config')
  model = getattr(transformers, f'{prefix}ForMaskedLM')(config)
  with torch.no_grad():  # which are 0 or 1 at first
    for key, weight in model.named_parameters():
      if 'norm' in key.lower() or key.endswith('bias'):
        weight.add_(torch.randn_like(weight) * 0.05)
  model.save_pretrained(folder)
  return folder


def tokenizer_of(directory: str) -> Tokenizer:
  try:
    return Tokenizer.load(directory)
  except UserError:  # transformers made the model alone
    return Tokenizer([*SPECIAL_TOKENS, *'abcdefgh'], cased=False)


def check(directory: str, length: int, rows: int) -> float:
  """Returns the largest difference, in a directory and its export."""
  checkpoint = huggingface.read(directory)
  config, parameters = checkpoint.config, checkpoint.parameters
  print('  ' + checkpoint.report().replace('\n', '\n  '))
  batch = make_batch(directory, length, rows)
  worst = compare(directory, config, parameters, batch)
  tokenizer = tokenizer_of(directory)
  with tempfile.TemporaryDirectory() as folder:
    huggingface.save(folder, config, parameters, tokenizer)
    print(f'  exported with {", ".join(names.heads_of(parameters))}:')
    batch = make_batch(folder, length, rows)
    worst = max(worst, compare(folder, config, parameters, batch))
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
      [(mine, _)] = Tokenizer.load(folder).rows([text], length=512)
      other = reference(text)
      assert mine.ids == other['input_ids'] or '[MASK]' in text, (text, mine)
      assert ('token_type_ids' in other) == (config.types > 1)
  return worst


def main() -> int:
  worst = 0.0
  for name in sys.argv[1:]:
    print(name, flush=True)
    if name in other_families.SIZES:
      with tempfile.TemporaryDirectory() as folder:
        worst = max(worst, check(make(name, folder), length=320, rows=2))
    else:
      worst = max(worst, check(name, length=48, rows=4))
  print(f'largest difference {worst:.1e}, limit {LIMIT}')
  return int(worst > LIMIT)


if __name__ == '__main__':
  sys.exit(main())
