"""Groups of words to look for in a corpus, such as pronouns.

groups = word_groups.read('groups.txt')   # lines of 'family: mother, father'
groups = word_groups.read('groups.json')  # {"family": ["mother", "father"]}
groups = word_groups.read(None)           # DEFAULT
"""

from collections.abc import Sequence

from bertjax.errors import UserError
from bertjax.text import whole_files
from bertjax.text.input_files import json_object
from bertjax.values import fits

DEFAULT = {
  'she': ['she', 'her', 'hers', 'herself'],
  'he': ['he', 'him', 'his', 'himself'],
  'they': ['they', 'them', 'their', 'theirs', 'themselves'],
}
_FIX = 'set GROUPS to a file with lines such as "family: mother, father"'


def read(path: str | None) -> dict[str, list[str]]:
  """Returns name of a group -> its words and phrases.

  Args:
    path: of JSON, which begins with '{', or of lines, where empty ones and
      those that begin with '#' say nothing; None: `DEFAULT`.

  Raises:
    UserError: there is no such file, or it has another form.
  """
  if path is None:
    return DEFAULT
  text = whole_files.read(path, _FIX)
  if text is None:
    raise UserError(f'expected a file of groups of words, got {path}; {_FIX}')
  lines: Sequence[tuple[str, str | list[str]]]
  if text.lstrip().startswith('{'):
    found = json_object(text, path, _FIX)
    if not fits(found, dict[str, list[str] | str]):
      raise UserError(
        f'expected a list of words for each group in {path}; {_FIX}'
      )
    lines = list(found.items())
  else:
    lines = _pairs(text, path)
  groups = {
    name.strip(): _listed(words.split(',') if isinstance(words, str) else words)
    for name, words in lines
  }
  for name, words in groups.items():
    if not words:
      raise UserError(f'expected words of {name!r} in {path}, got none; {_FIX}')
  if not groups:
    raise UserError(f'expected groups of words in {path}, got none; {_FIX}')
  return groups


def _pairs(text: str, path: str) -> list[tuple[str, str]]:
  pairs = []
  for number, line in enumerate(text.splitlines(), 1):
    if not line.strip() or line.lstrip().startswith('#'):
      continue
    name, colon, words = line.partition(':')
    if not (colon and name.strip()):
      raise UserError(
        f'expected "group: word, word" in {path}:{number}, got {line:.40}; '
        f'{_FIX}'
      )
    pairs.append((name, words))
  return pairs


def _listed(words: Sequence[str]) -> list[str]:
  return [word.strip() for word in words if word.strip()]
