"""Byte-level BPE, as of GPT-2, RoBERTa and ModernBERT, and its tokenizer.json.

    tokens, cased, rules = byte_level.read(whole, 'roberta/tokenizer.json')
    byte_level.build(tokens, cased, rules).encode('any text').ids

Each byte of UTF-8 is written as a letter, a space as 'Ġ': no text is unknown.
`rules` are what else turns text into tokens, as JSON, so that they can be
compared, hashed and handed on: `merges`, in the order in which they apply;
`composed`, whether text becomes NFC; `prefix_space`, whether a text gets a
space in front; `added`, the fields of tokens that are found in text as they
are, or in none if they are special; `separators`, how many stand between two
texts, if more than one; `trimmed`, false if transformers' offsets of a token
hold the space that it begins with, as ModernBERT's do.

Deviation: no offsets here hold that space, so that no answer begins with it.

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
  separators: int = 1,
  trimmed: bool = True,
) -> Rules:
  """Returns rules; see the module. Merges are texts such as 'Ġ t'."""
  rules = {
    'merges': merges,
    'composed': composed,
    'prefix_space': prefix_space,
    'added': added or [*map(_special, NAMES[0])],
  }
  more: dict[str, Any] = {'separators': separators} if separators > 1 else {}
  more |= {} if trimmed else {'trimmed': False}
  return json.dumps(rules | more, sort_keys=True)


def separators(rules: Rules | None) -> int:
  """Returns how many [SEP] stand between two texts; None: of WordPiece."""
  return 1 if rules is None else json.loads(rules).get('separators', 1)


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
    *_rows(whole.get('post_processor') or {}, ids, path),
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


def _rows(
  processor: Mapping[str, Any], ids: Mapping[str, int], path: str
) -> tuple[int, bool]:
  """Refuses other rows than those here; returns `separators` and `trimmed`.

  Without any rows, they are those of the family that has these names.
  """
  names = special_names(ids)
  _, _, cls, sep, _ = names
  usual = 1 + NAMES.index(names)
  wanted = {n: [cls, '$A', *[sep] * n, '$B', sep] for n in (1, 2)}
  got: Any = processor
  try:
    several = processor.get('processors', [processor])
    trimmed = any(x.get('trim_offsets') for x in several)
    kinds = [x for x in several if x.get('type') not in (None, 'ByteLevel')]
    if not kinds:
      return usual, trimmed
    ((single, pair, numbers),) = map(_template, kinds)
    got = ' '.join(pair if single == [cls, '$A', sep] else single)
    (count,) = [n for n in wanted if wanted[n] == pair]
    known = all(ids.get(name) == number for name, number in numbers.items())
    if known and single == [cls, '$A', sep]:
      return count, trimmed
    got = got if known else numbers
  except (LookupError, TypeError, ValueError, AttributeError):
    pass
  raise unlike('post_processor', ' '.join(wanted[usual]), got, path)


def _template(
  processor: Mapping[str, Any],
) -> tuple[list[str], list[str], dict[str, int]]:
  """Returns what a text and a pair become, and the ids of special tokens."""
  kind = processor['type']
  if kind == 'TemplateProcessing':
    single, pair = (
      [
        x['SpecialToken']['id']
        if 'SpecialToken' in x
        # The library writes 'A' where its template says '$A'.
        else '$' + x['Sequence']['id']
        for x in processor[name]
      ]
      for name in ('single', 'pair')
    )
    special = processor['special_tokens']
    numbers = {x: special[x]['ids'][0] for x in {*single, *pair} & {*special}}
    return single, pair, numbers
  between = {'RobertaProcessing': 2, 'BertProcessing': 1}[kind]
  (cls, cls_id), (sep, sep_id) = processor['cls'], processor['sep']
  pair = [cls, '$A', *[sep] * between, '$B', sep]
  return [cls, '$A', sep], pair, {cls: cls_id, sep: sep_id}


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


def text_of(
  tokens: Sequence[str], cased: bool, rules: Rules, types: int = 2
) -> str:
  """Returns a tokenizer.json, with which transformers makes rows as here.

  Args:
    tokens: see `build`.
    cased: see `build`.
    rules: see `build`.
    types: of the model's sentences; with 1, as RoBERTa, B has type 0, too.
  """
  library = build(tokens, cased, rules, special_tokens(rules))
  _, _, cls, sep, _ = special_names(tokens)
  between = ' '.join([sep] * separators(rules))
  b = int(types != 1)
  template: Any = processors.TemplateProcessing(
    single=f'{cls} $A {sep}',
    pair=f'{cls} $A {between} $B:{b} {sep}:{b}',
    special_tokens=[(x, library.token_to_id(x)) for x in (cls, sep)],
  )
  if json.loads(rules).get('trimmed', True):
    template = processors.Sequence([library.post_processor, template])
  library.post_processor = template
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
