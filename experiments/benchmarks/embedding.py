"""Times the embedding of sentences against transformers in torch.

    pip install torch transformers
    PYTHONPATH=. python experiments/benchmarks/embedding.py \\
        $DATA/glue/SST-2/train.tsv $DATA/vocabulary/bert-base-uncased.vocab.txt

Both embed the same sentences with the same random encoder, 6 layers of width
384, exported by bertjax and loaded by transformers; mean pooling, batches of 32
rows, float32. torch sorts by length within the same window and pads each batch
to its longest row; bertjax packs short sentences into a row. They take turns;
medians. The first turn, in which bertjax compiles, is printed separately.
Prints sentences per second and the largest difference of a vector.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time

from bertjax.launch import host_memory

# As bertjax.main does, before anything allocates; torch benefits too.
host_memory.keep_freed()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from bertjax import batch  # noqa: E402
from bertjax.inference.predictor import Predictor  # noqa: E402
from bertjax.interop import huggingface  # noqa: E402
from bertjax.models.bert import BertForPreTraining  # noqa: E402
from bertjax.models.config import EncoderConfig  # noqa: E402
from bertjax.parallel import partitioning  # noqa: E402
from bertjax.text import batching, vocabulary_file  # noqa: E402
from bertjax.text.tokenizer import Tokenizer  # noqa: E402
from bertjax.training import objectives, optimizer, state  # noqa: E402

LENGTH, BATCH_SIZE = 128, 32


def export(folder: str, vocab: str) -> None:
  """Writes a random encoder that both sides load."""
  tokenizer = Tokenizer(*vocabulary_file.load(vocab))
  config = EncoderConfig(
    vocabulary_size=len(tokenizer.tokens),
    width=384,
    layers=6,
    heads=6,
    feed_forward=1536,
  )
  parameters = state.create(
    objectives.MaskedLanguageModel(BertForPreTraining(config)),
    optimizer.adamw(0.0),
    batch.shapes(2, 16, 2),
    partitioning.make_mesh(),
    seed=0,
  ).parameters
  encoder = {
    k: v
    for k, v in jax.device_get(parameters).items()
    if k in ('embeddings', 'encoder', 'pooler')
  }
  huggingface.save(folder, config, encoder, tokenizer)


def torch_embedder(folder: str):
  transformers.logging.set_verbosity_error()
  model = transformers.AutoModel.from_pretrained(folder).eval()
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

  @torch.inference_mode()
  def embed(texts):
    vectors = [None] * len(texts)
    window = batching.WINDOW * BATCH_SIZE
    for first in range(0, len(texts), window):
      part = texts[first : first + window]
      ids = tokenizer(part, truncation=True, max_length=LENGTH)['input_ids']
      order = sorted(range(len(part)), key=lambda i: len(ids[i]))
      for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        inputs = tokenizer.pad(
          {'input_ids': [ids[i] for i in chosen]}, return_tensors='pt'
        )
        mask = inputs['attention_mask'][..., None].float()
        hidden = model(**inputs).last_hidden_state
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        for i, vector in zip(chosen, pooled.numpy(), strict=True):
          vectors[first + i] = vector
    return np.stack(vectors)

  return embed


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('table', help='TSV with a column `sentence`')
  parser.add_argument('vocab')
  parser.add_argument('--sentences', type=int, default=10_000)
  parser.add_argument('--repetitions', type=int, default=3)
  options = parser.parse_args()
  with open(options.table, encoding='utf-8', newline='') as file:
    rows = csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE)
    texts = [
      row['sentence']
      for row, _ in zip(rows, range(options.sentences), strict=False)
    ]
  with tempfile.TemporaryDirectory() as folder:
    export(folder, options.vocab)
    predictor = Predictor.load(folder)
    theirs = torch_embedder(folder)
  embedders = {
    'bertjax': lambda: predictor.embed(
      texts, 'mean', length=LENGTH, batch_size=BATCH_SIZE
    ),
    'torch': lambda: theirs(texts),
  }
  print(
    f'{len(texts):,} sentences; jax {jax.__version__}, torch '
    f'{torch.__version__}, transformers {transformers.__version__}, '
    f'{os.cpu_count()} cores'
  )
  times, vectors = {name: [] for name in embedders}, {}
  for _ in range(options.repetitions + 1):
    for name, embed in embedders.items():
      start = time.perf_counter()
      vectors[name] = embed()
      times[name].append(time.perf_counter() - start)
  for name, taken in times.items():
    print(
      f'{name:8} {len(texts) / statistics.median(taken[1:]):7,.0f} a '
      f'second, the first time {len(texts) / taken[0]:7,.0f}'
    )
  medians = {
    name: statistics.median(taken[1:]) for name, taken in times.items()
  }
  print(
    f'torch / bertjax {medians["torch"] / medians["bertjax"]:.2f}; largest '
    f'difference {np.abs(vectors["bertjax"] - vectors["torch"]).max():.1e}'
  )


if __name__ == '__main__':
  main()
