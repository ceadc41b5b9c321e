"""What transformers' checkpoints of one model type are: `Family` and its rows.

    BERT = Family(title='BERT', prefix='Bert', base='bert.', ...)

A tensor holds one parameter, or several, one behind the other on its first
axis. torch's linear layers are [out, in], flax's kernels [in, out], and our
attention has an axis for its heads.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bertjax.models.config import EncoderConfig

# Their name -> ours; the first of several synonyms is the one written.
ACTIVATIONS = {
  'gelu': 'gelu',
  'gelu_python': 'gelu',
  'gelu_new': 'gelu_tanh',
  'gelu_pytorch_tanh': 'gelu_tanh',
  'relu': 'relu',
  'silu': 'silu',
  'swish': 'silu',
}
# Attributes of every family -> our field.
SIZES = {
  'vocab_size': 'vocabulary_size',
  'hidden_size': 'width',
  'num_hidden_layers': 'layers',
  'num_attention_heads': 'heads',
  'intermediate_size': 'feed_forward',
  'initializer_range': 'initializer_stddev',
}
# Field -> the one that it follows if it is None.
FOLLOWS = {
  'attention_dropout': 'dropout',
  'head_activation': 'activation',
  'local_rotary_base': 'rotary_base',
}
# Attributes in which other models differ, and the value that encoders have.
ONLY = {
  'is_decoder': False,
  'is_encoder_decoder': False,
  'add_cross_attention': False,
  'pruned_heads': {},
}
# Types of attributes that no field of ours checks; they may also be null.
FORMS: dict[str, type] = {
  'architectures': list,
  'id2label': dict,
  'problem_type': str,
  'tie_word_embeddings': bool,
}
# Known, and without effect on what a given input gives: names and versions,
# special ids, options of returning and generating, and sizes of a pooler that
# only google-research/bert once had.
WITHOUT_EFFECT = frozenset(
  """
    _name_or_path architectures attn_implementation _attn_implementation
    _attn_implementation_autoset bos_token_id chunk_size_feed_forward
    classifier_dropout cls_token_id directionality dtype eos_token_id
    _num_labels finetuning_task gradient_checkpointing id2label label2id
    language mask_token_id model_max_length model_type num_labels
    output_attentions output_hidden_states output_past pad_token_id
    pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
    pooler_size_per_head pooler_type problem_type return_dict sep_token_id
    task_specific_params tie_word_embeddings tokenizer_class torch_dtype
    torchscript transformers_version use_bfloat16 use_cache bad_words_ids
    begin_suppress_tokens cross_attention_hidden_size decoder_start_token_id
    diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id
    length_penalty max_length min_length no_repeat_ngram_size num_beam_groups
    num_beams num_return_sequences output_scores prefix remove_invalid_values
    repetition_penalty return_dict_in_generate suppress_tokens temperature
    tf_legacy_loss tie_encoder_decoder top_k top_p typical_p
