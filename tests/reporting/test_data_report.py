import html.parser
import json
import os

import pytest

from bertjax.errors import UserError
from bertjax.reporting import data_report

EVIL = '<script>alert("1")</script>&<b onclick=x>'

ASKED = {'rate_asked': 0.15, 'rate_lowest': 0.15, 'rate_highest': 0.15}


def found(**more):
  """What a measurement of a corpus finds, with texts that are no HTML."""
  lengths = {'mean': 23.106, 'median': 18, 'percentile_90': 46, 'longest': 415}
  lengths['bars'] = [
    {'from': 1, 'to': 1, 'count': 7},
    {'from': 2, 'to': 4, 'count': 81_234},
  ]
  rows = {
    'sampled_rows': 4100,
    'padding_share': 0.0409,
    'sequences_a_row': 1.0,
    'rows_an_epoch': 47430,
    'steps_an_epoch': 1482.2,
    'steps': 10000,
    'epochs': 6.7468,
    'tokens': 39284072,
  }
  return {
    'corpus_dir': f'runs/{EVIL}',
    'corpus': f'runs/{EVIL}/corpus/1f',
    'source': f'{EVIL}.txt',
    'licence': f'{EVIL} 4.0',
    'vocabulary_size': 30522,
    'cased': False,
    'splits': [
      {
        'split': split,
        'documents': 915,
        'sentences': 194852,
        'words': 3504945,
        'tokens': 4505396,
        'bytes': 9423000,
      }
      for split in ('train', 'validation')
    ],
    'bytes': 10_200_000,
    'bytes_a_token': 2.141,
    'preparation_seconds': None,
    'document_lengths': lengths,
    'sentence_lengths': lengths,
    'unknown_share': 0.00021,
    'tokens_a_word': 1.0766,
    'kinds': [
      {'kind': 'Latin', 'words': 750, 'tokens': 900, 'tokens_a_word': 1.2},
      {'kind': 'digits', 'words': 250, 'tokens': 250, 'tokens_a_word': 1.0},
    ],
    'languages': [
      {
        'language': EVIL,
        'share': 0.931,
        'words': 5012,
        'tokens': 7004,
        'tokens_a_word': 1.38,
        'unknown_share': 0.0171,
      }
    ],
    'language_texts': 2000,
    'used_entries': 19944,
    'rare_entries': 6754,
    'duplicates': {
      'copies': 0,
      'share': 0.0,
      'most_often': 1,
      'is_exact': True,
    },
    'cleaning': None,
    'length': 128,
    'batch_size': 32,
    'rows': [{'packed': x, **rows} for x in (False, True)],
    'masking': {
      'sampled_rows': 4100,
      'tokens': 167069,
      'targets': 25069,
      'unit': 'word',
      **ASKED,
      **{'rate': 0.1451, 'masked_asked': 0.8},
      **{'masked': 0.7984, 'random_asked': 0.1, 'random': 0.10132},
      **{'kept_asked': 0.1, 'kept': 0.1002},
      **{'changed_pairs_share': 0.4624, 'cut_pairs_share': 0.0091},
      **{'changed_pairs': 'they differ', 'noise': None},
    },
    'variety': {
      'different_words': 45318,
      'is_exact': False,
      'once_share': 0.31,
      'samples': 18,
      'sample_words': 10000,
      'different_share': 0.2164,
    },
    'topics': [{'share': 0.29, 'words': [EVIL, 'door']}],
    'topic_texts': 1040,
    'groups': [
      {
        'group': EVIL,
        'words': ['she', EVIL],
        'found': 74112,
        'per_million_words': 19990.3,
      }
    ],
    'sample_rows': 4000,
  } | more


