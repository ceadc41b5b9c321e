"""EncoderConfig and Hugging Face's config.json.

    >>> config = to_encoder({'num_hidden_layers': 4}, 'config.json')
    >>> config.layers, config.width
    (4, 768)
    >>> from_encoder(config)['num_hidden_layers']
    4

An unknown attribute is refused by name, since it may change the computation;
and so is a field that would not come back from what is written. Defaults of
transformers stand in for absent attributes.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from bertjax.errors import UserError, choose, did_you_mean
from bertjax.interop.bert_like import BERT, ROBERTA
from bertjax.interop.family import (
  FOLLOWS,
  FORMS,
  ONLY,
  WITHOUT_EFFECT,
  Family,
)
from bertjax.interop.modernbert import MODERNBERT
from bertjax.models.config import EncoderConfig, fields_affecting
from bertjax.text import vocabulary_file

# By model_type. Where a configuration is of several, the first is written.
FAMILIES = {'roberta': ROBERTA, 'bert': BERT, 'modernbert': MODERNBERT}


def read(path: str) -> dict[str, Any]:
  """Returns the attributes in a file.

  Raises:
    UserError: there are none, or it is not JSON.
  """
  attributes = vocabulary_file.read_json(*os.path.split(path))
  if not attributes:
    raise UserError(
      f'expected the architecture in {path}, which is not there or empty'
    )
  return attributes


def family_in(attributes: Mapping[str, Any], path: str) -> Family:
  """Returns the family that a config.json names, or BERT if it names none.

  Raises:
    UserError: it is not known.
  """
  name = attributes.get('model_type', 'bert')
  if not isinstance(name, str) or name not in FAMILIES:
    titles = ', '.join(sorted(family.title for family in FAMILIES.values()))
    raise UserError(
      f'expected model_type to be one of {", ".join(sorted(FAMILIES))}, got '
      f'{name!r:.40} in {path}; choose a checkpoint of {titles}'
    )
  return FAMILIES[name]


def to_encoder(attributes: Mapping[str, Any], path: str) -> EncoderConfig:
  """Returns the architecture that a config.json describes.

  Args:
    attributes: the file's content.
    path: the file's, for messages.

  Raises:
    UserError: another kind of model, an unknown attribute or activation, or
      sizes that no encoder can have.
  """
  family = family_in(attributes, path)
  attributes = {**ONLY, **family.only, **family.defaults, **attributes}
  _check_attributes(family, attributes, path)
  fields = _fields(family, attributes, path)
  try:
    return EncoderConfig(**fields)
  except UserError as error:
    text = re.sub(
      r'EncoderConfig\.(\w+)',
      lambda found: family.attribute_of(found[1]),
      str(error),
    )
    raise UserError(f'{path}: {text} there') from error


def _check_attributes(
  family: Family, attributes: Mapping[str, Any], path: str
) -> None:
  """Refuses attributes of a wrong type, of other models, and unknown ones."""
  for name, kind in {**FORMS, **family.forms}.items():
    if not isinstance(got := attributes.get(name), kind | None):
      raise UserError(
        f'expected {name} to be a {kind.__name__}, got {got!r:.40} in {path}; '
        'mend it there'
      )
  only = {**ONLY, **family.only}
  for name, value in only.items():
    # pruned_heads is {} or null if no head was pruned.
    if attributes[name] != value and (attributes[name] or value):
      raise UserError(
        f'expected {name} = {value!r}, as {family.title} has it, got '
        f'{attributes[name]!r:.40} in {path}; choose a checkpoint of '
        f'{family.title}'
      )
  known = {*family.defaults, *only, *WITHOUT_EFFECT, *family.without_effect}
  known |= {*family.forms, *family.names.values()}
  for name in sorted(set(attributes) - known):
    raise UserError(
      f'{path} has an attribute that is not understood, {name:.40} = '
      f'{attributes[name]!r:.40}{did_you_mean(name[:40], known)}; remove it '
      'there if it does not change what the model computes'
    )


def _fields(
  family: Family, attributes: Mapping[str, Any], path: str
) -> dict[str, Any]:
  """Returns what attributes, none of which is missing, say of fields."""
  fields = dict(family.fixed)
  fields |= {ours: attributes[theirs] for theirs, ours in family.fields.items()}
  for theirs, (ours, values) in family.named.items():
    setting = f'{theirs} in {path}, or choose another checkpoint'
    fields[ours] = choose(values, attributes[theirs], setting)
  fields |= family.read(attributes, path)
  for name, followed in FOLLOWS.items():
    value = fields.get(name)
    if name in fields and value == fields.get(followed):
      # It follows what a run sets, but for dropout where there never is one.
      fields[name] = value if value in family.stays else None
  return fields


def from_encoder(
  config: EncoderConfig, id_of: Callable[[str], int] = lambda role: 0
) -> dict[str, Any]:
  """Returns the attributes of a config.json that describe the architecture.

  Args:
    config: the architecture.
    id_of: of special tokens, by their role: `Tokenizer.id_of`.

  Raises:
    UserError: transformers has no model of this configuration.
  """
  return _attributes(family_of(config), config, id_of)


@functools.lru_cache(maxsize=32)
def family_of(config: EncoderConfig) -> Family:
  """Returns the family that a configuration is of.

  Raises:
    UserError: of none; the message says in what it differs from the nearest.
  """
  differences = {
    name: _differences(family, config) for name, family in FAMILIES.items()
  }
  name = min(differences, key=lambda name: len(differences[name]))
  if differences[name]:
    raise UserError(
      f'transformers has no {FAMILIES[name].title} with '
      f'{", ".join(differences[name])}, so this model cannot be exported'
    )
  return FAMILIES[name]


def _attributes(
  family: Family, config: EncoderConfig, id_of: Callable[[str], int]
) -> dict[str, Any]:
  fields = dataclasses.asdict(config)
  attributes = {
    theirs: _value(fields, ours) for theirs, ours in family.fields.items()
  }
  for theirs, (ours, values) in family.named.items():
    known = {value: name for name, value in reversed([*values.items()])}
    attributes[theirs] = known.get(_value(fields, ours), next(iter(values)))
  [model_type] = [name for name, x in FAMILIES.items() if x is family]
  return {
    **attributes,
    **family.write(config, id_of),
    **{name: id_of(role) for name, role in family.ids.items()},
    'model_type': model_type,
    'tie_word_embeddings': config.tied_decoder,
  }


def _differences(family: Family, config: EncoderConfig) -> list[str]:
  """Returns what would not come back from config.json, for a message."""
  ours, found = dataclasses.asdict(config), {}
  for name, values in family.named.values():
    if _value(ours, name) not in values.values():
      found[name] = f'only {", ".join(dict.fromkeys(values.values()))}'
  attributes = _attributes(family, config, lambda role: 0)
  default = {x.name: x.default for x in dataclasses.fields(config)}
  back = default | _fields(family, attributes, 'config.json')
  for name in fields_affecting('shapes', 'computation'):
    # Whether the decoder is tied, the tensors tell as well.
    same = back[name] == ours[name] or _value(back, name) == _value(ours, name)
    if not same and name != 'tied_decoder':
      found.setdefault(name, f'only {_value(back, name)!r}')
  return [f'{name} {ours[name]!r} ({only})' for name, only in found.items()]


def _value(fields: Mapping[str, Any], name: str) -> Any:
  """Returns a field's, or that of the one that it follows."""
  value = fields[name]
  follows = value is None and name in FOLLOWS
  return fields[FOLLOWS[name]] if follows else value
