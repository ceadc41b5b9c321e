"""The corpus that a recipe names: text that is prepared, or a prepared folder.

prepared = corpora.from_text('books/*.txt.gz', run_dir='runs/books')
prepared = corpora.from_text(None, 'runs/b', corpus_dir='prepared/books')
batches = pipeline.batches(prepared, batch_size=32, length=128, ...)
"""

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from bertjax.corpus import (
  building,
  document_files,
  preparation,
  python_documentation,
  shards,
  spool,
  windows,
)
from bertjax.corpus.mixtures import Mixture, Rates
from bertjax.corpus.preparation import Prepared
from bertjax.corpus.wordpiece_training import TokenizerName, Training
from bertjax.errors import UserError, did_you_mean, expect
from bertjax.parallel import processes
from bertjax.runs import layout, output_files
from bertjax.text import input_files, vocabulary_file
from bertjax.text.vocabulary import Vocabulary
from bertjax.values import (
  Count,
  Name,
  Natural,
  NotNegative,
  Path,
  Paths,
  Place,
  Rate,
  VocabularySize,
  checked,
)

# Shares of [UNK]; a vocabulary that fits has less than 1%.
_MANY_UNKNOWN, _MOST_UNKNOWN = 0.05, 0.5
# Folders of runs and of the corpora that they have told of.
_told: set[tuple[str, str]] = set()
_EITHER = 'TEXT_FILES, or CORPUS_DIR to a prepared corpus'


@checked
def vocabulary_size(
  vocab_file: Place | None,
  size: VocabularySize,
  corpus_dir: Path | Sequence[Path] | None = None,
  text_files: Paths | spool.Reader | None = None,
  tokenizer: TokenizerName = 'wordpiece',
) -> int:
  """Returns V of the corpus, or of the file, or else `size`, to be trained.

  Raises:
    UserError: neither text nor a corpus is given, or both; or `size` is too
      small for what is to be trained.
  """
  _check_either(text_files, corpus_dir, vocab_file)
  if corpus_dir is not None:
    return len(preparation.load(_several(corpus_dir)[0]).vocabulary.tokens)
  if vocab_file is None:
    return Training(size, tokenizer=tokenizer).size
  tokens, *_ = vocabulary_file.load(vocab_file)
  return len(tokens)


def _several(corpus_dir: str | Sequence[str]) -> Sequence[str]:
  return [corpus_dir] if isinstance(corpus_dir, str) else corpus_dir


def _check_either(
  text_files: object, corpus_dir: object, vocab_file: object
) -> None:
  expect(text_files or corpus_dir, 'text to train on', text_files, _EITHER)
  if corpus_dir is None:
    return
  for name, given in (('TEXT_FILES', text_files), ('VOCAB_FILE', vocab_file)):
    if given is not None:
      raise UserError(
        f'CORPUS_DIR is a corpus that is prepared already, with its '
        f'vocabulary; leave {name} out, or CORPUS_DIR'
      )


@checked
def from_text(
  text_files: Paths | spool.Reader | None,
  run_dir: Path,
  vocab_file: Place | None = None,
  vocab_size: VocabularySize = 30522,
  cased: bool | None = None,
  tokenizer: TokenizerName = 'wordpiece',
  min_frequency: Count = 2,
  held_out_fraction: Rate = 0.05,
  text_column: Name = 'text',
  corpus_dir: Path | Sequence[Path] | None = None,
  rates: Rates | Sequence[Sequence[Natural | Rates]] | None = None,
  temperature: NotNegative | Sequence[Sequence[NotNegative]] = 1.0,
  next_sentence: bool = True,
  pair_kind: str = 'nsp',
  length: Count = 128,
) -> Prepared | Mixture:
  """Prepares text, or opens what was prepared, and puts its vocabulary there.

  If called again with the same arguments, as for evaluation, it opens the same
  corpus. With several processes the first one writes the files while the others
  wait.

  Args:
    text_files: 'python_documentation', files, folders and globs, or a reader;
      None: there is a `corpus_dir`.
    run_dir: gets vocab.txt or, of BPE, tokenizer.json; of text also `corpus/`;
      made if missing.
    vocab_file: a published vocab.txt, or tokenizer.json of byte-level BPE;
      None: train one on the text.
    vocab_size: of a trained vocabulary.
    cased: None: what `vocabulary_file.detect_cased` finds; of a trained
      vocabulary False for WordPiece and True for BPE.
    tokenizer: of a trained vocabulary: 'wordpiece', or 'bpe', byte-level.
    min_frequency: see `wordpiece_training.train`.
    held_out_fraction: share of the documents in the split 'validation'.
    text_column: of tables: CSV, TSV, Parquet, JSON lines.
    corpus_dir: a prepared corpus, or several that are mixed.
    rates: see `Mixture`.
    temperature: see `Mixture`.
    next_sentence: whether pairs will be made.
    pair_kind: of these; all but 'sop' need two documents.
    length: L of these, to say how many are one sentence, cut.

  Raises:
    UserError: the text cannot be read, fits no vocabulary, or was prepared by
      another version.
  """
  _check_either(text_files, corpus_dir, vocab_file)
  _check_no_text_store(run_dir)
  with processes.first_before_others('prepare the corpus'):
    with output_files.explain_failure(run_dir):
      epath.Path(run_dir).mkdir(parents=True, exist_ok=True)
    if corpus_dir is not None:
      found = [preparation.load(path) for path in _several(corpus_dir)]
    else:
      assert text_files is not None
      found = [
        preparation.prepare(
          reader_of(text_files, text_column),
          os.path.join(run_dir, layout.CORPUS),
          vocabulary_of(
            vocab_file, vocab_size, cased, min_frequency, tokenizer
          ),
          held_out_fraction,
        )
      ]
    mixture = Mixture(found, rates, temperature)
    if processes.is_first() and not layout.has_checkpoint(run_dir):
      for prepared in found:
        if (run_dir, prepared.path) in _told:  # by training, before evaluation
          continue
        for split in shards.SPLITS:
          prepared.split(split).check_files()
        _report(prepared, is_given=text_files is None or vocab_file is not None)
        if next_sentence:
          _report_pairs(prepared, length, pair_kind)
        _told.add((run_dir, prepared.path))
      vocabulary_file.save(run_dir, *mixture.vocabulary.parts)
  return mixture if found[1:] else found[0]


