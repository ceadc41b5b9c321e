r"""Rules that take lines out of a document, as C4 does.

    >>> text = 'Home | News\nA cat sat on the mat.\nWe all use JavaScript here.'
    >>> keep(text, LINE_RULE_SETS['c4'])
    ('A cat sat on the mat.', {'unfinished_line': 1, 'javascript': 1})

Source: C4 (Raffel et al. 2020, 2.2), and its code for what the paper leaves
open (tensorflow/datasets, text/c4_utils.py). Deviation: the punctuation that
ends sentences of other scripts counts too, and a line of Chinese or Japanese
has a word for each character.
"""

from collections.abc import Callable, Iterable, Mapping

from bertjax.corpus import word_hashes

_ENDS = ('.', '?', '!', '"', '”', '。', '？', '！', '」', '』', '।', '؟')
_POLICIES = (
  'terms of use',
  'privacy policy',
  'cookie policy',
  'uses cookies',
  'use of cookies',
  'use cookies',
)


def _unfinished(line: str) -> bool:
  """Ends in no terminal punctuation, or in an ellipsis."""
  return not line.endswith(_ENDS) or line.endswith('...')


def _few_words(line: str) -> bool:
  """Has fewer than 5 words."""
  few = len(line.split()) < 5
  return few and (line.isascii() or len(word_hashes.split(line)) < 5)


def _javascript(line: str) -> bool:
  """A warning that JavaScript should be enabled."""
  return 'javascript' in line.lower()


def _policy(line: str) -> bool:
  """Speaks of cookies or of the terms of a site."""
  lower = line.lower()
  return any(phrase in lower for phrase in _POLICIES)


LINE_RULES: Mapping[str, Callable[[str], bool]] = {
  'unfinished_line': _unfinished,
  'line_of_few_words': _few_words,
  'javascript': _javascript,
  'policy': _policy,
}
# A set for each of `quality_rules.RULE_SETS`. FineWeb leaves out C4's rule on
# terminal punctuation, which costs 30% of the text (3.6).
LINE_RULE_SETS: Mapping[str, tuple[str, ...]] = {
  'c4': ('unfinished_line', 'line_of_few_words', 'javascript', 'policy'),
  'gopher': (),
  'fineweb': ('javascript', 'policy'),
  'gentle': (),
}


def keep(text: str, rules: Iterable[str]) -> tuple[str, dict[str, int]]:
  """Returns the lines that no rule takes out, and how many each took out.

  A line counts for the first rule that takes it out.
  """
  chosen = [(name, LINE_RULES[name]) for name in rules]
  if not chosen:
    return text, {}
  kept, counts = [], dict[str, int]()
  for line in text.split('\n'):
    name = next((name for name, drops in chosen if drops(line.strip())), None)
    if name is None:
      kept.append(line)
    else:
      counts[name] = counts.get(name, 0) + 1
  return '\n'.join(kept), counts
