"""Rules of quality, one text on each side of every bar."""

import random

import pytest

from bertjax.corpus import line_rules, quality_rules
from bertjax.corpus.document_features import Document
from bertjax.errors import UserError

PROSE = (
  'The committee met on Tuesday and agreed that a new bridge should be built. '
  'It will be of stone, with three arches, and wide enough for two carriages. '
  'Some of its members had asked for more time to look at what it would cost. '
  'They were told that the old one would not stand for another winter, and so '
  'the vote was taken that evening. Work is to begin in spring.'
)
FIGURES = 'London gold fixings\n          July    August\n' + '\n'.join(
  f'{year}    {year % 7 * 104.31:7.2f}    {year % 9 * 94.17:7.2f}'
  for year in range(1976, 1987)
)
CHINESE = (
  '委员会星期二决定，新桥将在明年年底之前建成。这座桥由石头砌成，有三个桥拱，'
  '宽度足够两辆马车通过。一些成员要求有更多时间研究费用问题。'
)
TABLE = """EARNINGS OF THE QUARTER
                 1987         1986
Shr             1.20 dlrs    0.95 dlrs
Net       12,345,000   10,234,000
Revs     345,678,000  300,123,000
Avg shrs  10,287,000   10,772,000
NOTE: 1986 restated."""


def goes(name, text):
  return quality_rules.RULES[name](Document(text))


def words(count, word='word'):
  return ' '.join(f'{word}{chr(97 + i % 26)}' for i in range(count))


# Rule -> a text that just goes, and one that just stays.
BARS = {
  'few_words': (words(49), words(50)),
  'many_words': (words(100_001, 'a'), words(100_000, 'a')),
  'mean_word_length': ('a ' * 20, 'one two six'),
  'symbols': ('#a b c d e f g h # i j', 'a b c d e f g h i #j'),
  'bullets': ('* a\n' * 10, '* a\n' * 9 + 'b'),
  'ellipses': ('a…\nb...\nc', 'a…\nb\nc\nd'),
  'words_without_letters': ('a b c 1 2', 'a b c d 5'),
  'stop_words': ('the cat sat', 'The cat and I'),
  'repeated_lines': ('a\nb\na', 'a\nb\nc\na'),
  'repeated_line_characters': ('aaaa\nbbbb\naaaa\nc', 'a\na\nbcdefgh'),
  'top_ngram': ('new york ' * 3 + words(3), 'new york ' * 2 + words(26)),
  'repeated_ngrams': ((words(8) + ' x ') * 2, words(26) + ' ' + words(4)),
  'few_sentences': ('One. Two!', 'One. Two! (Three?)'),
  'lorem_ipsum': ('A Lorem Ipsum b', 'Lorem, ipsum'),
  'curly_bracket': ('if (x) {', 'if (x) ['),
  'no_terminal_punctuation': ('a\n' * 22 + 'b.\n' * 3, 'a\n' * 21 + 'b.\n' * 3),
  'short_lines': ('a\n' * 67 + f'{"b" * 30}\n' * 33, 'a\n' * 2 + 'b' * 30),
  'duplicated_lines': ('a\na\nbcdefghi', 'a\na\nbcdefghij'),
  'few_letters': ('a 1234567890', 'a 123456789'),
  'no_spaces': ('x' * 101 + ' abc' * 33, 'x' * 99 + ' abc'),
  'repeated_text': ((words(12) + ' ') * 3, (words(12) + ' ') * 2),
}


def test_every_rule_has_a_bar_and_a_source():
  assert BARS.keys() == quality_rules.RULES.keys()
  for rule in quality_rules.RULES.values():
    source = rule.__doc__
    assert any(
      x in source for x in ('C4', 'Gopher', 'FineWeb', 'the same', 'ours')
    )


@pytest.mark.parametrize('name', BARS)
def test_a_rule_drops_what_is_behind_its_bar_alone(name):
  dropped, kept = BARS[name]
  assert goes(name, dropped)
  assert not goes(name, kept)


@pytest.mark.parametrize('rules', quality_rules.RULE_SETS)
def test_prose_passes_all_sets(rules):
  assert quality_rules.failing(PROSE, quality_rules.names_of(rules)) is None


@pytest.mark.parametrize(
  'text',
  (
    TABLE,
    CHINESE,
    FIGURES,
    'Oil prices fell.',
    'BC-USDA-WEEKLY-STATS 03-17',
    'Oats\n---\n1 2\n---\nRye\n---\n1 2\n---\n',
    '* eggs\n* milk\n* bread',
    'คณะกรรมการตัดสินใจเมื่อวันอังคารว่าสะพานใหม่จะสร้างเสร็จก่อนสิ้นปีหน้า' * 20,
    'Row, row, row your boat\nGently down the stream\nMerrily, merrily\nDream',
    'def f(x):\n  return {x: 1}',
    'Shr 34 cts vs 1.19 dlrs\n    Net 807,000 vs 2,858,000\n    Revs 510.2 mln '
    'vs 479.7 mln\n    Nine mths\n    Shr 3.07 dlrs vs 2.08 dlrs\n',
  ),
)
def test_the_gentle_set_keeps_all_that_is_text(text):
  gentle = quality_rules.RULE_SETS['gentle']
  assert quality_rules.failing(text, gentle) is None