def vocabulary_of(
  vocab_file: str | None,
  size: int,
  cased: bool | None,
  min_frequency: int,
  tokenizer: TokenizerName = 'wordpiece',
) -> Vocabulary | Training:
  """Reads a vocabulary, and prints whether it is cased, and why.

  The arguments are those of `from_text`; without a file it is to be trained.
  """
  if vocab_file is None:
    default = tokenizer == 'bpe'
    cased = default if cased is None else cased
    return Training(size, cased, min_frequency, tokenizer)
  tokens, _, *rules = vocabulary_file.load(vocab_file)
  why = 'CASED says so'
  if cased is None:
    cased, why = vocabulary_file.detect_cased(vocab_file, tokens)
  print(
    f'vocabulary: {len(tokens):,} entries of {vocab_file}, '
    f'{"cased" if cased else "lower-cased"} ({why})',
    flush=True,
  )
  return Vocabulary(tokens, cased, *rules)


def _report(prepared: Prepared, is_given: bool) -> None:
  """Prints what a corpus holds, and of [UNK].

  Args:
    prepared: the corpus.
    is_given: whether its vocabulary was given, and not trained on it.

  Raises:
    UserError: most tokens are [UNK].
  """
  print(prepared.report(), flush=True)
  if is_given:
    check_known(prepared.index)
  share = _unknown(prepared.index)
  if share > _MANY_UNKNOWN:
    told = f'warning: {share:.1%} of the tokens are [UNK]'
    print(f'{told}, which nothing is learnt of', flush=True)


def check_known(index: Mapping[str, Any]) -> None:
  """Raises UserError if most tokens of an `index.json` are [UNK]."""
  share = _unknown(index)
  if share > _MOST_UNKNOWN:
    raise UserError(
      f'{share:.1%} of the tokens are [UNK], since the vocabulary is of '
      'another language or case; set VOCAB_FILE, TEXT_FILES or CASED'
    )


def _unknown(index: Mapping[str, Any]) -> float:
  """Returns the share of [UNK] in a corpus."""
  total = sum(split['tokens'] for split in index['splits'].values())
  return index['unknown'] / max(1, total)


def _report_pairs(prepared: Prepared, length: int, pair_kind: str) -> None:
  """Prints the share of pairs that are one sentence, cut in two.

  Raises:
    UserError: there is but one document, and a second half is to come from
      another.
  """
  documents = prepared.splits['train']['documents']
  if documents < 2 and pair_kind != 'sop':
    raise UserError(
      f'PAIRS={pair_kind} needs two documents or more, TEXT_FILES has '
      f'{documents} to train on; put a blank line between documents, or set '
      "NSP=False or PAIRS='sop'"
    )
  train = prepared.split('train')
  share = windows.cut_share(train, prepared.vocabulary, length, pair_kind)
  print(f'{share:.1%} of the pairs are one sentence, cut in two', flush=True)


def reader_of(
  text_files_or_name: str | Sequence[str] | spool.Reader,
  text_column: str = 'text',
) -> spool.Reader:
  """Returns the reader that TEXT_FILES stands for.

  Raises:
    UserError: there are no such files, or a run wrote one.
  """
  named = text_files_or_name
  if isinstance(named, str) and named.startswith('tfds:'):
    raise UserError(
      f'{named} is read by TensorFlow Datasets; add data/text_tfds.gin to the '
      'command, after the recipe'
    )
  if named == 'python_documentation':
    return python_documentation.PythonDocumentation()
  if isinstance(named, spool.Reader):
    return named
  if isinstance(named, str) and not os.path.lexists(named):
    near = did_you_mean(named, ['python_documentation'], cutoff=0.8)
    expect(not near, f'files or a name of text{near}', named, 'TEXT_FILES')
  reader = document_files.TextFiles(named, text_column)
  _check_no_run(reader.paths())
  input_files.check_tables(reader.paths(), text_column)
  return reader


def _check_no_run(paths: Sequence[str]) -> None:
  """Refuses files that a run wrote."""
  for path in paths:
    folder, name = os.path.split(path)
    of_run = name == layout.CONFIGURATION and os.path.exists(
      os.path.join(folder, layout.LOCK)
    )
    of_corpus = os.path.exists(os.path.join(folder, building.INDEX))
    if of_run or (of_corpus and preparation.is_complete(folder)):
      raise UserError(
        f'expected text in TEXT_FILES, got {path}, which a run wrote; move '
        'that folder out of it, and set RUN_DIR to one outside'
      )


def _check_no_text_store(run_dir: str) -> None:
  """Refuses a run whose corpus is text, as of version 0.1."""
  rows = os.path.join(run_dir, layout.CORPUS, '*', 'train.rows')
  if glob.glob(rows):
    raise UserError(
      f'{run_dir} holds prepared text of an older version of bertjax, and '
      f'cannot be continued; set INIT_FROM={run_dir} and RUN_DIR to a new '
      'folder'
    )
