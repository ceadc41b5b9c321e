"""Byte-level BPE, as of GPT-2, RoBERTa and ModernBERT, and its tokenizer.json.

    tokens, cased, rules = byte_level.read(whole, 'roberta/tokenizer.json')
    byte_level.build(tokens, cased, rules).encode('any text').ids

Each byte of UTF-8 is written as a letter, a space as 'Ġ': no text is unknown.
`rules` are what else turns text into tokens, as JSON, so that they can be
compared, hashed and handed on: `merges`, in the order in which they apply;
`composed`, whether text becomes NFC; `prefix_space`, whether a text gets a
space in front; `added`, the fields of tokens that are found in text as they
are, or in none if they are special.

Source: Radford et al. 2019 (GPT-2), section 2.2; the Rust library `tokenizers`,
which does the work.
"""

import functools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import (
  AddedToken,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
)

from bertjax import values
from bertjax.errors import UserError

SPACE = 'Ġ'
PARTED = '\ufffd'  # takes the place of bytes that are not a whole letter
ROLES = ('pad', 'unk', 'cls', 'sep', 'mask')
# Of BERT and ModernBERT, and of RoBERTa.
NAMES = (
  ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'),
  ('<pad>', '<unk>', '<s>', '</s>', '<mask>'),
)
ELSEWHERE = 'point VOCAB_FILE, MODEL, INIT_FROM or RUN_DIR elsewhere'
Rules = str
# Setting -> values with which ids are those of the tokenizer here. None: it is
# not there.
_PLAIN: dict[str, Collection[Any]] = {
  'model.type': ('BPE', None),
  'model.dropout': (None, 0),
  'model.continuing_subword_prefix': (None, ''),
  'model.end_of_word_suffix': (None, ''),
  'model.byte_fallback': (False, None),
  'model.ignore_merges': (False, None),
  'pre_tokenizer.type': ('ByteLevel',),
  'pre_tokenizer.use_regex': (True, None),
}
_NORMALIZERS: Sequence[list[str]] = (
  [],
  ['NFC'],
  ['Lowercase'],
  ['NFC', 'Lowercase'],
)
_FLAGS = ('single_word', 'lstrip', 'rstrip', 'normalized', 'special')


def is_one(whole: Mapping[str, Any]) -> bool:
  """Returns whether a tokenizer.json is of BPE; old ones do not name it."""
  model = whole.get('model') or {}
  return model.get('type', 'BPE' if 'merges' in model else None) == 'BPE'


def alphabet() -> list[str]:
  """Returns the letters of all 256 bytes."""
  return sorted(pre_tokenizers.ByteLevel.alphabet())


@functools.cache
def _bytes() -> dict[str, bytes]:
  """Letter -> its byte: itself where it can be seen, others in their order."""
  letters = alphabet()
  seen = {ord(x) for x in letters if ord(x) < 256}
  others = [x for x in range(256) if x not in seen]
  values = [*sorted(seen), *others]
  return {x: bytes([n]) for x, n in zip(letters, values, strict=True)}


def to_bytes(token: str) -> bytes:
  r"""Returns the bytes of a token; of a special one, its name.

  >>> to_bytes('ĠÃ'), to_bytes('[CLS]')
  (b' \xc3', b'[CLS]')
  """
  known = _bytes()
  if any(letter not in known for letter in token):
    return token.encode()
  return b''.join(known[letter] for letter in token)


def special_names(tokens: Collection[str]) -> tuple[str, ...]:
  """Returns the names of the special tokens here, in the order of `ROLES`.

  >>> special_names(['<s>', '</s>', 'a'])
  ('<pad>', '<unk>', '<s>', '</s>', '<mask>')
  """
  known = frozenset(tokens)
  return max(NAMES, key=lambda names: len(known.intersection(names)))


def rules_of(
  merges: Sequence[str],
  composed: bool = False,
  prefix_space: bool = False,
  added: Sequence[Mapping[str, Any]] = (),
) -> Rules:
  """Returns rules; see the module. Merges are texts such as 'Ġ t'."""
  return json.dumps(
    {
      'merges': merges,
      'composed': composed,
      'prefix_space': prefix_space,
      'added': added or [*map(_special, NAMES[0])],
    },
    sort_keys=True,
  )


