"""MB of text a second into token shards, beside `datasets.map`.

    export PYTHONPATH=.
    python experiments/benchmarks/tokenizing.py $DATA/text/novels.txt \\
        --vocab_file=$DATA/vocabulary/bert-base-uncased.vocab.txt

Reads the documents of a text file, tokenizes them with a published vocabulary,
in as many processes as there are cores, and writes ids: bertjax from the file
to its shards, with ends of sentences and held-out documents; `datasets` from
texts in memory, by `map` in batches with transformers' fast tokenizer, to its
Arrow files. The start of processes counts for both, imports for neither.
"""

import argparse
import os
import tempfile
import time

import timing


def with_bertjax(text_file: str, vocab_file: str, folder: str) -> int:
  """Returns the number of tokens."""
  from bertjax.corpus import document_files, preparation
  from bertjax.text import vocabulary_file
  from bertjax.text.vocabulary import Vocabulary

  vocabulary = Vocabulary(*vocabulary_file.load(vocab_file))
  reader = document_files.TextFiles(text_file)
  prepared = preparation.prepare(reader, folder, vocabulary)
  return sum(x['tokens'] for x in prepared.splits.values())


def with_datasets(texts: list[str], vocab_file: str, folder: str) -> int:
  """Returns the number of tokens, [CLS] and [SEP] left out."""
  import datasets
  import transformers

  lines = open(vocab_file, encoding='utf-8').read().split('\n')
  vocab = {token: i for i, token in enumerate(filter(None, lines))}
  tokenizer = transformers.BertTokenizer(vocab=vocab, do_lower_case=True)

  def encode(batch):
    return tokenizer(batch['text'], add_special_tokens=False, verbose=False)

  datasets.disable_progress_bars()
  data_set = datasets.Dataset.from_dict({'text': texts})
  made = data_set.map(
    encode,
    batched=True,
    num_proc=os.cpu_count(),
    remove_columns=['text'],
    cache_file_name=f'{folder}/ids.arrow',
  )
  return sum(map(len, made['input_ids']))


def main() -> None:
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument('text_file')
  parser.add_argument('--vocab_file', required=True)
  parser.add_argument('--repetitions', type=timing.positive, default=3)
  options = parser.parse_args()
  run(options)


def run(options: argparse.Namespace) -> None:
  """Prints the table, and the ratio of the best of each."""
  size = os.path.getsize(options.text_file) / 1e6
  with open(options.text_file, encoding='utf-8') as file:
    texts = file.read().split('\n\n')
  print(timing.machine('tokenizers', 'pyarrow', 'datasets', 'transformers'))
  print(f'{size:.1f} MB, {len(texts):,} documents\n')
  print('| | tokens | MB/s |\n|---|---|---|')
  best: dict[str, float] = {}
  for _ in range(options.repetitions):
    for name, call, source in (
      ('bertjax', with_bertjax, options.text_file),
      ('datasets.map', with_datasets, texts),
    ):
      with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        tokens = call(source, options.vocab_file, folder)
        speed = size / (time.perf_counter() - start)
      print(f'| {name} | {tokens:,} | {speed:.1f} |', flush=True)
      best[name] = max(speed, best.get(name, 0))
  print(f'\nratio: {best["bertjax"] / best["datasets.map"]:.2f}')


if __name__ == '__main__':
  main()