@pytest.mark.parametrize(
  'text, rule',
  (
    ('Lorem ipsum dolor sit amet, consectetur.', 'lorem_ipsum'),
    ('1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 a', 'few_letters'),
    ('=' * 70 + '\n' + '-' * 70, 'few_letters'),
    ('TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5' * 20, 'no_spaces'),
    ('Home\nLogin\nHome\nLogin\nHome', 'repeated_lines'),
    ('buy cheap watches now and get ' * 40, 'repeated_text'),
    ('这是一个很长的广告句子请买我们的东西' * 10, 'repeated_text'),
  ),
)
def test_the_gentle_set_drops_what_is_plainly_none(text, rule):
  gentle = quality_rules.RULE_SETS['gentle']
  assert quality_rules.failing(text, gentle) == rule


def test_the_first_rule_that_drops_a_text_is_named():
  text = 'if (x) {'
  assert quality_rules.failing(text, ['few_words', 'curly_bracket']) == (
    'few_words'
  )
  assert quality_rules.failing(text, ['curly_bracket']) == 'curly_bracket'
  assert quality_rules.failing(text, []) is None


def test_unknown_sets_and_rules_are_refused_with_the_nearest():
  with pytest.raises(UserError, match=r"did you mean 'gopher'\?"):
    quality_rules.names_of('gophre')
  with pytest.raises(UserError, match=r"did you mean 'few_words'\?"):
    quality_rules.names_of(['bullets', 'few_word'])
  assert quality_rules.names_of(['bullets']) == ['bullets']
  for names in quality_rules.RULE_SETS.values():
    assert set(names) <= quality_rules.RULES.keys()


@pytest.mark.parametrize('text', ('', ' \n ', '.', '\ud800'))
def test_no_rule_breaks_on_a_text_without_words(text):
  for name in quality_rules.RULES:
    quality_rules.failing(text, [name])


@pytest.mark.parametrize('n', (2, 3, 5, 10))
def test_shares_of_ngrams_agree_with_counting(n):
  generator = random.Random(n)
  for _ in range(100):
    made = [
      generator.choice(('a', 'bb', 'ccc', 'dddd'))
      for _ in range(generator.randrange(40))
    ]
    document = Document(' '.join(made))
    seen, inside, counts = set(), set(), {}
    for i in range(len(made) - n + 1):
      ngram = tuple(made[i : i + n])
      inside |= {*range(i, i + n)} if ngram in seen else set()
      seen.add(ngram)
      counts[ngram] = counts.get(ngram, 0) + 1
    total = max(1, sum(map(len, made)))
    repeated = sum(len(made[i]) for i in inside) / total
    assert document.repeated_ngrams(n) == pytest.approx(repeated)
    top, count = max(counts.items(), key=lambda x: x[1], default=((), 0))
    expected = min(1, sum(map(len, top)) * count / total) if count > 1 else 0
    assert document.top_ngram(n) == pytest.approx(expected)


def test_phrases_are_looked_at_by_length_as_by_all_lengths_at_once():
  bars = quality_rules._REPEATED_NGRAMS
  generator = random.Random(0)
  found = []
  for _ in range(300):
    parts = [words(generator.randrange(3, 12)) for _ in range(3)]
    text = ' '.join(
      f'{generator.choice(parts)} {generator.random()}' for _ in range(6)
    )
    text += ' ' + ' '.join(f'{i}' for i in range(generator.randrange(200)))
    document = Document(text)
    expected = any(document.repeated_ngrams(n) > bars[n] for n in bars)
    assert goes('repeated_ngrams', text) == expected
    found.append(expected)
  assert any(found) and not all(found)


def test_lines_go_as_in_c4_and_are_counted():
  text = '\n'.join(
    (
      'Home | About | Contact',
      'The cat sat on the mat.',
      'Read more about this cat...',
      'Is it so?',
      'Please enable Javascript to see this page.',
      'By using it you agree to our terms of use.',
      'She said: "I will go there."',
      '这座桥由石头砌成。',
      '好。',
    )
  )
  kept, counts = line_rules.keep(text, line_rules.LINE_RULE_SETS['c4'])
  assert kept.split('\n') == [
    'The cat sat on the mat.',
    'She said: "I will go there."',
    '这座桥由石头砌成。',
  ]
  assert counts == {
    'unfinished_line': 2,
    'line_of_few_words': 2,
    'javascript': 1,
    'policy': 1,
  }


def test_every_set_has_its_rules_for_lines():
  assert line_rules.LINE_RULE_SETS.keys() == quality_rules.RULE_SETS.keys()
  assert line_rules.keep(PROSE, line_rules.LINE_RULE_SETS['gentle']) == (
    PROSE,
    {},
  )
