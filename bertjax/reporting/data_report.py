"""What is in a corpus, as an HTML page, and the same as JSON beside it.

    measure = measurement.Measurement('runs/books')
    data_report.write(measure=measure, output='books.html')   # and books.json

`bertjax.corpus.measurement` measures, and describes the JSON; here is how it is
shown. The page is self-contained and loads nothing.
"""

import html
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from bertjax.reporting import html_page
from bertjax.reporting.html_page import Html, Row, note, percent, size, table
from bertjax.runs import output_files, plotter
from bertjax.values import Path, checked

MAKER = 'data_report'
_SAMPLES = 10  # that are shown of what a rule removed
_LONG = 600  # characters of a sample

Found = Mapping[str, Any]


@runtime_checkable
class Measurement(Protocol):
  """Measures a corpus, see `bertjax.corpus.measurement`."""

  @property
  def sources(self) -> Sequence[str]:
    """Paths of files that must not be replaced."""

  def __call__(self) -> dict[str, Any]:
    """Returns what `render` shows."""


@checked
def write(
  *,
  measure: Measurement,
  output: Path,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Writes the page and the JSON.

  Args:
    measure: of the corpus.
    output: the page to write, in .html; the JSON has the same name in .json.
      An earlier report is replaced.
    overwrite: whether to replace any other files.
    dry_run: check everything and write nothing.

  Raises:
    UserError: the output is not writable, or the corpus cannot be read.
  """
  beside = f'{os.path.splitext(output)[0]}.json'
  for path, suffix in ((output, '.html'), (beside, '.json')):
    output_files.check_output(
      path, (suffix,), measure.sources, overwrite, MAKER
    )
  if dry_run:
    return
  found = measure()
  page = render(found)
  made = {'generator': output_files.mark(MAKER), **found}
  output_files.write_json(beside, made)
  output_files.write_text(output, page)
  print(f'{output}, and the same as JSON in {beside}')


def render(found: Found) -> str:
  """Returns the page of what a `Measurement` found."""
  length = found['length']
  sections = {
    'Size': _size(found),
    'Lengths': _lengths(found),
    f'Rows of {length:,} tokens': _rows(found),
    'Masking': _masking(found),
    'Words and tokens': _words(found),
    'Duplicates': _duplicates(found['duplicates']),
    'What cleaning removed': _cleaning(found['cleaning']),
    'How varied the text is': _variety(found),
    'How often the text names groups of words': _groups(found['groups']),
  }
  return html_page.render(f'What is in {found["corpus_dir"]}', sections, MAKER)


def _size(found: Found) -> str:
  case = 'cased' if found['cased'] else 'lower-cased'
  seconds = found['preparation_seconds']
  took = (
    'How long it took to prepare is not recorded.'
    if seconds is None
    else f'It took {html_page.number(seconds)} seconds to prepare.'
  )
  return table(
    {
      'split': {'train': 'to train on', 'validation': 'held out'}[x['split']],
      'documents': x['documents'],
      'sentences': x['sentences'],
      'words': x['words'],
      'tokens': x['tokens'],
      'on disk': size(x['bytes']),
    }
    for x in found['splits']
  ) + note(
    f'Read from {found["source"]} into {found["corpus"]}. The vocabulary has '
    f'{found["vocabulary_size"]:,} entries and is {case}. The folder takes '
    f'{size(found["bytes"])}, {found["bytes_a_token"]:.2f} bytes a token, the '
    f'vocabulary included. {took}'
  )


def _lengths(found: Found) -> str:
  both = {
    'documents': found['document_lengths'],
    'sentences': found['sentence_lengths'],
  }
  pictures = ''.join(_bars(name, x['bars']) for name, x in both.items())
  return f'<div class="pictures">{pictures}</div>' + table(
    {
      'tokens in': name,
      'mean': x['mean'],
      'median': x['median'],
      'nine in ten have at most': x['percentile_90'],
      'longest': x['longest'],
    }
    for name, x in both.items()
  )


def _bars(name: str, bars: Sequence[Found]) -> str:
  line = plotter.Line(
    '', range(len(bars)), [x['count'] for x in bars], bars=True
  )
  return html_page.picture(
    [
      plotter.Diagram(
        f'Lengths of {name}',
        [line],
        vertical=name,
        horizontal='tokens, from this number on',
        names=[f'{x["from"]:,}' for x in bars],
      )
    ]
  )


def _rows(found: Found) -> str:
  apart, _ = rows = found['rows']
  looked_at = (
    'all of them'
    if apart['sampled_rows'] == apart['rows_an_epoch']
    else f'a random sample of {apart["sampled_rows"]:,} rows'
  )
  return table(
    {
      'rows': 'packed' if x['packed'] else 'a sequence each',
      'padding': percent(x['padding_share']),
      'sequences in a row': x['sequences_a_row'],
      'rows in an epoch': x['rows_an_epoch'],
      'steps in an epoch': x['steps_an_epoch'],
      'steps': x['steps'],
      'epochs in these': x['epochs'],
      'tokens read': x['tokens'],
    }
    for x in rows
  ) + note(
    f'A step reads {found["batch_size"]:,} rows. Padding, and how many rows an '
    f'epoch has, are from {looked_at}. Tokens are counted without padding.'
  )


def _masking(found: Found) -> str:
  masking = found['masking']
  rows: list[Row] = [
    {
      'what': what,
      'asked for': percent(masking[f'{key}_asked']),
      'came out': percent(masking[key]),
    }
    for key, what in {
      'rate': 'tokens to predict',
      'masked': 'of these: [MASK]',
      'random': 'of these: random',
      'kept': 'of these: kept',
    }.items()
  ]
  text = (
    f'In {masking["sampled_rows"]:,} rows, with {masking["targets"]:,} tokens '
    f'to predict of {masking["tokens"]:,} that may be masked, which [CLS], '
    f'[SEP] and [UNK] may not. The unit is a {masking["unit"]}.'
  )
  if masking['random_pairs_share'] is not None:
    text += (
      f' The second half is from another document in '
      f'{percent(masking["random_pairs_share"])} of the pairs, and '
      f'{percent(masking["cut_pairs_share"])} are one sentence, cut in two.'
    )
  return table(rows) + note(text)


def _words(found: Found) -> str:
  total = max(sum(x['words'] for x in found['kinds']), 1)
  unknown = found['unknown_share']
  return table(
    {
      'words in': x['kind'],
      'words': x['words'],
      'share': percent(x['words'] / total),
      'tokens': x['tokens'],
      'tokens a word': x['tokens_a_word'],
    }
    for x in found['kinds']
  ) + note(
    f'{percent(unknown) if unknown else "None"} of the tokens are [UNK], of '
    'which a model learns nothing. A word has '
    f'{html_page.number(found["tokens_a_word"])} tokens on average, signs left '
    'out. Words are counted by the script that they begin with, since no '
    'language was identified; unknown words became one [UNK]. Of the '
    f'{found["vocabulary_size"]:,} entries of the vocabulary '
    f'{found["used_entries"]:,} occur, and {found["rare_entries"]:,} of these '
    'fewer than ten times.'
  )


def _duplicates(duplicates: Found) -> str:
  how = (
    'All documents were compared.'
    if duplicates['is_exact']
    else 'This is an estimate from a random sample of a million documents.'
  )
  if not duplicates['copies']:
    return note(f'No document is there twice. {how}')
  return note(
    f'{duplicates["copies"]:,} documents, {percent(duplicates["share"])} of '
    'all, are equal to an earlier one once they are tokenized; one of them is '
    f'there {duplicates["most_often"]:,} times. {how}'
  )


def _cleaning(cleaning: Found | None) -> str:
  if cleaning is None:
    return note('Not known: the corpus has no report.json of its cleaning.')
  read = cleaning['documents_read']
  rows: list[Row] = [
    {
      'rule': _in_words(rule),
      'documents removed': count,
      'share of all': percent(count / max(read, 1)),
    }
    for rule, count in sorted(
      cleaning['dropped'].items(), key=lambda x: (-x[1], x[0])
    )
  ]
  replaced = table(
    {'what was replaced': _in_words(rule), 'times': count}
    for rule, count in (cleaning['replaced'] or {}).items()
  )
  samples = ''.join(
    itertools.starmap(_samples, (cleaning['samples'] or {}).items())
  )
  told = note(
    f'{read:,} documents were read, and {cleaning["documents_kept"]:,} of them '
    'kept.'
  )
  return told + table(rows) + replaced + samples


def _in_words(rule: str) -> str:
  return rule.replace('_', ' ')


def _samples(rule: str, samples: Sequence[Any]) -> str:
  """Returns what a click unfolds, also without JavaScript."""
  quotes = ''.join(
    f'<blockquote>{html.escape(_cut(sample))}</blockquote>'
    for sample in samples[:_SAMPLES]
  )
  head = f'{_in_words(rule)}: samples'
  return quotes and (
    f'<details><summary>{html.escape(head)}</summary>{quotes}</details>'
  )


def _cut(sample: Any) -> str:
  text = (
    sample
    if isinstance(sample, str)
    else json.dumps(sample, ensure_ascii=False)
  )
  return text if len(text) <= _LONG else f'{text[:_LONG]} …'


def _variety(found: Found) -> str:
  variety = found['variety']
  about = '' if variety['is_exact'] else 'about '
  text = (
    f'There are {about}{variety["different_words"]:,} different words, '
    f'{percent(variety["once_share"])} of which occur once. '
  )
  if variety['samples']:
    text += (
      f'Of {variety["sample_words"]:,} words in a row '
      f'{percent(variety["different_share"])} are different ones, the mean of '
      f'{variety["samples"]:,} places. '
    )
  text += (
    'Words are those of letters, as the vocabulary spells them. Shares of '
    'sources are not known, since the shards keep no addresses.'
  )
  return note(text) + _topics(found)


def _topics(found: Found) -> str:
  texts = found['topic_texts']
  if not found['topics']:
    return note(f'Topics are not shown: {texts:,} texts tell too little.')
  return table(
    {
      'share of texts': percent(x['share']),
      'characteristic words': _wrapped(x['words']),
    }
    for x in found['topics']
  ) + note(
    f'Topics are a first look at {texts:,} random pieces of up to 400 words: '
    'words that occur together (tf-idf and non-negative factors). Each text '
    'counts to its strongest topic.'
  )


def _groups(groups: Sequence[Found]) -> str:
  return table(_group_rows(groups)) + note(
    'Whole words, whatever their case. A model inherits what its corpus says '
    'of whom, and how often. Set GROUPS to a file of your own groups.'
  )


def _group_rows(groups: Sequence[Found]) -> Iterator[Row]:
  for group in groups:
    yield {
      'group': group['group'],
      'found': group['found'],
      'in a million words': group['per_million_words'],
      'words': _wrapped(group['words']),
    }


def _wrapped(words: Sequence[str]) -> Html:
  text = html.escape(', '.join(words))
  return Html(f'<span class="words">{text}</span>')
