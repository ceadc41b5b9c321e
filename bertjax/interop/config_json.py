"""EncoderConfig and Hugging Face's config.json.

    >>> config = to_encoder({'num_hidden_layers': 4}, 'config.json')
    >>> config.layers, config.width
    (4, 768)
    >>> from_encoder(config)['num_hidden_layers']
    4

An unknown attribute is refused by name, since it may change the computation.
Source: transformers `configuration_bert.py`, whose defaults stand in for absent
attributes.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from bertjax.errors import UserError, choose, did_you_mean
from bertjax.models.config import EncoderConfig, fields_affecting
from bertjax.text import vocabulary_file

# Their attribute -> our field; but for whether the decoder is tied, which the
# tensors tell as well.
FIELDS = {
  field.metadata['huggingface']: field.name
  for field in dataclasses.fields(EncoderConfig)
  if field.metadata['huggingface'] not in (None, 'tie_word_embeddings')
}
THEIRS = {ours: theirs for theirs, ours in FIELDS.items()}
# Of transformers.
DEFAULTS = {
  'vocab_size': 30522,
  'hidden_size': 768,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
  'intermediate_size': 3072,
  'max_position_embeddings': 512,
  'type_vocab_size': 2,
  'hidden_dropout_prob': 0.1,
  'attention_probs_dropout_prob': 0.1,
  'layer_norm_eps': 1e-12,
  'initializer_range': 0.02,
  'hidden_act': 'gelu',
}
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
# Attributes in which other models differ, and the value that BERT has.
ONLY = {
  'model_type': 'bert',
  'position_embedding_type': 'absolute',
  'is_decoder': False,
  'is_encoder_decoder': False,
  'add_cross_attention': False,
  'pruned_heads': {},
}
# Types of attributes that no field of ours checks; they may also be null.
TYPES = {
  'architectures': list,
  'hidden_act': str,
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
    language mask_token_id model_max_length num_labels output_attentions
    output_hidden_states output_past pad_token_id pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
    pooler_type problem_type return_dict sep_token_id task_specific_params
    tie_word_embeddings tokenizer_class torch_dtype torchscript
    transformers_version use_bfloat16 use_cache bad_words_ids
    begin_suppress_tokens cross_attention_hidden_size decoder_start_token_id
    diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id
    length_penalty max_length min_length no_repeat_ngram_size num_beam_groups
    num_beams num_return_sequences output_scores prefix remove_invalid_values
    repetition_penalty return_dict_in_generate suppress_tokens temperature
    tf_legacy_loss tie_encoder_decoder top_k top_p typical_p
""".split()
)


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


def to_encoder(attributes: Mapping[str, Any], path: str) -> EncoderConfig:
  """Returns the architecture that a config.json describes.

  Args:
    attributes: the file's content.
    path: the file's, for messages.

  Raises:
    UserError: another kind of model, an unknown attribute or activation, or
      sizes that no encoder can have.
  """
  attributes = {**ONLY, **DEFAULTS, **attributes}
  for name, kind in TYPES.items():
    if not isinstance(got := attributes.get(name), kind | None):
      raise UserError(
        f'expected {name} to be a {kind.__name__}, got {got!r:.40} in {path}; '
        'mend it there'
      )
  for name, value in ONLY.items():
    # pruned_heads is {} or null if no head was pruned.
    if attributes[name] != value and (attributes[name] or value):
      raise UserError(
        f'expected {name} = {value!r}, as BERT has it, got '
        f'{attributes[name]!r:.40} in {path}; choose a checkpoint of BERT'
      )
  known = {*FIELDS, *ONLY, *WITHOUT_EFFECT}
  for name in sorted(set(attributes) - known):
    raise UserError(
      f'{path} has an attribute that is not understood, {name:.40} = '
      f'{attributes[name]!r:.40}{did_you_mean(name[:40], known)}; remove it '
      'there if it does not change what the model computes'
    )
  fields = {ours: attributes[theirs] for theirs, ours in FIELDS.items()}
  setting = f'hidden_act in {path}, or choose another checkpoint'
  fields['activation'] = choose(ACTIVATIONS, fields['activation'], setting)
  if fields['attention_dropout'] == fields['dropout']:
    fields['attention_dropout'] = None  # follows what a run sets
  try:
    return EncoderConfig(**fields)
  except UserError as error:
    text = re.sub(
      r'EncoderConfig\.(\w+)', lambda found: THEIRS[found[1]], str(error)
    )
    raise UserError(f'{path}: {text} there') from error


def from_encoder(config: EncoderConfig, padding: int = 0) -> dict[str, Any]:
  """Returns the attributes of a config.json that describe the architecture.

  Args:
    config: the architecture.
    padding: the id of [PAD].

  Raises:
    UserError: transformers has no BERT of this configuration.
  """
  activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
  different = [
    f'{field.name} {getattr(config, field.name)!r} (only {field.default!r})'
    for field in dataclasses.fields(config)
    if field.name in fields_affecting('shapes', 'computation')
    and field.metadata['huggingface'] is None
    and getattr(config, field.name) != field.default
  ]
  if config.activation not in activations:
    different.append(
      f'activation {config.activation!r} (only {", ".join(activations)})'
    )
  if different:
    raise UserError(
      f'transformers has no BERT with {", ".join(different)}, so this model '
      'cannot be exported'
    )
  return {
    **{theirs: getattr(config, ours) for theirs, ours in FIELDS.items()},
    'attention_probs_dropout_prob': config.attention_dropout_rate,
    'hidden_act': activations[config.activation],
    'model_type': 'bert',
    'pad_token_id': padding,
    'tie_word_embeddings': config.tied_decoder,
  }
