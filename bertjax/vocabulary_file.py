"""BERT's vocabulary file: written, read, checked, asked whether it is cased.

    vocabulary_file.write(tokens, 'runs/books/vocab.txt', cased=False)
    tokens = vocabulary_file.read('runs/books/vocab.txt')
    cased, why = vocabulary_file.detect_cased('runs/books/vocab.txt', tokens)

A token a line, UTF-8; the id of a token is its line, from 0. Source:
google-research/bert `tokenization.py` (`load_vocab`).
"""

import json
import os
from collections.abc import Sequence

from etils import epath

from bertjax.errors import UserError

SPECIAL_TOKENS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')


def read(path: str) -> list[str]:
  """Reads a `vocab.txt` from any path that `etils.epath` opens.

  Args:
    path: the file; CRLF and blank lines at its end are let pass.

  Raises:
    UserError: no such file, not UTF-8, a special token missing, duplicates.
  """
  text = _read_text(path)
  if text is None:
    raise UserError(
        f'expected a vocabulary, a token a line, but there is no file {path};'
        ' set VOCAB_FILE')
  # Not splitlines: published vocabularies hold U+2028 and its like.
  tokens = [line.rstrip(' \t\r') for line in text.split('\n')]
  while tokens and not tokens[-1]:
    tokens.pop()
  check(tokens, path)
  return tokens


def write(tokens: Sequence[str], path: str, cased: bool) -> None:
  """Writes `vocab.txt`, and `tokenizer_config.json` beside it.

  The latter, read by `detect_cased` and by transformers, keeps what a
  vocabulary cannot say of itself.
  """
  config = {'do_lower_case': not cased, 'tokenizer_class': 'BertTokenizer'}
  _write_text(os.path.join(os.path.dirname(path), 'tokenizer_config.json'),
              json.dumps(config, indent=2) + '\n')
  _write_text(path, ''.join(token + '\n' for token in tokens))


def check(tokens: Sequence[str], where: str) -> None:
  """Raises UserError where a special token is missing or a token double."""
  places = {}
  for i, token in enumerate(tokens):
    if token in places:
      raise UserError(
          f'expected distinct tokens, but {where} holds {token!r} in lines '
          f'{places[token] + 1} and {i + 1}; set VOCAB_FILE')
    places[token] = i
  missing = [token for token in SPECIAL_TOKENS if token not in places]
  if missing:
    raise UserError(
        f'expected {" ".join(SPECIAL_TOKENS)} in {where}, but it lacks '
        f'{" ".join(missing)}; set VOCAB_FILE')


def detect_cased(vocab_path: str, tokens: Sequence[str]) -> tuple[bool, str]:
  """Whether a vocabulary is cased, and one sentence that says how we know.

  Its neighbours `tokenizer_config.json` and `tokenizer.json` decide; without
  them an upper-case letter in a token that is not in brackets.
  """
  folder = os.path.dirname(vocab_path)
  config = _read_json(os.path.join(folder, 'tokenizer_config.json'))
  if isinstance(config.get('do_lower_case'), bool):
    lowercase = config['do_lower_case']
    return not lowercase, (
        f'tokenizer_config.json says do_lower_case = {lowercase}')
  normalizer = _read_json(
      os.path.join(folder, 'tokenizer.json')).get('normalizer') or {}
  for part in normalizer.get('normalizers', [normalizer]):
    if isinstance(part.get('lowercase'), bool):
      return not part['lowercase'], (
          f'tokenizer.json says lowercase = {part["lowercase"]}')
  for token in tokens:
    if token != token.lower() and not token.startswith('['):
      return True, f'the vocabulary holds {token!r}, with an upper-case letter'
  return False, 'no token of the vocabulary has an upper-case letter'


def _write_text(path: str, text: str) -> None:
  # A run that is killed here must not leave half of it for the next one.
  new = epath.Path(path + '.new')
  new.write_bytes(text.encode())
  new.replace(path)


def _read_text(path: str) -> str | None:
  """The file's text, or None where there is no file."""
  try:
    return epath.Path(path).read_bytes().decode('utf-8-sig')
  except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
    return None
  except UnicodeDecodeError as error:
    raise UserError(
        f'expected UTF-8 in {path}, got byte {error.object[error.start]:#x} '
        f'at {error.start}; set VOCAB_FILE') from error


def _read_json(path: str) -> dict:
  text = _read_text(path)
  try:
    return {} if text is None else json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(
        f'expected JSON in {path}, got {error}; mend it, or set CASED'
    ) from error
