"""What training will read of a corpus, in sections of a page.

row_sections.rows(found)['Masking']   # HTML, of what a `Measurement` found
"""

from collections.abc import Mapping
from typing import Any

from bertjax.reporting.html_page import Row, note, percent, table

# Noise -> what it disturbs a share of.
_DISTURBED = {
  'permutation': 'trigrams',
  'replacement': 'tokens',
  'insertion': 'tokens',
  'deletion': 'tokens behind others',
}

Found = Mapping[str, Any]


def rows(found: Found, is_mixed: bool = False) -> dict[str, str]:
  """Returns the sections on rows; without a budget if they are mixed."""
  return {
    f'Rows of {found["length"]:,} tokens': _rows(found, is_mixed),
    'Masking and noise' if found['masking']['noise'] else 'Masking': _masking(
      found
    ),
  }


def mixture(found: Found) -> str:
  """Returns the section on what each corpus gives to a mixture."""
  apart, packed = found['mixture']
  return table(
    {
      'corpus': corpus['corpus_dir'],
      'licence': corpus['licence'] or '',
      'tokens there': sum(x['tokens'] for x in corpus['splits']),
      'rows asked for': percent(one['asked']),
      'came out': percent(one['came_out']),
      'tokens read': percent(one['token_share']),
      'epochs': one['epochs'],
      'epochs, packed': other['epochs'],
    }
    for corpus, one, other in zip(
      found['corpora'], apart['sources'], packed['sources'], strict=True
    )
  ) + note(
    f'In {apart["steps"]:,} steps a run reads {apart["tokens"]:,} tokens; with '
    f'packed rows {packed["tokens"]:,} in {packed["steps"]:,} steps. Shares '
    f'are of the rows; {apart["sampled_steps"]:,} steps were looked at for '
    'what came out.'
  )


def _packing(x: Found) -> str:
  return 'packed' if x['packed'] else 'a sequence each'


def _asked(found: Found) -> str:
  low, high = (percent(found[f'rate_{x}']) for x in ('lowest', 'highest'))
  asked = percent(found['rate_asked']) or ''
  return asked if low == high else f'{asked} ({low} to {high})'


def _rows(found: Found, is_mixed: bool) -> str:
  apart, _ = rows = found['rows']
  looked_at = (
    'all of them'
    if apart['sampled_rows'] == apart['rows_an_epoch']
    else f'a random sample of {apart["sampled_rows"]:,} rows'
  )
  budget = {
    'steps in an epoch': 'steps_an_epoch',
    'steps': 'steps',
    'epochs in these': 'epochs',
    'tokens read': 'tokens',
  }
  return table(
    {
      'rows': _packing(x),
      'padding': percent(x['padding_share']),
      'sequences in a row': x['sequences_a_row'],
      'rows in an epoch': x['rows_an_epoch'],
      # In a mixture they depend on the others.
      **({} if is_mixed else {k: x[name] for k, name in budget.items()}),
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
      'asked for': _asked(masking)
      if key == 'rate'
      else percent(masking[f'{key}_asked']),
      'came out': percent(masking[key]),
    }
    for key, what in {
      'rate': 'tokens to predict',
      'masked': 'of these: [MASK]',
      'random': 'of these: random',
      'kept': 'of these: kept',
    }.items()
  ]
  if noise := masking['noise']:
    what = f'{noise["name"]} of {_DISTURBED[noise["name"]]}'
    rows.append(
      {
        'what': what,
        'asked for': _asked(noise),
        'came out': percent(noise['rate']),
      }
    )
  text = (
    f'In {masking["sampled_rows"]:,} rows, with {masking["targets"]:,} tokens '
    f'to predict of {masking["tokens"]:,} that may be masked, which [CLS], '
    f'[SEP] and [UNK] may not. The unit is a {masking["unit"]}.'
  )
  if noise:
    text += (
      f' Noise came to {noise["places"]:,} places, and masks spare what it '
      'touched.'
    )
  if masking['changed_pairs'] is not None:
    share = percent(masking['changed_pairs_share'])
    text += f' In {share} of the pairs {masking["changed_pairs"]}.'
  if masking['cut_pairs_share'] is not None:
    cut = percent(masking['cut_pairs_share'])
    text += f' {cut} are one sentence, cut in two.'
  return table(rows) + note(text)