def _special(name: str) -> dict[str, Any]:
  # The space before a masked word is hidden with it.
  is_mask = name in [names[-1] for names in NAMES]
  return dict.fromkeys(_FLAGS, False) | {
    'content': name,
    'lstrip': is_mask,
    'special': True,
  }


def read(whole: Mapping[str, Any], path: str) -> tuple[list[str], bool, Rules]:
  """Returns tokens, whether they are cased, and rules of a tokenizer.json.

  Args:
    whole: its content, with the sections of any.
    path: the file's, for messages.

  Raises:
    UserError: it is damaged, or of a tokenizer that is not understood.
  """
  steps = _check_settings(whole, path)
  ids = _ids(whole, path)
  tokens = sorted(ids, key=ids.__getitem__)
  named = {x: _special(x) for x in special_names(tokens) if x in ids}
  for x in whole.get('added_tokens') or ():
    flags = {flag: bool(x.get(flag)) for flag in _FLAGS}
    flags['special'] |= x['content'] in named
    named[x['content']] = {'content': x['content']} | flags
  added = sorted(named.values(), key=lambda x: ids[x['content']])
  for token in added:
    # Else it would look across what `bulk_tokenizer` takes for a word.
    strips = any(token[x] for x in ('single_word', 'lstrip', 'rstrip'))
    across = re.search(r'\S ', token['content'])
    if not token['special'] and (strips or across):
      raise unlike(f'added token {token["content"]!r}', 'plain', token, path)
  rules = rules_of(
    _merges(whole['model'], ids, path),
    'NFC' in steps,
    bool(whole['pre_tokenizer'].get('add_prefix_space')),
    added,
  )
  return tokens, 'Lowercase' not in steps, rules


def unlike(name: str, wanted: Any, got: Any, path: str) -> UserError:
  """Returns the error of a setting that is not understood."""
  return UserError(
    f'expected {name} = {wanted!r} in {path}, got {got!r:.100}, with which ids '
    f'would differ from those of the tokenizer here; {ELSEWHERE}'
  )


def _check_settings(whole: Mapping[str, Any], path: str) -> list[str]:
  """Refuses what is not understood; returns the kinds of normalizers."""
  for name, known in _PLAIN.items():
    section, _, key = name.partition('.')
    got = (whole.get(section) or {}).get(key)
    if got not in known:
      raise unlike(name, next(iter(known)), got, path)
  normalizer = whole.get('normalizer') or {}
  several = normalizer.get('normalizers', [normalizer])
  steps = several
  if values.fits(several, list[dict[str, Any]]):
    steps = [x.get('type') for x in several if x]
  if steps not in _NORMALIZERS:
    raise unlike('normalizer', 'NFC, Lowercase, both, or none', steps, path)
  return steps


def _ids(whole: Mapping[str, Any], path: str) -> dict[str, int]:
  """Returns token -> id."""
  found = whole['model'].get('vocab')
  what = 'model.vocab of ids from 0, each once and without gaps'
  if not values.fits(found, dict[str, int]):
    raise UserError(f'expected {what}, in {path}; mend it, or {ELSEWHERE}')
  ids = dict(found)
  ids |= {x['content']: x['id'] for x in whole.get('added_tokens') or ()}
  tokens: dict[int, str] = {}
  for token, number in ids.items():
    if tokens.setdefault(number, token) != token:
      raise UserError(
        f'expected {what}, in {path}, got {number} for {tokens[number]!r} and '
        f'{token!r}; mend it, or {ELSEWHERE}'
      )
  if missing := set(range(len(ids))).difference(tokens):
    raise UserError(
      f'expected {what}, in {path}, but it lacks {min(missing)}; mend it, or '
      f'{ELSEWHERE}'
    )
  if lacks := [x for x in alphabet() if x not in ids]:
    raise UserError(
      f'expected the 256 bytes in {path}, but it lacks {len(lacks)}, such as '
      f'{lacks[0]!r}, without which some text would vanish; {ELSEWHERE}'
    )
  return ids