class Page(html.parser.HTMLParser):
  """Collects tags, attributes, rows of tables, and the text between tags."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.names, self.rows, self.text = set(), set(), [], ''
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.tags.add(tag)
    self.names |= {name for name, _ in attributes}
    if tag == 'tr':
      self.rows.append([])
    if tag in ('td', 'th'):
      self.rows[-1].append('')
    self._cell = tag in ('td', 'th') or (tag == 'span' and self._cell)

  def handle_endtag(self, tag):
    if tag in ('td', 'th'):
      self._cell = False

  def handle_data(self, data):
    self.text += data
    if self._cell:
      self.rows[-1][-1] += data

  _cell = False


def test_the_page_says_in_words_what_was_found():
  page = Page(data_report.render(found()))
  for row in (
    ['to train on', '915', '194,852', '3,504,945', '4,505,396', '9.423 MB'],
    ['sentences', '23.11', '18', '46', '415'],
    ['tokens to predict', '15%', '14.5%'],
    ['of these: random', '10%', '10.1%'],
    ['Latin', '750', '75%', '900', '1.2'],
    ['29%', f'{EVIL}, door'],
    [EVIL, '74,112', '19,990', f'she, {EVIL}'],
    [EVIL, '93.1%', '5,012', '7,004', '1.38', '1.71%'],
  ):
    assert row in page.rows
  (packed,) = [row for row in page.rows if row[0] == 'packed']
  assert packed[1:4] == ['4.09%', '1', '47,430']
  for text in (
    '0.021% of the tokens are [UNK]',
    'about 45,318 different words, 31% of which occur once',
    'No document is there twice. All documents were compared.',
    'A step reads 32 rows',
    'is not recorded',
    f'under the licence {EVIL} 4.0 into',
    'Not known: the corpus has no report.json',
  ):
    assert text in page.text
  assert not [cell for row in page.rows for cell in row if '_' in cell]


def test_text_of_the_corpus_is_never_html():
  cleaning = {
    'documents_read': 1200,
    'documents_kept': 900,
    'dropped': {EVIL: 100, 'near_duplicate': 200},
    'samples': {EVIL: [EVIL, {'text': EVIL}, 'x' * 10_000] + ['y'] * 99},
    'replaced': {EVIL: 5},
    'seconds': 93.4,
  }
  text = data_report.render(found(cleaning=cleaning))
  page = Page(text)
  assert 'script' not in page.tags and 'b' not in page.tags
  assert not {x for x in page.names if x.startswith('on')} | {
    x for x in page.names if x in ('src', 'srcset', 'action')
  }
  assert (
    '<link' not in text and '@import' not in text and 'url(http' not in text
  )
  rows = [row for row in page.rows if len(row) == 3]
  rules = [row for row in rows if row[0] in ('near duplicate', EVIL)]
  assert rules[:2] == [
    ['near duplicate', '200', '16.7%'],
    [EVIL.replace('_', ' '), '100', '8.33%'],
  ]
  assert text.count('<blockquote>') == 10 and 'x' * 601 not in text


def test_copies_and_estimates_are_told_as_such():
  more = {'copies': 1234, 'share': 0.1, 'most_often': 9, 'is_exact': False}
  page = Page(data_report.render(found(duplicates=more, topics=[])))
  assert '1,234 documents, 10% of all, are equal' in page.text
  assert 'there 9 times. This is an estimate' in page.text
  assert 'Topics are not shown: 1,040 texts' in page.text


def test_rates_that_are_drawn_and_noise_are_told_with_what_came_out():
  drawn = {'rate_asked': 0.15, 'rate_lowest': 0.1, 'rate_highest': 0.2}
  noise = {'name': 'deletion', 'places': 2000, **ASKED, 'rate': 0.1488}
  masking = {**found()['masking'], **drawn, 'noise': noise}
  masking |= {'changed_pairs': EVIL, 'cut_pairs_share': None}
  page = Page(data_report.render(found(masking=masking)))
  assert ['tokens to predict', '15% (10% to 20%)', '14.5%'] in page.rows
  assert ['deletion of tokens behind others', '15%', '14.9%'] in page.rows
  assert f'In 46.2% of the pairs {EVIL}.' in page.text
  assert 'one sentence, cut' not in page.text


def test_nothing_is_said_of_a_licence_or_of_languages_that_are_not_known():
  page = Page(data_report.render(found(licence=None, languages=None)))
  assert 'licence' not in page.text
  assert 'py3langid is not installed' in page.text


def test_a_mixture_shows_what_each_corpus_gives_and_then_each():
  sources = [
    {'asked': x, 'came_out': x + 0.0012, 'token_share': x / 2, 'epochs': 12 * x}
    for x in (0.75, 0.25)
  ]
  shares = [
    {
      'packed': packed,
      'steps': 10_000,
      'tokens': 39_284_072,
      'sampled_steps': 1000,
      'sources': sources,
    }
    for packed in (False, True)
  ]
  corpora = [found(), found(corpus_dir='other', licence=None)]
  content = {'mixture': shares, 'corpora': corpora}
  text = data_report.render(content)
  page = Page(text)
  tokens = '9,010,792'
  first = [f'runs/{EVIL}', f'{EVIL} 4.0', tokens, '75%', '75.1%', '37.5%']
  assert [*first, '9', '9'] in page.rows
  other = ['other', '', tokens, '25%', '25.1%', '12.5%', '3', '3']
  assert other in page.rows
  assert 'a mixture of 2 corpora' in page.text and '2. other' in page.text
  assert text.count('<h3>Lengths</h3>') == 2 and 'script' not in page.tags
  # How far a budget goes is told of the mixture alone.
  assert not [row for row in page.rows if 'steps in an epoch' in row]


class Measured:
  sources = ()

  def __init__(self, **more):
    self.more, self.calls = more, 0

  def __call__(self):
    self.calls += 1
    return found(**self.more)


def test_the_same_is_written_as_json_beside_the_page(tmp_path, capsys):
  output = tmp_path / 'a' / 'books.html'
  data_report.write(measure=Measured(), output=str(output))
  assert sorted(os.listdir(output.parent)) == ['books.html', 'books.json']
  content = json.loads((output.parent / 'books.json').read_text())
  assert content.pop('generator') == 'bertjax data_report'
  assert content == found()
  assert 'books.json' in capsys.readouterr().out
  data_report.write(measure=Measured(length=64), output=str(output))
  assert 'Rows of 64 tokens' in output.read_text()


def test_nothing_is_measured_if_it_cannot_be_written(tmp_path):
  measure = Measured()
  output = tmp_path / 'books.html'
  with pytest.raises(UserError, match='ends in .html, got .*set OUTPUT'):
    data_report.write(measure=measure, output=str(tmp_path / 'books'))
  (tmp_path / 'books.json').write_text('{}')
  with pytest.raises(UserError, match='books.json is there already'):
    data_report.write(measure=measure, output=str(output))
  measure.sources = [str(tmp_path / 'books.json')]
  with pytest.raises(UserError, match='is the input as well'):
    data_report.write(measure=measure, output=str(output), overwrite=True)
  measure.sources = ()
  data_report.write(
    measure=measure, output=str(output), overwrite=True, dry_run=True
  )
  assert measure.calls == 0 and not output.exists()
