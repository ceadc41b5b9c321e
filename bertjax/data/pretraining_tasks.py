"""Pretraining tasks in seqio's registry.

    pretraining_tasks.register('novels', source, vocabulary)
    task = seqio.get_mixture_or_task('novels')     # anywhere else
    seqio.MixtureRegistry.add('both', [('novels', 3), ('wikipedia', 1)])

Source: Devlin et al. 2018, appendix A; seqio's Task API.
"""

import functools
import inspect
import os
from typing import Annotated, Any

import numpy as np
from etils import epath

from bertjax import batch
from bertjax.data import (
  features,
  preprocessors,
  sources,
  text_store,
  vocabularies,
)
from bertjax.data.quiet_tensorflow import seqio, tf
from bertjax.errors import UserError, choose
from bertjax.parallel import processes
from bertjax.runs import layout, output_files
from bertjax.runs.progress_line import wait
from bertjax.text import masking, vocabulary_file
from bertjax.values import (
  Count,
  Name,
  Path,
  Paths,
  Place,
  Rate,
  Share,
  checked,
)


@checked
def register(
  name: str,
  source: seqio.DataSource,
  vocabulary: seqio.Vocabulary,
  next_sentence: bool = True,
  mask_rate: Share = 0.15,
  mask_unit: str = 'token',
  short: Rate = 0.1,
) -> str:
  """Registers masked-LM (and next-sentence) pretraining on a source of text.

  Args:
    name: for `seqio.get_mixture_or_task`; replaces a task already registered by
      this name.
    source: yields {document: int64[], text: string[]}, see `text_source`.
    vocabulary: such as `vocabularies.BertVocabulary`.
    next_sentence: whether to train on pairs with a label; else on single
      segments.
    mask_rate: share of the tokens that are targets.
    mask_unit: 'token', 'word' or 'span'.
    short: probability of a sequence shorter than LENGTH.

  Returns:
    The name.
  """
  choose(masking.UNITS, mask_unit, 'MASK_UNIT')
  seqio.TaskRegistry.remove(name)
  seqio.TaskRegistry.add(
    name,
    source=source,
    preprocessors=[
      preprocessors.tokenize,
      functools.partial(
        preprocessors.pair, next_sentence=next_sentence, short=short
      ),
      functools.partial(preprocessors.mask, rate=mask_rate, unit=mask_unit),
      tf.data.Dataset.unbatch,
    ],
    output_features={
      key: seqio.Feature(
        vocabulary,
        add_eos=False,
        dtype=tf.as_dtype(batch.KEYS[key][1]),
        rank=0 if key in features.PAIR else 1,
      )
      for key in features.TASK
    },
    # Documents are shuffled by the source and sequences within their windows; a
    # buffer of examples would only make every checkpoint larger.
    shuffle_buffer_size=None,
  )
  return name


@checked
def vocabulary_size(vocab_file: Place | None, size: int) -> int:
  """Returns V of the file, or else `size`, that of a trained vocabulary."""
  return size if vocab_file is None else len(vocabulary_file.read(vocab_file))