def _merges(
  model: Mapping[str, Any], ids: Mapping[str, int], path: str
) -> list[str]:
  """Returns 'Ġ t' and so on; files have pairs of texts or one text each."""
  found = []
  merges = model.get('merges') or []
  for merge in merges if isinstance(merges, list) else [merges]:
    parts = merge.split(' ') if isinstance(merge, str) else merge
    known = values.fits(parts, list[str]) and len(parts) == 2
    if not known or not {*parts, ''.join(parts)} <= ids.keys():
      raise UserError(
        f'expected merges of two tokens into a third, all in model.vocab, in '
        f'{path}, got {merge!r:.60}; mend it, or {ELSEWHERE}'
      )
    found.append(' '.join(parts))
  return found


def build(
  tokens: Sequence[str],
  cased: bool,
  rules: Rules,
  found: Collection[str] = (),
) -> tokenizers.Tokenizer:
  """Returns the library's tokenizer, which adds no special tokens.

  Args:
    tokens: in the order of their ids.
    cased: False lower-cases text first.
    rules: see the module.
    found: those special tokens that are found in text; others are text there.
  """
  given = json.loads(rules)
  merges = [tuple(merge.split(' ')) for merge in given['merges']]
  ids = {token: i for i, token in enumerate(tokens)}
  library = tokenizers.Tokenizer(models.BPE(ids, merges))
  steps: list[Any] = [normalizers.NFC()] if given['composed'] else []
  steps += [] if cased else [normalizers.Lowercase()]
  if steps:
    library.normalizer = normalizers.Sequence(steps)
  prefix = given['prefix_space']
  library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
  # A token's offsets leave out the space that it begins with.
  library.post_processor = processors.ByteLevel(
    add_prefix_space=prefix, trim_offsets=True
  )
  library.decoder = decoders.ByteLevel()
  library.add_tokens(
    [
      AddedToken(**token)
      for token in given['added']
      if not token['special'] or token['content'] in found
    ]
  )
  return library


def text_of(tokens: Sequence[str], cased: bool, rules: Rules) -> str:
  """Returns a tokenizer.json, with which transformers makes rows as here."""
  library = build(tokens, cased, rules, special_tokens(rules))
  _, _, cls, sep, _ = special_names(tokens)
  template = processors.TemplateProcessing(
    single=f'{cls} $A {sep}',
    pair=f'{cls} $A {sep} $B:1 {sep}:1',
    special_tokens=[(x, library.token_to_id(x)) for x in (cls, sep)],
  )
  library.post_processor = processors.Sequence(
    [processors.ByteLevel(trim_offsets=True), template]
  )
  return library.to_str() + '\n'


def special_tokens(rules: Rules) -> list[str]:
  """Returns all special tokens, those without a role here among them."""
  return [x['content'] for x in json.loads(rules)['added'] if x['special']]


def shown(tokens: Sequence[str], special: Collection[str] = ()) -> list[str]:
  """Returns tokens as people read them, in WordPiece's notation.

  >>> shown(['Ġcat', 's', 'Ġ', 'Ã©', '[CLS]', '[unused0]', 'Ġ##'])
  ['cat', '##s', 'Ġ', '##é', '[CLS]', '[unused0]', 'Ġ##']

  Args:
    tokens: those of a vocabulary.
    special: `special_tokens`, of which those with a role are known.
  """
  special = {*special_names(tokens), *special}
  found = []
  for token in tokens:
    text = spell([token])
    # Not part of a letter, white space alone, or taken for a continuation.
    readable = text.strip() and PARTED not in text
    readable = readable and not token.startswith(f'{SPACE}##')
    if token in special or token.startswith('[unused') or not readable:
      found.append(token)
    else:
      found.append(text if token.startswith(SPACE) else f'##{text}')
  return found


def spell(tokens: Sequence[str]) -> str:
  """Returns the text of consecutive tokens, without a space in front.

  >>> spell(['ĠcafÃ', '©', 'Ġau'])
  'café au'
  """
  return decoders.ByteLevel().decode([*tokens]).removeprefix(' ')
