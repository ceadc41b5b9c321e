"""What a corpus says, in sections of a page: sizes, words, duplicates, topics.

text_sections.sizes(found)['Size']   # HTML, of what a `Measurement` found
"""

import html
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bertjax.reporting import html_page
from bertjax.reporting.html_page import Html, Row, note, percent, size, table
from bertjax.runs import plotter

_SAMPLES = 10  # that are shown of what a rule removed
_LONG = 600  # characters of a sample

Found = Mapping[str, Any]


def sizes(found: Found) -> dict[str, str]:
  """Returns the sections on how much text there is."""
  return {'Size': _size(found), 'Lengths': _lengths(found)}


def contents(found: Found) -> dict[str, str]:
  """Returns the sections on what it says."""
  return {
    'Words and tokens': _words(found),
    'Duplicates': _duplicates(found['duplicates']),
    'What cleaning removed': _cleaning(found['cleaning']),
    'How varied the text is': _variety(found),
    'How often the text names groups of words': _groups(found['groups']),
  }


def _size(found: Found) -> str:
  case = 'cased' if found['cased'] else 'lower-cased'
  seconds = found['preparation_seconds']
  took = (
    'How long it took to prepare is not recorded.'
    if seconds is None
    else f'It took {html_page.number(seconds)} seconds to prepare.'
  )
  licence = found['licence']
  under = f' under the licence {licence}' if licence else ''
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
    f'Read from {found["source"]}{under} into {found["corpus"]}. The '
    f'vocabulary has '
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


def _short(count: int) -> str:
  """Returns 50k for 50,000, or the names of many bars overlap."""
  for unit, name in ((10**6, 'M'), (10**3, 'k')):
    if count >= unit:
      return f'{count // unit}{name}'
  return str(count)


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
        names=[_short(x['from']) for x in bars],
      )
    ]
  )


def _words(found: Found) -> str:
  total = max(sum(x['words'] for x in found['kinds']), 1)
  unknown = found['unknown_share']
  of_words = table(
    {
      'words in': x['kind'],
      'words': x['words'],
      'share': percent(x['words'] / total),
      'tokens': x['tokens'],
      'tokens a word': x['tokens_a_word'],
    }
    for x in found['kinds']
  )
  told = note(
    f'{percent(unknown) if unknown else "None"} of the tokens are [UNK], of '
    'which a model learns nothing. A word has '
    f'{html_page.number(found["tokens_a_word"])} tokens on average, signs left '
    'out. Words are counted by the script that they begin with; unknown words '
    f'became one [UNK]. Of the {found["vocabulary_size"]:,} entries of the '
    f'vocabulary {found["used_entries"]:,} occur, and '
    f'{found["rare_entries"]:,} of these fewer than ten times.'
  )
  return of_words + told + _languages(found)


def _languages(found: Found) -> str:
  if found['languages'] is None:
    return note(
      'Languages are not told apart, since py3langid is not installed: pip '
      'install -r requirements-prepare.txt.'
    )
  return table(
    {
      'language': x['language'],
      'share of texts': percent(x['share']),
      'words': x['words'],
      'tokens': x['tokens'],
      'tokens a word': x['tokens_a_word'],
      '[UNK] of the tokens': percent(x['unknown_share']),
    }
    for x in found['languages']
  ) + note(
    f'Languages are those of {found["language_texts"]:,} random pieces of up '
    'to 400 words, told by py3langid from what the vocabulary can spell; short '
    'texts are often mistaken, so rare languages are put together.'
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
