"""Reads and writes checkpoints of Hugging Face's transformers.

    config, parameters = huggingface.load('bert-base-uncased')
    checkpoint = huggingface.read('bert-base-uncased')  # with labels and report
    huggingface.save('out', config, parameters, Tokenizer.load('a_run'))

Neither torch nor transformers is used. RoBERTa and its like, whose positions
start at 2, are refused by their model_type. The tokenizer does not affect the
parameters; `vocabulary_file.load` refuses those that are neither BERT's nor
byte-level BPE. Source: transformers `modeling_bert.py`, `tokenization_bert.py`.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bertjax.errors import UserError, choose, expect
from bertjax.interop import config_json, names, tensor_files
from bertjax.models.config import EncoderConfig
from bertjax.text import tokenizer_files
from bertjax.text.tokenizer import Tokenizer

# Heads -> the class of transformers with them, by whose name AutoModel goes.
ARCHITECTURES = {
  (): 'BertModel',
  ('pooler',): 'BertModel',
  names.PRETRAINING: 'BertForPreTraining',
  ('mlm_head',): 'BertForMaskedLM',
  ('pooler', 'nsp_head'): 'BertForNextSentencePrediction',
  ('pooler', 'classifier'): 'BertForSequenceClassification',
  ('tag_head',): 'BertForTokenClassification',
  ('span_head',): 'BertForQuestionAnswering',
}
# transformers' name for a classifier's loss -> the kind of the task.
PROBLEM_TYPES = {
  'single_label_classification': 'classes',
  'regression': 'number',
  'multi_label_classification': 'labels',
}
PROBLEM_TYPE_OF = {kind: problem for problem, kind in PROBLEM_TYPES.items()}
TOKEN_TABLE = 'bert.embeddings.word_embeddings.weight'
# A buffer that some versions save: 0, 1, 2, ...
BUFFERS = ('bert.embeddings.position_ids',)
# transformers 5 scores with the first. Its files have only the second if they
# are tied, as do those of transformers 4, for which the two are one.
DECODER_BIAS = ('cls.predictions.decoder.bias', 'cls.predictions.bias')


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
      model other than BERT, an unknown attribute, or tensors that are missing
      or of other sizes than config.json says.
  """
  path = os.path.join(directory, 'config.json')
  tensors = tensor_files.read(directory)
  attributes = config_json.read(path)
  config = config_json.to_encoder(attributes, path)
  if 'BertForMultipleChoice' in (attributes.get('architectures') or ()):
    raise UserError(
      f'{path} is of a BertForMultipleChoice, which compares choices; no kind '
      'of task here does, choose another checkpoint'
    )
  scores, stored = DECODER_BIAS
  if scores in tensors:
    tensors[stored] = tensors[scores]
  heads = find_heads(set(tensors), attributes)
  known = {*BUFFERS, *(row.theirs for row in names.table(config, heads))}
  if 'mlm_head' in heads:
    tied = _is_tied(tensors, attributes, path)
    config = dataclasses.replace(config, tied_decoder=tied)
    known |= {names.DECODER.theirs, scores}
  parameters = names.from_huggingface(tensors, config, heads)
  return Checkpoint(
    config=config,
    parameters=parameters,
    task=_task(attributes, parameters, path),
    unused=tuple(sorted(set(tensors) - known)),
  )


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


def architecture(heads: Iterable[str]) -> str:
  """Returns the class of transformers for these heads.

      >>> architecture(('pooler', 'classifier'))
      'BertForSequenceClassification'

  Args:
    heads: names in `names.HEADS`, in its order. A pooler beside the heads of a
      class without one (masked-LM alone, tags, spans) is ignored.

  Raises:
    UserError: transformers has no such class.
  """
  heads = tuple(heads)
  for some in (heads, tuple(head for head in heads if head != 'pooler')):
    if some in ARCHITECTURES:
      return ARCHITECTURES[some]
  known = '; '.join(' + '.join(key) or 'none' for key in ARCHITECTURES)
  raise UserError(
    f'transformers has no BERT with the heads {" + ".join(heads)}; it has '
    f'{known}'
  )


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
    parameters: nested by name, unboxed, with heads that `architecture` takes.
      A pooler that the class lacks, and heads of pretraining that transformers
      does not know (`names.WITHOUT_COUNTERPART`), are left out, with a warning.
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
  heads = names.heads_of(parameters)
  class_name = architecture(heads)
  left_out = [x for x in names.WITHOUT_COUNTERPART if x in parameters]
  if heads not in ARCHITECTURES:
    left_out.append('pooler')
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
    **config_json.from_encoder(config, tokenizer.id_of('pad')),
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

  tensors = names.to_huggingface(parameters, config)
  if 'mlm_head' in heads and not config.tied_decoder:
    # transformers then does not tie the bias either, and scores with the first.
    tensors[DECODER_BIAS[0]] = tensors[DECODER_BIAS[1]]
  if class_name == 'BertModel':  # which saves itself without the prefix
    tensors = {name.removeprefix('bert.'): x for name, x in tensors.items()}
  folder = pathlib.Path(directory)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer_files.save(directory, tokenizer, config.positions, config.types)
  text = json.dumps(attributes, indent=2, ensure_ascii=False) + '\n'
  (folder / 'config.json').write_text(text, encoding='utf-8')
  if card is not None:
    (folder / 'README.md').write_text(card, encoding='utf-8')
  tensor_files.write(directory, tensors)


def find_heads(
  tensors: set[str], attributes: Mapping[str, Any]
) -> tuple[str, ...]:
  """Returns the heads whose tensors are all there, in the order of `HEADS`.

  Args:
    tensors: names, with the prefix 'bert.'.
    attributes: of config.json, whose `architectures` tells a head for tags from
      one for classes.
  """
  heads = {
    head
    for head, rows in names.HEADS.items()
    if tensors.issuperset(row.theirs for row in rows)
  }
  # Both have one name there. The class tells them apart, else the pooler does.
  architecture = ' '.join(map(str, attributes.get('architectures') or ()))
  tags = 'TokenClassification' in architecture or (
    not architecture and 'pooler' not in heads
  )
  heads.discard('classifier' if tags else 'tag_head')
  if 'pooler' not in heads:
    heads -= {'nsp_head', 'classifier'}
  return tuple(head for head in names.HEADS if head in heads)


def _is_tied(
  tensors: Mapping[str, np.ndarray], attributes: Mapping[str, Any], path: str
) -> bool:
  """Returns whether the masked-LM head scores with the token table.

  A decoder that differs from it is used whatever config.json says, as
  transformers 5 does.
  """
  decoder = tensors.get(names.DECODER.theirs)
  if attributes.get('tie_word_embeddings') is False:
    if decoder is None:
      raise UserError(
        f'expected {names.DECODER.theirs} beside {path}, which has '
        'tie_word_embeddings = false; fetch its weights again, or set that to '
        'true there'
      )
    return False
  # A tied one may be saved as a copy.
  return decoder is None or np.array_equal(decoder, tensors[TOKEN_TABLE])


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
