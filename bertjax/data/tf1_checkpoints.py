"""Converts checkpoints of google-research/bert to Hugging Face directories.

    tf1_checkpoints.convert(source='uncased_L-12_H-768_A-12', output='bert')

MODEL, INIT_FROM and transformers take the directory. Names are derived from the
rows of `interop.bert_like`. Source: google-research/bert
`modeling.py`, `run_pretraining.py`, `run_classifier.py`, `run_squad.py`.
"""

import os
import re
from collections.abc import Iterable

import numpy as np

from bertjax.data.quiet_tensorflow import tf
from bertjax.errors import UserError, expect
from bertjax.interop import config_json, head_classes, huggingface, names
from bertjax.runs import output_files
from bertjax.text import vocabulary_file
from bertjax.text.tokenizer import Tokenizer
from bertjax.values import Path, Place, checked

# Hugging Face name -> TF1 name, if the rules of `tf1_name` do not give it.
IRREGULAR = {
  'cls.predictions.bias': 'cls/predictions/output_bias',
  'cls.seq_relationship.weight': 'cls/seq_relationship/output_weights',
  'cls.seq_relationship.bias': 'cls/seq_relationship/output_bias',
  'classifier.weight': 'output_weights',
  'classifier.bias': 'output_bias',
  'qa_outputs.weight': 'cls/squad/output_weights',
  'qa_outputs.bias': 'cls/squad/output_bias',
}
# Variables of the optimizer, not of the model.
_OPTIMIZER = re.compile(r'(/adam_[mv]|global_step|/lamb_[mv])$')


def tf1_name(theirs: str) -> tuple[str, bool]:
  """Returns TF1's name of a Hugging Face tensor, and whether it is transposed.

  'bert.encoder.layer.3.output.dense.weight' gives
  ('bert/encoder/layer_3/output/dense/kernel', True).
  """
  if theirs in IRREGULAR:
    return IRREGULAR[theirs], False
  module, _, leaf = theirs.rpartition('.')
  path = re.sub(r'\blayer/(\d+)', r'layer_\1', module.replace('.', '/'))
  if path.endswith('_embeddings'):
    return path, False
  if path.endswith('LayerNorm'):
    return f'{path}/{"gamma" if leaf == "weight" else "beta"}', False
  return f'{path}/{"kernel" if leaf == "weight" else "bias"}', leaf == 'weight'


def read(
  prefix: str, known: Iterable[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
  """Returns tensors by Hugging Face names, and the TF1 names that have none.

  Args:
    prefix: of the files `prefix`.index and its data.
    known: the Hugging Face names to look for.

  Raises:
    UserError: there is no checkpoint, or it is damaged.
  """
  tensors = {}
  try:
    reader = tf.train.load_checkpoint(prefix)
    variables = reader.get_variable_to_shape_map()
    left = {name for name in variables if not _OPTIMIZER.search(name)}
    for theirs in known:
      name, transposed = tf1_name(theirs)
      if name in left:
        tensor = reader.get_tensor(name).astype(np.float32)
        tensors[theirs] = tensor.T if transposed else tensor
        left.remove(name)
  except (tf.errors.OpError, ValueError) as error:
    raise UserError(
      f'expected a checkpoint of TensorFlow 1, {prefix}, got '
      f'{str(error).splitlines()[0]}; set INPUT'
    ) from error
  return tensors, sorted(left)


@checked
def convert(
  *, source: Place, output: Path, overwrite: bool = False, dry_run: bool = False
) -> None:
  """Writes a directory for MODEL, INIT_FROM and transformers.

  Args:
    source: a folder as released by google-research/bert: bert_config.json,
      vocab.txt, and one checkpoint (*.index and its data).
    output: a directory, new or empty.
    overwrite: whether to replace a directory of nothing but files.
    dry_run: whether to check everything but write nothing.

  Raises:
    UserError: a file is missing or damaged, the model is not BERT, or `output`
      cannot be written.
  """
  output_files.check_directory(output, source, overwrite)
  path = os.path.join(source, 'bert_config.json')
  prefix = _find_checkpoint(source)
  config = config_json.to_encoder(config_json.read(path), path)
  vocab = os.path.join(source, vocabulary_file.NAME)
  tokens = vocabulary_file.read(vocab)
  cased, why = vocabulary_file.detect_cased(vocab, tokens)

  family = config_json.FAMILIES['bert']
  known = {row.theirs for row in names.table(config, family.heads, family)}
  tensors, unused = read(prefix, known)
  heads = head_classes.find(set(tensors), config, {})
  head_classes.architecture(heads, config)
  parameters = names.from_huggingface(tensors, config, heads, family)
  found = huggingface.Checkpoint(config, parameters, None, tuple(unused))
  print(f'{source}: {found.report()}')
  print(f'vocabulary: {"cased" if cased else "lower-cased"} ({why})')
  if not dry_run:
    with output_files.writing(output, replaces=overwrite) as part:
      huggingface.save(part, config, parameters, Tokenizer(tokens, cased))
    print(f'written to {output}')


def _find_checkpoint(folder: str) -> str:
  """Returns the prefix of the one checkpoint in a folder."""
  found = tf.io.gfile.glob(os.path.join(folder, '*.index'))
  one = f'one checkpoint (*.index) in {folder}'
  fix = 'INPUT to a folder as released by google-research/bert'
  expect(len(found) == 1, one, [*map(os.path.basename, found)], fix)
  return found[0].removesuffix('.index')
