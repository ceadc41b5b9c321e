"""Reads and writes checkpoints of Hugging Face's transformers.

    config, parameters = huggingface.load('bert-base-uncased')
    checkpoint = huggingface.read('bert-base-uncased')  # with labels and report
    huggingface.save('out', config, parameters, Tokenizer.load('a_run'))

Of BERT, RoBERTa and ModernBERT (`config_json.FAMILIES`). Neither torch nor
transformers is used. The tokenizer does not affect the parameters;
`vocabulary_file.load` refuses those that are neither BERT's nor byte-level BPE.
Source: transformers, as said in the modules of the families, and its
`tokenization_bert.py`.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.errors import UserError, choose, expect
from bertjax.interop import config_json, head_classes, names, tensor_files
from bertjax.interop.family import Family
from bertjax.models.config import EncoderConfig
from bertjax.text import tokenizer_files
from bertjax.text.tokenizer import Tokenizer

# transformers' name for a classifier's loss -> the kind of the task.
PROBLEM_TYPES = {
  'single_label_classification': 'classes',
  'regression': 'number',
  'multi_label_classification': 'labels',
}
PROBLEM_TYPE_OF = {kind: problem for problem, kind in PROBLEM_TYPES.items()}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """What a directory holds.

  Attributes:
    config: the architecture; dtypes are float32.
    parameters: nested by name, float32, with the heads that the file has.
    task: `kind`, which is 'classes', 'number', 'labels', 'tags' or 'spans', and
      `labels`, their names in the order of their ids; None without a task head.
    unused: tensors of the file that no parameter takes.
  """

  config: EncoderConfig
  parameters: names.Parameters
  task: dict[str, Any] | None
  unused: tuple[str, ...]

  def report(self) -> str:
    """Returns a line on what was found, and one on what was not used."""
    config, unused = self.config, ', '.join(self.unused)
    heads = ', '.join(names.heads_of(self.parameters)) or 'none'
    text = f'{config.layers} layers of width {config.width}; heads: {heads}'
    if not config.tied_decoder:
      text += '\nthe masked-LM decoder is not tied to the token table'
    if unused:
      text += f'\nNOT used, {len(self.unused)} tensors of the file: {unused}'
    return text


def read(directory: str) -> Checkpoint:
  """Reads config.json and all tensors of a directory.

  Raises:
    UserError: no such directory; weights only as a pickle; files cut off; a
      model of no known family, an unknown attribute, or tensors that are
      missing or of other sizes than config.json says.
  """
  path = os.path.join(directory, 'config.json')
  tensors = tensor_files.read(directory)
  attributes = config_json.read(path)
  config = config_json.to_encoder(attributes, path)
  family = config_json.family_in(attributes, path)
  class_name = head_classes.name_in(attributes)
  if 'ForMultipleChoice' in class_name:
    raise UserError(
      f'{path} is of a {class_name}, which compares choices; no kind of task '
      'here does, choose another checkpoint'
    )
  tensors = tensor_files.canonical(tensors, family.base)
  if family.decoder_biases and family.decoder_biases[0] in tensors:
    scores, stored = family.decoder_biases
    tensors[stored] = tensors[scores]
  has_decoder = family.decoder in tensors
  heads = head_classes.find(set(tensors), config, attributes)
  known = {*family.buffers, *(family.decoder_biases or ())[:1]}
  if has_decoder or 'mlm_head' in heads or 'ForMaskedLM' in class_name:
    tied = head_classes.is_tied(tensors, attributes, family, path)
    tied_config = dataclasses.replace(config, tied_decoder=tied)
    heads = head_classes.find(set(tensors), tied_config, attributes)
    rows = names.rows_of(tied_config, 'mlm_head', heads, family)
    if 'mlm_head' in heads or not rows:  # a tied decoder may be all
      config = tied_config
      known.add(family.decoder)
  unused = _without_types(tensors, config, family)
  known |= {row.theirs for row in names.table(config, heads, family)}
  sizes = {**family.defaults, **attributes}
  skipped = sizes['max_position_embeddings'] - config.positions
  parameters = names.from_huggingface(tensors, config, heads, family, skipped)
  return Checkpoint(
    config=config,
    parameters=parameters,
    task=_task(attributes, parameters, path),
    unused=(*sorted(set(tensors) - known), *unused),
  )


def _without_types(
  tensors: dict[str, np.ndarray], config: EncoderConfig, family: Family
) -> list[str]:
  """Cuts the table of types to those that are used, and names the rest."""
  name = family.type_table
  if name not in tensors or len(tensors[name]) <= config.types:
    return []
  tensors[name] = tensors[name][: config.types]
  return [f'{name}[{config.types}:]']


def load(directory: str) -> tuple[EncoderConfig, names.Parameters]:
  """Returns the architecture and the parameters, and prints the report.

  Raises:
    UserError: see `read`.
  """
  known = isinstance(directory, str | os.PathLike)
  expect(known, 'a folder', directory, 'huggingface.load.directory')
  checkpoint = read(os.fspath(directory))
  print(f'{directory}: {checkpoint.report()}', flush=True)
  return checkpoint.config, checkpoint.parameters


def save(
  directory: str,
  config: EncoderConfig,
  parameters: names.Parameters,
  tokenizer: Tokenizer,
  *,
  labels: Sequence[str] | None = None,
  problem_type: str | None = None,
  card: str | None = None,
) -> None:
  """Writes what `AutoModel` and `AutoTokenizer.from_pretrained` read.

  Args:
    directory: made if missing.
    config: the architecture.
    parameters: nested by name, unboxed, with heads that `head_classes` takes.
      A pooler that the class lacks, and heads that transformers does not know
      or the family has no place for, are left out, with a warning.
    tokenizer: of no more tokens than the token table has rows.
    labels: names of the classes; None: as transformers calls them; ignored
      without a head for them.
    problem_type: transformers' name for a classifier's loss.
    card: text of README.md, the model card.

  Raises:
    UserError: transformers has no such model, the vocabulary is larger than the
      token table, two labels are equal, or there are more or fewer of them than
      classes.
    OSError: the file system refuses, for example because the disk is full.
  """
  family = config_json.family_of(config)
  heads = names.heads_of(parameters)
  class_name = head_classes.architecture(heads, config)
  left_out = [x for x in names.WITHOUT_COUNTERPART if x in parameters]
  kept = head_classes.kept(heads, config)
  left_out += [x for x in heads if x not in kept]
  if left_out:
    print(
      f'warning: NOT saved, since {class_name} has no place for it: '
      f'{", ".join(left_out)}',
      flush=True,
    )
  parameters = {k: v for k, v in parameters.items() if k not in left_out}
  tokenizer.check_fits(config.vocabulary_size, 'the model')
  attributes = {
    'architectures': [class_name],
    **config_json.from_encoder(config, tokenizer.id_of),
    'dtype': str(config.param_dtype),
  }
  classes = _classes(parameters)
  if classes is not None:
    # Without them, transformers takes any head for one of two classes.
    labels = _default_labels(classes) if labels is None else labels
    if len(labels) != classes:
      raise UserError(f'{len(labels)} labels for a head of {classes} classes')
    _check_distinct(labels, 'labels')
    attributes['id2label'] = {str(i): label for i, label in enumerate(labels)}
    attributes['label2id'] = {label: i for i, label in enumerate(labels)}
  if problem_type:
    attributes['problem_type'] = problem_type

  skipped = attributes['max_position_embeddings'] - config.positions
  tensors = names.to_huggingface(parameters, config, skipped)
  if family.decoder_biases and 'mlm_head' in heads and not config.tied_decoder:
    # transformers then does not tie the bias either, and scores with the first.
    scores, stored = family.decoder_biases
    tensors[scores] = tensors[stored]
  if class_name == f'{family.prefix}Model':  # which saves itself without it
    tensors = {k.removeprefix(family.base): x for k, x in tensors.items()}
  folder = pathlib.Path(directory)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer_files.save(directory, tokenizer, config.positions, config.types)
  text = json.dumps(attributes, indent=2, ensure_ascii=False) + '\n'
  (folder / 'config.json').write_text(text, encoding='utf-8')
  if card is not None:
    (folder / 'README.md').write_text(card, encoding='utf-8')
  tensor_files.write(directory, tensors)


def _classes(parameters: Mapping[str, Any]) -> int | None:
  for head in ('classifier', 'tag_head'):
    if head in parameters:
      return parameters[head]['bias'].shape[0]
  return None


def _task(
  attributes: Mapping[str, Any], parameters: Mapping[str, Any], path: str
) -> dict[str, Any] | None:
  if 'span_head' in parameters:
    return {'kind': 'spans', 'labels': ()}
  classes = _classes(parameters)
  if classes is None:
    return None
  kind = 'tags'
  if 'classifier' in parameters:
    kind = 'number' if classes == 1 else 'classes'
    if problem := attributes.get('problem_type'):
      kind = choose(PROBLEM_TYPES, problem, f'problem_type in {path}')
  by_id = attributes.get('id2label') or {
    str(i): label for i, label in enumerate(_default_labels(classes))
  }
  if by_id.keys() != {str(i) for i in range(classes)}:
    raise UserError(
      f'expected id2label of the {classes} classes of its head, 0 to '
      f'{classes - 1}, in {path}, got {len(by_id)}: {", ".join(by_id):.40}; '
      'mend it there'
    )
  labels = tuple(str(by_id[str(i)]) for i in range(classes))
  _check_distinct(labels, f'id2label of {path}')
  if kind == 'number' and classes > 1:
    raise UserError(
      f'expected a head for regression that gives one number, but that of '
      f'{path} gives {classes}, which is not supported'
    )
  return {'kind': kind, 'labels': () if kind == 'number' else labels}


def _default_labels(classes: int) -> list[str]:
  return [f'LABEL_{i}' for i in range(classes)]


def _check_distinct(labels: Sequence[str], where: str) -> None:
  for label in labels:
    if labels.count(label) > 1:
      raise UserError(
        f'expected distinct names in {where}, got {label!r} twice; rename one'
      )