@checked
def from_text(
  text_files: Paths | text_store.Reader,
  run_dir: Path,
  vocab_file: Place | None = None,
  vocab_size: Count = 30522,
  cased: bool | None = None,
  min_frequency: Count = 2,
  held_out_fraction: Rate = 0.05,
  corpus_dir: Path | None = None,
  tfds_data_dir: Place | None = None,
  text_column: Name = 'text',
  name: str = 'text',
  **task: Annotated[Any, register],
) -> str:
  """Prepares text and vocabulary and registers a task of them.

  If called again with the same arguments, as for evaluation, it only returns
  the name. With several processes the first one writes the files while the
  others wait.

  Args:
    text_files: 'python_documentation', 'tfds:NAME', files, folders and
      globs, or a reader whose `repr` says what it reads.
    run_dir: gets vocab.txt and, if corpus_dir is None, `corpus/`; made if
      missing.
    vocab_file: a published vocab.txt; None: train one on the text.
    vocab_size: of a trained vocabulary.
    cased: None: what `vocabulary_file.detect_cased` finds, False for a trained
      vocabulary.
    min_frequency: see `vocabularies.train`.
    held_out_fraction: share of the documents in the split 'validation'.
    corpus_dir: keeps prepared text, and may be shared by runs.
    tfds_data_dir: where TFDS keeps its data sets.
    text_column: of tables: CSV, TSV, Parquet, JSON lines.
    name: of the task.
    **task: next_sentence, mask_rate, mask_unit and short of `register`.

  Returns:
    The name.
  """
  arguments = repr(sorted((locals() | task).items()))
  if _made.get(name) == arguments:
    return name
  # Before the long work.
  parameters = inspect.signature(register).parameters
  known = {k: v for k, v in parameters.items() if v.default is not v.empty}
  for key in task:
    choose(known, key, 'a parameter of pretraining_tasks.from_text')
  choose(masking.UNITS, task.get('mask_unit', 'token'), 'MASK_UNIT')
  with processes.first_before_others(f'prepare {name}'):
    with output_files.explain_failure(run_dir):
      epath.Path(run_dir).mkdir(parents=True, exist_ok=True)
    source = sources.from_spec(
      text_files,
      corpus_dir or os.path.join(run_dir, 'corpus'),
      tfds_data_dir,
      held_out_fraction,
      text_column,
    )
    print(source.report(), flush=True)
    if task.get('next_sentence', True):
      _check_two_documents(source)
    kept = os.path.join(run_dir, layout.VOCABULARY)
    if vocab_file is None and not tf.io.gfile.exists(kept):
      with wait('training the vocabulary'):
        tokens = vocabularies.train(
          source.texts('train'), vocab_size, bool(cased), min_frequency
        )
      vocabulary_file.write(tokens, kept, bool(cased))
    vocabulary = _read_vocabulary(vocab_file or kept, cased)
    if vocab_file is None and len(vocabulary.tokens) != vocab_size:
      raise UserError(
        f'{kept} holds {len(vocabulary.tokens):,} tokens, and VOCAB_SIZE is '
        f'{vocab_size:,}; set VOCAB_FILE to it, or another RUN_DIR'
      )
    begun = os.path.exists(os.path.join(run_dir, layout.CHECKPOINTS))
    if processes.is_first() and not begun:
      _report_sample(source, vocabulary, task.get('next_sentence', True))
    if vocab_file is not None and processes.is_first():
      vocabulary_file.write(vocabulary.tokens, kept, vocabulary.cased)
  register(name, source, vocabulary, **task)
  _made[name] = arguments
  return name


# Pieces of documents, whose pairs are looked at.
_SAMPLE = 128
# Shares of [UNK]; a vocabulary that fits has less than 1%.
_MANY_UNKNOWN, _MOST_UNKNOWN = 0.05, 0.5
# name of a task -> arguments of `from_text`
_made: dict[str, str] = {}


def _check_two_documents(source: sources.TextSource) -> None:
  if not isinstance(source, sources.PreparedSource):
    return  # the others cannot count without reading all the text
  documents = source.prepared.splits['train']['documents']
  if documents < 2:
    raise UserError(
      f'next-sentence prediction needs two documents or more, TEXT_FILES has '
      f'{documents} to train on; put a blank line between documents or set '
      'NSP=False'
    )


def _report_sample(
  source: sources.TextSource,
  vocabulary: vocabularies.BertVocabulary,
  next_sentence: bool,
) -> None:
  """Prints what a sample of the text says of [UNK] and, of pairs, cuts.

  Raises:
    UserError: most tokens are [UNK].
  """
  sample = source.get_dataset('train', seed=0).take(_SAMPLE)
  feature = {'tokens': seqio.Feature(vocabulary)}
  windows = [*preprocessors.tokenize(sample, feature).as_numpy_iterator()]
  tokens = np.concatenate([x['tokens'] for x in windows] or [[]])
  unknown = float(np.mean(tokens == vocabulary.unk_id)) if len(tokens) else 0.0
  told = f'{unknown:.1%} of the tokens in a sample of the text are [UNK]'
  if unknown > _MOST_UNKNOWN:
    raise UserError(
      f'{told}, since the vocabulary is of another language or case; set '
      'VOCAB_FILE, TEXT_FILES or CASED'
    )
  if unknown > _MANY_UNKNOWN:
    print(f'warning: {told}, which nothing is learnt of', flush=True)
  if not next_sentence:
    return
  told = ', '.join(
    f'{preprocessors.cut_share(windows, length):.1%} at LENGTH {length}'
    for length in (128, 512)
  )
  print(f'pairs of one sentence, cut in two: {told}', flush=True)


def _read_vocabulary(
  path: str, cased: bool | None
) -> vocabularies.BertVocabulary:
  """Reads a vocabulary, and prints whether it is cased, and why."""
  tokens = vocabulary_file.read(path)
  why = 'CASED says so'
  if cased is None:
    cased, why = vocabulary_file.detect_cased(path, tokens)
  print(
    f'vocabulary: {len(tokens):,} entries of {path}, '
    f'{"cased" if cased else "lower-cased"} ({why})',
    flush=True,
  )
  return vocabularies.BertVocabulary(tokens, cased)
