"""Compares the first evaluation of continued pretraining with transformers.

    pip install -r requirements.txt torch transformers
    PYTHONPATH=. python experiments/golden/continued_pretraining.py \\
        --model ModernBERT-base --text $DATA/text/wikipedia.txt \\
        --output runs/continued

Runs one step of `pretrain_text` from a Hugging Face directory, with its
tokenizer, and computes the masked-LM loss of the same held-out batches with
transformers' AutoModelForMaskedLM, in float32. Prints both, and exits with
status 1 if they differ by more than 1e-4.
"""

import argparse
import json
import os
import sys

import numpy as np
import torch
import transformers

from bertjax import batch as batch_lib
from bertjax import main as bertjax_main
from bertjax.corpus import corpora, pipeline
from bertjax.text import vocabulary_file

BATCH_SIZE, LIMIT = 16, 1e-4


def ours(options) -> float:
  """Returns the first evaluation's masked-LM loss."""
  macros = {
    'INIT_FROM': options.model,
    'TEXT_FILES': options.text,
    'RUN_DIR': options.output,
    'TRAIN_STEPS': 1,
    'BATCH_SIZE': BATCH_SIZE,
    'LENGTH': options.length,
    'NSP': False,
  }
  flags = [f'--gin.{name}={value}' for name, value in macros.items()]
  if status := bertjax_main.main(['main', 'pretrain_text', *flags]):
    sys.exit(status)
  with open(os.path.join(options.output, 'metrics.jsonl')) as file:
    first = json.loads(next(file))
  assert first['step'] == 0
  return first['eval/mlm_loss']


def held_out(options):
  """Returns the batches that the run evaluated on."""
  corpus = corpora.from_text(
    options.text,
    options.output,
    vocabulary_file.find(options.output),
    next_sentence=False,
    length=options.length,
  )
  return pipeline.batches(
    corpus=corpus,
    batch_size=BATCH_SIZE,
    length=options.length,
    predictions=batch_lib.predictions_of(options.length, 0.15),
    next_sentence=False,
    split='validation',
    epochs=1,
    seed=0,
    shuffle=False,
  )


def theirs(options) -> tuple[float, int]:
  """Returns transformers' mean loss of a masked token, and their number."""
  model = transformers.AutoModelForMaskedLM.from_pretrained(
    options.model, dtype=torch.float32
  ).eval()
  total, count = 0.0, 0
  for batch in held_out(options):
    batch = {key: torch.tensor(np.array(x)) for key, x in batch.items()}
    inputs = {
      'input_ids': batch['tokens'].long(),
      'attention_mask': (batch['segments'] > 0).long(),
    }
    if getattr(model.config, 'type_vocab_size', 0) > 1:
      inputs['token_type_ids'] = batch['types'].long()
    # Padding is [PAD] there, from whose id RoBERTa counts positions.
    inputs['input_ids'][batch['segments'] == 0] = model.config.pad_token_id
    with torch.no_grad():
      logits = model(**inputs).logits
    rows, slots = torch.nonzero(batch['weights'], as_tuple=True)
    places = batch['target_positions'].long()[rows, slots]
    targets = batch['targets'].long()[rows, slots]
    total += torch.nn.functional.cross_entropy(
      logits[rows, places].double(), targets, reduction='sum'
    ).item()
    count += len(rows)
  return total / count, count


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name in ('model', 'text', 'output'):
    parser.add_argument(f'--{name}', required=True)
  parser.add_argument('--length', type=int, default=128)
  options = parser.parse_args()
  first = ours(options)
  expected, count = theirs(options)
  print(
    f'{count:,} masked tokens: {first:.6f} nats here, {expected:.6f} in '
    f'transformers, difference {first - expected:+.1e}'
  )
  return int(abs(first - expected) > LIMIT)


if __name__ == '__main__':
  sys.exit(main())
