"""MB of text a second from JSON lines to tokens, beside datatrove's steps.

    pip install 'datatrove[processing,io]>=0.10,<0.11' spacy
    export PYTHONPATH=.
    python experiments/benchmarks/beside_datatrove.py $DATA/text/novels.txt \\
        --vocab_file=$DATA/vocabulary/bert-base-uncased.vocab.txt

Both repair Unicode, apply Gopher's rules on quality and repetition, leave out
near duplicates by MinHash (5 words; the bands of each), tokenize with the
library's WordPiece vocabulary and write the ids. The documents are `--words`
words each, one in ten of them a second time. bertjax works in two processes,
datatrove in two as well, and MB/s are of both.
"""

import argparse
import json
import os
import tempfile
import time

import timing


def write_documents(text_file: str, folder: str, words: int) -> int:
  """Writes two files of JSON lines, and returns their bytes."""
  with open(text_file, encoding='utf-8') as file:
    every = file.read().split(' ')
  texts = [' '.join(every[i : i + words]) for i in range(0, len(every), words)]
  texts += texts[::10]
  for half in range(2):
    with open(f'{folder}/{half}.jsonl', 'w', encoding='utf-8') as file:
      for text in texts[half::2]:
        file.write(json.dumps({'text': text}, ensure_ascii=False) + '\n')
  return sum(len(text.encode()) for text in texts)


def with_bertjax(folder: str, out: str, vocab_file: str) -> tuple[int, int]:
  """Returns the documents that stay, and their tokens."""
  from bertjax.corpus import preparation, prepare_corpus, steps

  wanted = steps.Steps(rules='gopher', exact_duplicates=False)
  prepare_corpus.prepare(
    f'{folder}/*.jsonl', out, vocab_file=vocab_file, steps=wanted
  )
  report = preparation.read_report(f'{out}/report.json')
  return report['documents_kept'], report['tokens']


def with_datatrove(folder: str, out: str, vocab_file: str) -> tuple[int, int]:
  """Returns the documents that stay, and their tokens."""
  from datatrove.executor import LocalPipelineExecutor
  from datatrove.pipeline import dedup, filters
  from datatrove.pipeline.formatters import FTFYFormatter
  from datatrove.pipeline.readers import JsonlReader
  from datatrove.pipeline.tokens import DocumentTokenizer
  from datatrove.pipeline.writers import JsonlWriter

  from bertjax.text import vocabulary_file
  from bertjax.text.tokenizer import Tokenizer, pipeline

  tokenizer = Tokenizer(*vocabulary_file.load(vocab_file))
  pipeline(tokenizer.ids, tokenizer.cased).save(f'{out}-tokenizer.json')

  def stage(name, *steps, tasks=2):
    return LocalPipelineExecutor(
      [*steps], tasks=tasks, workers=2, logging_dir=f'{out}/logs/{name}'
    ).run()

  stage(
    'clean',
    JsonlReader(folder, glob_pattern='*.jsonl'),
    FTFYFormatter(),
    filters.GopherRepetitionFilter(),
    filters.GopherQualityFilter(),
    JsonlWriter(f'{out}/clean', compression=None),
  )
  cleaned = JsonlReader(f'{out}/clean')
  stage('signatures', cleaned, dedup.MinhashDedupSignature(f'{out}/signatures'))
  buckets = dedup.MinhashDedupBuckets(f'{out}/signatures', f'{out}/buckets')
  stage('buckets', buckets, tasks=14)
  cluster = dedup.MinhashDedupCluster(f'{out}/buckets', f'{out}/remove')
  stage('cluster', cluster, tasks=1)
  stats = stage(
    'tokens',
    cleaned,
    dedup.MinhashDedupFilter(f'{out}/remove'),
    DocumentTokenizer(
      f'{out}/tokens', f'{out}-tokenizer.json', shuffle_documents=False
    ),
  )
  deduplicated, tokenized = stats.stats[-2:]
  return (
    deduplicated.stats['forwarded'].total,
    tokenized.stats['tokens'].total,
  )


def main() -> None:
  parser = timing.Parser(description=__doc__.splitlines()[0])
  parser.add_argument('text_file')
  parser.add_argument('--vocab_file', required=True)
  parser.add_argument('--words', type=timing.positive, default=400)
  run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
  """Prints a row for each, and the ratio."""
  print(timing.machine('tokenizers', 'pyarrow', 'datatrove', 'ftfy', 'spacy'))
  speeds = {}
  with tempfile.TemporaryDirectory() as folder:
    os.mkdir(f'{folder}/text')
    size = write_documents(options.text_file, f'{folder}/text', options.words)
    print('\n| | documents | tokens | s | MB/s |\n|---|---|---|---|---|')
    for name, call in (
      ('bertjax', with_bertjax),
      ('datatrove', with_datatrove),
    ):
      start = time.perf_counter()
      documents, tokens = call(
        f'{folder}/text', f'{folder}/{name}', options.vocab_file
      )
      seconds = time.perf_counter() - start
      speeds[name] = size / 1e6 / seconds
      print(
        f'| {name} | {documents:,} | {tokens:,} | {seconds:.1f} | '
        f'{speeds[name]:.2f} |',
        flush=True,
      )
  print(f'\nratio: {speeds["bertjax"] / speeds["datatrove"]:.2f}')


if __name__ == '__main__':
  main()