""".split()
)


class Row(NamedTuple):
  """A tensor of theirs and the parameters of ours that it holds.

  Attributes:
    ours: the parameters' paths, which have one shape.
    theirs: the tensor's name.
    shape: of a parameter, in the letters of `names`.
    skips: whether the tensor begins with rows that no parameter has.
  """

  ours: tuple[str, ...]
  theirs: str
  shape: str
  skips: bool = False

  @property
  def is_kernel(self) -> bool:
    """Whether the tensor is transposed."""
    return self.ours[0].endswith('/kernel')

  @property
  def is_vocabulary(self) -> bool:
    """Whether our rows are padded, see `EncoderConfig.vocabulary_rows`."""
    return self.shape[0] == 'V'

  @property
  def merged(self) -> str:
    """`shape` with the features of all heads on one axis, as theirs."""
    return self.shape.replace('HK', 'D')

  def below(self, ours: str, theirs: str) -> 'Row':
    """Returns the row of a module within these two."""
    paths = tuple(f'{ours}/{path}' for path in self.ours)
    return self._replace(ours=paths, theirs=f'{theirs}.{self.theirs}')


def embedding(ours: str, theirs: str, rows: str, skips: bool = False) -> Row:
  """Returns the row of a table; `rows` is the letter of their number."""
  path = f'embeddings/{ours}/embedding'
  return Row((path,), f'{theirs}.weight', f'{rows}D', skips)


def norm(ours: str, theirs: str, bias: bool = True) -> list[Row]:
  """Returns the rows of a layer norm."""
  scale = Row((f'{ours}/scale',), f'{theirs}.weight', 'D')
  return [scale, *_bias((ours,), theirs, 'D', bias)]


def linear(
  ours: str | tuple[str, ...],
  theirs: str,
  inputs: str,
  outputs: str,
  bias: bool = True,
) -> list[Row]:
  """Returns the rows of a linear layer, or of several that are one there."""
  ours = (ours,) if isinstance(ours, str) else ours
  kernels = tuple(f'{path}/kernel' for path in ours)
  kernel = Row(kernels, f'{theirs}.weight', inputs + outputs)
  return [kernel, *_bias(ours, theirs, outputs, bias)]


def _bias(
  ours: tuple[str, ...], theirs: str, shape: str, bias: bool
) -> list[Row]:
  paths = tuple(f'{path}/bias' for path in ours)
  return [Row(paths, f'{theirs}.bias', shape)] if bias else []


@dataclasses.dataclass(frozen=True)
class Family:
  """All that is particular to a model type of transformers.

  Attributes:
    title: its name for people.
    prefix: what the names of its classes begin with.
    base: what the names of its encoder's tensors begin with, in classes with a
      head; that without one leaves it out.
    classes: heads -> the rest of the name of the class that has them.
    needs: head -> the head that it stands on.
    encoder_rows: (configuration) -> rows.
    head_rows: (configuration, head, all heads) -> rows; but that of a decoder
      that is not tied.
    fields: attribute of config.json -> the field of EncoderConfig that it is.
    named: attribute -> the field, and their name of a value -> ours.
    fixed: field -> the value that it always has; those that nothing here names
      have their default.
    read: (attributes, path of config.json) -> the fields that are more than an
      attribute.
    write: (configuration, role of a special token -> its id) -> the attributes
      for them.
    defaults: of transformers, for attributes that a file lacks.
    ids: attribute -> role of the special token whose id it is.
    forms: attribute -> type, beside `FORMS`.
    only: attribute -> the value without which this would be another model,
      beside `ONLY`.
    without_effect: further attributes.
    names: field that `read` gives -> attribute, for messages.
    buffers: tensors that some versions save, of 0, 1, 2, ...
    token_table, decoder: names of tensors.
    decoder_biases: the name with which transformers 5 scores, and the one in
      its files if they are tied, as in those of transformers 4, for which the
      two are one.
    stays: values of fields in `FOLLOWS` that do not follow another field, even
      if they are equal.
    type_table: the tensor of which type 0 alone is used, if it has more.
  """

  title: str
  prefix: str
  base: str
  classes: Mapping[tuple[str, ...], str]
  needs: Mapping[str, str]
  encoder_rows: Callable[[EncoderConfig], Iterator[Row]]
  head_rows: Callable[[EncoderConfig, str, Sequence[str]], list[Row]]
  fields: Mapping[str, str]
  named: Mapping[str, tuple[str, Mapping[str, str]]]
  defaults: Mapping[str, Any]
  ids: Mapping[str, str]
  token_table: str
  decoder: str
  fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  read: Callable[[Mapping[str, Any], str], dict[str, Any]] = (
    lambda attributes, path: {}
  )
  write: Callable[[EncoderConfig, Callable[[str], int]], dict[str, Any]] = (
    lambda config, id_of: {}
  )
  forms: Mapping[str, type] = dataclasses.field(default_factory=dict)
  only: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  without_effect: frozenset[str] = frozenset()
  names: Mapping[str, str] = dataclasses.field(default_factory=dict)
  stays: tuple[float, ...] = ()
  buffers: tuple[str, ...] = ()
  decoder_biases: tuple[str, str] | None = None
  type_table: str | None = None

  @property
  def heads(self) -> tuple[str, ...]:
    """Those that it has a place for."""
    return tuple(dict.fromkeys(head for key in self.classes for head in key))

  def attribute_of(self, field: str) -> str:
    """Returns the attribute that a field comes from, for messages."""
    own = {ours: theirs for theirs, ours in self.fields.items()}
    own |= {ours: theirs for theirs, (ours, _) in self.named.items()}
    return (own | dict(self.names)).get(field, field)
