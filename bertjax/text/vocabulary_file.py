"""The vocabulary's file: reads, writes and checks it, tells if it is cased.

    vocabulary_file.write(tokens, 'runs/books/vocab.txt', cased=False)
    tokens = vocabulary_file.read('runs/books/vocab.txt')
    cased, why = vocabulary_file.detect_cased('runs/books/vocab.txt', tokens)
    Vocabulary(*vocabulary_file.load('ModernBERT-base/tokenizer.json'))

BERT's has a token a line, in UTF-8; a token's id is its line, from 0.
transformers 5 writes tokenizer.json alone, which is read if there is no
vocab.txt. Two tokenizers are supported: BERT's own, cased or lower-cased, and
byte-level BPE, which has tokenizer.json, or vocab.json and merges.txt without
it, see `byte_level`.
Source: google-research/bert `tokenization.py` (`load_vocab`); transformers
`tokenization_bert.py` for the files beside it.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from bertjax.errors import UserError
from bertjax.text import byte_level, whole_files
from bertjax.text.byte_level import ELSEWHERE as _ELSEWHERE
from bertjax.text.byte_level import Rules

NAME = 'vocab.txt'  # also what transformers calls it
SPECIAL_TOKENS = byte_level.NAMES[0]
_SECTIONS = {'normalizer', 'pre_tokenizer', 'model'}  # of tokenizer.json
CONFIG, WHOLE = 'tokenizer_config.json', 'tokenizer.json'
# Of BPE before there was tokenizer.json.
TABLE, MERGES = 'vocab.json', 'merges.txt'
BERT_CLASSES = ('BertTokenizer', 'BertTokenizerFast')
# In transformers 4 and 5; these do what tokenizer.json says.
GENERAL_CLASSES = ('PreTrainedTokenizerFast', 'TokenizersBackend')
BYTE_LEVEL_CLASSES = (
  'GPT2Tokenizer',
  'GPT2TokenizerFast',
  'RobertaTokenizer',
  'RobertaTokenizerFast',
  *GENERAL_CLASSES,
)
# (file, setting) -> what BERT's own tokenizer has there.
PLAIN = {
  (CONFIG, 'tokenize_chinese_chars'): True,
  (WHOLE, 'normalizer.type'): 'BertNormalizer',
  (WHOLE, 'normalizer.clean_text'): True,
  (WHOLE, 'normalizer.handle_chinese_chars'): True,
  (WHOLE, 'pre_tokenizer.type'): 'BertPreTokenizer',
  (WHOLE, 'model.type'): 'WordPiece',
  (WHOLE, 'model.continuing_subword_prefix'): '##',
  (WHOLE, 'model.max_input_chars_per_word'): 100,
  # In a text, others would be one token each there, and several here.
  (WHOLE, 'added_tokens'): SPECIAL_TOKENS,
}
_FIX = f'mend it, or {_ELSEWHERE}'
# Bytes of vocab.txt and tokenizer.json: room for a million tokens, which in the
# latter have some 25 bytes each, or twice that with merges.
_MOST = 1 << 25


def read(path: str) -> list[str]:
  """Reads a `vocab.txt` from any path that `etils.epath` opens.

  Args:
    path: CRLF and blank lines at the end are accepted. If there is no
      vocab.txt, the tokens are those of the tokenizer.json beside it.

  Raises:
    UserError: no such file, not UTF-8, a special token is missing, a token
      occurs twice, tokenizer.json has others; see `check_tokenizer` too.
  """
  folder, name = os.path.split(path)
  check_tokenizer(folder)
  text = whole_files.read(path, _FIX, _MOST)
  whole = _read_whole(folder) if name == NAME else {}
  beside = os.path.join(folder, WHOLE)
  if text is not None:
    # Not splitlines: published vocabularies contain U+2028 and the like.
    lines = text.rstrip(' \t\r\n').split('\n')
    tokens = [line.rstrip(' \t\r') for line in lines]
    theirs = (whole.get('model') or {}).get('vocab')
    if theirs and tokens != _find_tokens(whole, beside):
      raise UserError(
        f'{path} and {beside} have other tokens or another '
        f'order; take the wrong one away, or {_ELSEWHERE}'
      )
  elif whole:
    path = beside
    tokens = _find_tokens(whole, path)
  else:
    raise UserError(
      f'expected a vocabulary, a token a line, but there is no file {path}; '
      f'put it there, or {_ELSEWHERE}'
    )
  check(tokens, path)
  return tokens


def _find_tokens(whole: dict[str, Any], path: str) -> list[str]:
  """Returns the tokens of a tokenizer.json in the order of their ids."""
  try:
    ids = dict(whole['model']['vocab'])
    added = whole.get('added_tokens') or ()
    ids |= {each['content']: each['id'] for each in added}
    if sorted(ids.values()) != list(range(len(ids))):
      raise ValueError('gaps')
  except (LookupError, TypeError, ValueError) as error:
    raise UserError(
      f'expected model.vocab of ids from 0 without gaps in {path}; mend it, or '
      'put vocab.txt in its place'
    ) from error
  return sorted(ids, key=ids.__getitem__)


def load(path: str) -> tuple[list[str], bool] | tuple[list[str], bool, Rules]:
  """Returns what `Vocabulary` takes: tokens, whether they are cased, and rules.

  Args:
    path: of vocab.txt, or of a tokenizer.json, whose BPE alone has rules, or
      of a vocab.json beside merges.txt. A vocab.txt that is not there stands
      for the first of these that is beside it.

  Raises:
    UserError: see `read` and `byte_level.read`.
  """
  if (path_of_bpe := _find_byte_level(path)) is not None:
    return _read_byte_level(path_of_bpe)
  folder, name = os.path.split(path)
  if name == WHOLE:
    path = os.path.join(folder, NAME)
  tokens = read(path)
  _check_ids(folder, tokens, SPECIAL_TOKENS)
  return tokens, detect_cased(path, tokens)[0]


def find(folder: str) -> str:
  """Returns the file of the vocabulary in a folder, vocab.txt if in doubt."""
  path = os.path.join(folder, NAME)
  return _find_byte_level(path) or path


def _find_byte_level(path: str) -> str | None:
  """Returns the tokenizer.json of BPE that a path stands for, if any."""
  folder, name = os.path.split(path)
  if name == NAME:
    beside = os.path.join(folder, WHOLE)
    if whole_files.read(path, _FIX, _MOST) is None:
      is_older = not epath.Path(beside).exists()
      older = os.path.join(folder, TABLE)
      path = older if is_older and epath.Path(older).exists() else beside
    elif byte_level.is_one(_read_whole(folder)):
      raise UserError(
        f'{path} and {beside} are of two tokenizers; take the wrong one away, '
        f'or {_ELSEWHERE}'
      )
  if not path.endswith('.json'):
    return None
  whole = _read_whole(*os.path.split(path))
  if not whole and name != NAME:
    raise UserError(
      f'expected a vocabulary, but there is no file {path}; put it there, or '
      f'{_ELSEWHERE}'
    )
  is_one = byte_level.is_one(whole) or name not in (NAME, WHOLE)
  return path if is_one else None


def _read_byte_level(path: str) -> tuple[list[str], bool, Rules]:
  folder, name = os.path.split(path)
  whole = _read_whole(folder, name)
  tokens, cased, rules = byte_level.read(whole, path)
  names = byte_level.special_names(tokens)
  check(tokens, path, names)
  _check_ids(folder, tokens, names)
  prefix = json.loads(rules)['prefix_space']
  for file in (CONFIG, 'config.json'):
    found = read_json(folder, file)
    for setting, values in (
      ('tokenizer_class', BYTE_LEVEL_CLASSES),
      ('add_prefix_space', (prefix,)),
    ):
      got = found.get(setting)
      if got is not None and got not in values:
        raise byte_level.unlike(
          setting, values[0], got, os.path.join(folder, file)
        )
  return tokens, cased, rules


def _check_ids(
  folder: str, tokens: Sequence[str], names: Sequence[str]
) -> None:
  """Refuses the tokenizer of another model than that of config.json."""
  found = read_json(folder, 'config.json')
  for role, name in zip(byte_level.ROLES, names, strict=True):
    got, number = found.get(f'{role}_token_id'), tokens.index(name)
    if got is not None and got != number:
      raise UserError(
        f'expected {role}_token_id = {number}, the id of {name} in the '
        f'vocabulary, in {os.path.join(folder, "config.json")}, got {got!r}: '
        f'one of them is of another model; {_FIX}'
      )


def digest(path: str) -> str:
  """Returns 32 hexadecimal digits of what `load` returns."""
  return digest_of(*load(path))


def digest_of(tokens: Sequence[str], cased: bool, *rules: Rules) -> str:
  """Returns `digest` of a file with these."""
  content = json.dumps([list(tokens), cased, *rules]).encode()
  return hashlib.blake2b(content, digest_size=16).hexdigest()


def save(
  folder: str,
  tokens: Sequence[str],
  cased: bool,
  rules: Rules | None = None,
  types: int = 2,
) -> None:
  """Writes the file of the vocabulary into a folder; see `write`.

  Args:
    folder: that is there.
    tokens: see `load`, as for the next two.
    cased: see `load`.
    rules: see `load`.
    types: see `byte_level.text_of`.

  Raises:
    UserError: that of another tokenizer is there, or the file system refuses.
  """
  path, whole = os.path.join(folder, NAME), os.path.join(folder, WHOLE)
  other = path
  if rules is None:
    other = whole if byte_level.is_one(_read_whole(folder)) else ''
  if other and epath.Path(other).exists():
    raise UserError(
      f'{other} is of another tokenizer than that of this run; set RUN_DIR to '
      'another folder'
    )
  if rules is None:
    write(tokens, path, cased)
  else:
    _write_text(whole, byte_level.text_of(tokens, cased, rules, types))


def write(tokens: Sequence[str], path: str, cased: bool) -> None:
  """Writes `vocab.txt`, and `tokenizer_config.json` beside it.

  The latter, read by `detect_cased` and by transformers, says whether the
  vocabulary is cased.

  Raises:
    UserError: the file system refuses, for example because the disk is full.
  """
  config = {'do_lower_case': not cased, 'tokenizer_class': 'BertTokenizer'}
  beside = os.path.join(os.path.dirname(path), CONFIG)
  _write_text(beside, json.dumps(config, indent=2) + '\n')
  _write_text(path, ''.join(token + '\n' for token in tokens))


def check(
  tokens: Sequence[str], where: str, special: Sequence[str] = SPECIAL_TOKENS
) -> None:
  """Raises UserError if a special token is missing or a token occurs twice."""
  places: dict[str, int] = {}
  for line, token in enumerate(tokens, start=1):
    if places.setdefault(token, line) < line:
      raise UserError(
        f'expected distinct tokens, but {where} holds {token!r} in lines '
        f'{places[token]} and {line}; mend it, or {_ELSEWHERE}'
      )
  missing = [token for token in special if token not in places]
  if missing:
    raise UserError(
      f'expected {" ".join(special)} in {where}, but it lacks '
      f'{" ".join(missing)}; mend it, or {_ELSEWHERE}'
    )


def check_tokenizer(folder: str) -> None:
  """Refuses a folder whose files ask for a tokenizer other than BERT's.

  Raises:
    UserError: with a setting of tokenizer_config.json, tokenizer.json or
      config.json, ids would differ.
  """
  whole = _read_whole(folder)
  classes = BERT_CLASSES + (GENERAL_CLASSES if whole else ())
  added = {each['content'] for each in whole.get('added_tokens') or ()}
  settings = {
    f'{section}.{name}': value
    for section in _SECTIONS & whole.keys()
    for name, value in (whole[section] or {'type': 'null'}).items()
  } | {'added_tokens': sorted(added.difference(SPECIAL_TOKENS)) or None}
  found = {
    CONFIG: read_json(folder, CONFIG),
    'config.json': read_json(folder, 'config.json'),
    WHOLE: settings,
  }
  lowercase = settings.get('normalizer.lowercase', True)
  accepted = {
    (CONFIG, 'tokenizer_class'): classes,
    ('config.json', 'tokenizer_class'): classes,
    (CONFIG, 'strip_accents'): (_find_lowercase(folder)[0] is not False,),
    (WHOLE, 'normalizer.strip_accents'): (lowercase,),
  } | {place: (value,) for place, value in PLAIN.items()}
  for (file, name), values in accepted.items():
    got = found[file].get(name)
    if got is not None and got not in values:
      raise UserError(
        f'expected {name} = {values[0]!r} in {os.path.join(folder, file)}, '
        f'got {got!r}, with which ids would differ from those of the '
        f'tokenizer here; {_ELSEWHERE} (vocab.txt alone, copied to another '
        'folder, is taken as plain BERT)'
      )


def detect_cased(vocab_path: str, tokens: Sequence[str]) -> tuple[bool, str]:
  """Returns whether a vocabulary is cased, and one sentence that says why.

  The `tokenizer_config.json` or `tokenizer.json` beside it decides; without
  them, an upper-case letter in a token that is not in brackets.
  """
  if (path := _find_byte_level(vocab_path)) is not None:
    _, cased, _ = _read_byte_level(path)
    name = os.path.basename(path)
    return cased, f'{name} {"does not lower" if cased else "lowers"} letters'
  lowercase, why = _find_lowercase(os.path.dirname(vocab_path))
  if lowercase is not None:
    return not lowercase, why
  for token in tokens:
    if token != token.lower() and not token.startswith('['):
      return True, f'the vocabulary holds {token!r}, with an upper-case letter'
  return False, 'no token of the vocabulary has an upper-case letter'


def _find_lowercase(folder: str) -> tuple[bool | None, str]:
  """Returns whether text is lower-cased, None if unknown, and who says so."""
  normalizer = _read_whole(folder).get('normalizer') or {}
  for file, name, found in (
    (CONFIG, 'do_lower_case', read_json(folder, CONFIG)),
    (WHOLE, 'lowercase', normalizer),
  ):
    form = {name: bool | None}
    whole_files.check(found, form, os.path.join(folder, file), _FIX, False)
    if found.get(name) is not None:
      return found[name], f'{file} says {name} = {found[name]}'
  return None, ''


def _write_text(path: str, text: str) -> None:
  # A run killed while writing must not leave half a file for the next one.
  new = epath.Path(path + '.new')
  try:
    new.write_bytes(text.encode())
    new.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      new.unlink(missing_ok=True)
    raise UserError(
      f'cannot write {path}: {error.strerror or error}; free space there or '
      'set RUN_DIR or OUTPUT'
    ) from error


def _read_whole(folder: str, name: str = WHOLE) -> dict[str, Any]:
  """Returns tokenizer.json, whose sections are what they are in any."""
  whole, path = read_json(folder, name, _MOST), os.path.join(folder, name)
  if name == TABLE and whole:
    whole = _read_older(folder, whole)
  section = Mapping[str, Any] | None
  forms: dict[str, Any] = dict.fromkeys(_SECTIONS, section)
  forms['added_tokens'] = Sequence[Mapping[str, Any]] | None
  whole_files.check(whole, forms, path, _FIX, complete=False)
  for each in whole.get('added_tokens') or ():
    whole_files.check(each, {'content': str, 'id': int}, path, _FIX)
  return whole


def _read_older(folder: str, table: dict[str, Any]) -> dict[str, Any]:
  """Returns the tokenizer.json of a folder of vocab.json and merges.txt."""
  path = os.path.join(folder, MERGES)
  text = whole_files.read(path, _FIX, _MOST)
  more = read_json(folder, 'added_tokens.json').keys() - table.keys()
  if text is None or more:
    got = f'added_tokens.json with {min(more)!r}' if more else f'no {MERGES}'
    raise UserError(
      f'expected {os.path.join(folder, WHOLE)}, or {TABLE} and {MERGES} with '
      f'all tokens, got {got}; with transformers, '
      'AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes it'
    )
  lines = [line.rstrip('\r') for line in text.split('\n')]
  if lines[0].startswith('#version'):
    del lines[0]
  prefix = read_json(folder, CONFIG).get('add_prefix_space')
  return {
    'model': {'type': 'BPE', 'vocab': table, 'merges': [*filter(None, lines)]},
    'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': prefix},
    'post_processor': {'type': 'ByteLevel', 'trim_offsets': True},
  }


def read_json(
  folder: str, name: str, most: int = whole_files.MOST
) -> dict[str, Any]:
  """Returns the object in a file beside a vocabulary, {} if there is none."""
  path = os.path.join(folder, name)
  return whole_files.read_object(path, _FIX, most) or {}
