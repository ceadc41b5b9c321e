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

import difflib
from collections.abc import Mapping
from typing import Any

from bertjax.errors import UserError
from bertjax.models.config import EncoderConfig

# Their attribute -> our field and their default.
FIELDS = {
  'vocab_size': ('vocabulary_size', 30522),
  'hidden_size': ('width', 768),
  'num_hidden_layers': ('layers', 12),
  'num_attention_heads': ('heads', 12),
  'intermediate_size': ('feed_forward', 3072),
  'max_position_embeddings': ('positions', 512),
  'type_vocab_size': ('types', 2),
  'hidden_dropout_prob': ('dropout', 0.1),
  'attention_probs_dropout_prob': ('attention_dropout', 0.1),
  'layer_norm_eps': ('norm_epsilon', 1e-12),
  'initializer_range': ('initializer_stddev', 0.02),
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
# Known, and without effect on what a given input gives: names and versions,
# special ids, options of returning and generating, and sizes of a pooler that
# only google-research/bert once had.
WITHOUT_EFFECT = frozenset(
  """
    _name_or_path architectures attn_implementation _attn_implementation
    _attn_implementation_autoset bos_token_id chunk_size_feed_forward
    classifier_dropout cls_token_id directionality dtype eos_token_id
    _num_labels finetuning_task gradient_checkpointing id2label label2id
    language
    mask_token_id model_max_length num_labels output_attentions
    output_hidden_states output_past pad_token_id pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head
    pooler_type problem_type return_dict sep_token_id task_specific_params
    tie_word_embeddings tokenizer_class torch_dtype torchscript
    transformers_version use_bfloat16 use_cache
    bad_words_ids begin_suppress_tokens cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample early_stopping
    encoder_no_repeat_ngram_size exponential_decay_length_penalty
    forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences
    output_scores prefix remove_invalid_values repetition_penalty
    return_dict_in_generate suppress_tokens temperature tf_legacy_loss
    tie_encoder_decoder top_k top_p typical_p
""".split()
)


def to_encoder(attributes: Mapping[str, Any], path: str) -> EncoderConfig:
  """Returns the architecture that a config.json describes.

  Args:
    attributes: the file's content.
    path: the file's, for messages.

  Raises:
    UserError: another kind of model, an unknown attribute or activation, or
      sizes that no encoder can have.
  """
  for name, value in ONLY.items():
    # pruned_heads is {} or null if no head was pruned.
    if attributes.get(name, value) != value and (attributes[name] or value):
      raise UserError(
        f'expected {name} = {value!r}, as BERT has it, got '
        f'{attributes[name]!r} in {path}; choose a checkpoint of BERT'
      )
  known = {*FIELDS, *ONLY, *WITHOUT_EFFECT, 'hidden_act'}
  for name in sorted(set(attributes) - known):
    near = difflib.get_close_matches(name, known, n=1)
    hint = f' (did it mean {near[0]}?)' if near else ''
    raise UserError(
      f'{path} has an attribute that is not understood, {name} = '
      f'{attributes[name]!r}{hint}; remove it there if it does not change '
      'what the model computes'
    )
  activation = attributes.get('hidden_act', 'gelu')
  if activation not in ACTIVATIONS:
    raise UserError(
      f'expected hidden_act among {", ".join(ACTIVATIONS)}, got '
      f'{activation!r} in {path}; choose another checkpoint'
    )
  fields = {
    ours: attributes.get(theirs, default)
    for theirs, (ours, default) in FIELDS.items()
  }
  if fields['attention_dropout'] == fields['dropout']:
    fields['attention_dropout'] = None  # follows what a run sets
  try:
    return EncoderConfig(**fields, activation=ACTIVATIONS[activation])
  except UserError as error:
    raise UserError(f'{path}: {error}') from error


def from_encoder(config: EncoderConfig) -> dict[str, Any]:
  """Returns the attributes of a config.json, without `architectures`.

  Raises:
    UserError: transformers has no BERT of this configuration.
  """
  theirs = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
  if config.position_scheme != 'learned' or config.activation not in theirs:
    raise UserError(
      f'transformers has no BERT with positions {config.position_scheme!r} '
      f'and activation {config.activation!r}; only learned positions and '
      f'{", ".join(theirs)} can be exported'
    )
  attributes = {
    name: getattr(config, ours) for name, (ours, _) in FIELDS.items()
  }
  return attributes | {
    'attention_probs_dropout_prob': config.attention_dropout_rate,
    'hidden_act': theirs[config.activation],
    'model_type': 'bert',
    'pad_token_id': 0,
    'tie_word_embeddings': config.tied_decoder,
  }
