"""Which class of transformers has which heads, and what a file tells of them.

    >>> config = EncoderConfig(vocabulary_size=9, width=2, layers=1, heads=1,
    ...                        feed_forward=4, types=1)
    >>> architecture(('pooler', 'classifier'), config)
    'RobertaForSequenceClassification'

AutoModel goes by the names of classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.interop import config_json, names
from bertjax.interop.family import Family
from bertjax.models.config import EncoderConfig

# Head for a task -> what the names of the classes with it end in.
TASK_CLASSES = {
  'classifier': 'ForSequenceClassification',
  'tag_head': 'ForTokenClassification',
  'span_head': 'ForQuestionAnswering',
}


def architecture(heads: Iterable[str], config: EncoderConfig) -> str:
  """Returns the class of transformers for these heads.

  Args:
    heads: names in `names.HEADS`, in its order. Those that `kept` leaves out
      are ignored.
    config: of the model.

  Raises:
    UserError: transformers has no such class, or no such model.
  """
  family, heads = config_json.family_of(config), tuple(heads)
  classes = _classes(config, family)
  if (own := kept(heads, config)) in classes:
    return family.prefix + classes[own]
  known = '; '.join(' + '.join(key) or 'none' for key in classes)
  raise UserError(
    f'transformers has no {family.title} with the heads {" + ".join(heads)}; '
    f'it has {known}'
  )


def kept(heads: Sequence[str], config: EncoderConfig) -> tuple[str, ...]:
  """Returns those of the heads that a class has a place for.

  A pooler beside the heads of a class without one (masked-LM alone, tags,
  spans), and heads that the family does not have, have none.
  """
  family = config_json.family_of(config)
  own = tuple(head for head in heads if head in family.heads)
  if own in _classes(config, family):
    return own
  return tuple(head for head in own if head != 'pooler')


def _classes(
  config: EncoderConfig, family: Family
) -> dict[tuple[str, ...], str]:
  """Returns the family's, by those of their heads that have parameters."""
  return {
    tuple(x for x in key if names.rows_of(config, x, key, family)): name
    for key, name in family.classes.items()
  }


def name_in(attributes: Mapping[str, Any]) -> str:
  """Returns the name of the class that a config.json is of, or ''."""
  return ' '.join(map(str, attributes.get('architectures') or ()))


def find(
  tensors: set[str],
  config: EncoderConfig,
  attributes: Mapping[str, Any],
) -> tuple[str, ...]:
  """Returns the heads whose tensors are all there, in the order of `HEADS`.

  Args:
    tensors: names, with the prefix of the encoder.
    config: of the model.
    attributes: of config.json, whose `architectures` tells heads apart that
      have one name there, such as that for tags from that for classes.

  Raises:
    UserError: they cannot be told apart.
  """
  family = config_json.family_in(attributes, 'config.json')
  heads: set[str] = set()
  # Backwards, since where a pooler is depends on the head.
  for head in [x for x in reversed(names.HEADS) if x in family.heads]:
    rows = names.rows_of(config, head, [*heads], family)
    if rows and tensors.issuperset(row.theirs for row in rows):
      heads.add(head)
  alike = [head for head in TASK_CLASSES if head in heads]
  if len(alike) > 1:
    heads.difference_update(alike)
    heads |= _told_apart(alike, heads, name_in(attributes), family)
  heads = {x for x in heads if family.needs.get(x, x) in heads}
  return tuple(head for head in names.HEADS if head in heads)


def _told_apart(
  alike: Sequence[str], heads: set[str], class_name: str, family: Family
) -> set[str]:
  """Returns which of several heads a tensor of one name belongs to."""
  for head in alike:
    if TASK_CLASSES[head] in class_name:
      return {head}
  if 'pooler' in family.heads:  # a class of transformers has one, others not
    return {'classifier' if class_name or 'pooler' in heads else 'tag_head'}
  if class_name:
    return set()
  raise UserError(
    f'expected architectures in config.json, which alone says what the '
    f'classifier of a {family.title} is for; add '
    f'{" or ".join(family.prefix + TASK_CLASSES[head] for head in alike)} there'
  )


def is_tied(
  tensors: Mapping[str, np.ndarray],
  attributes: Mapping[str, Any],
  family: Family,
  path: str,
) -> bool:
  """Returns whether the masked-LM head scores with the token table.

  A decoder that differs from it is used whatever config.json says, as
  transformers 5 does.
  """
  decoder = tensors.get(family.decoder)
  if attributes.get('tie_word_embeddings') is False:
    if decoder is None:
      raise UserError(
        f'expected {family.decoder} beside {path}, which has '
        'tie_word_embeddings = false; fetch its weights again, or set that to '
        'true there'
      )
    return False
  table = tensors.get(family.token_table)
  # A tied one may be saved as a copy.
  return decoder is None or table is None or np.array_equal(decoder, table)
