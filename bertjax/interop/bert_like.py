"""BERT and RoBERTa: one encoder, two sets of names.

    rows = list(ROBERTA.encoder_rows(config))

RoBERTa's positions begin behind the id of its padding, so its table has as many
rows more than ours; its masked-LM head has gelu whatever `hidden_act` says; and
its pooler is a part of the classifier. Source: transformers `modeling_bert.py`,
`modeling_roberta.py` and the configurations beside them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bertjax.errors import UserError
from bertjax.interop.family import (
  ACTIVATIONS,
  SIZES,
  Family,
  Row,
  embedding,
  linear,
  norm,
)
from bertjax.models.config import EncoderConfig

# Paths and names within a layer.
_IN_EVERY_LAYER = (
  *linear('attention/query', 'attention.self.query', 'D', 'HK'),
  *linear('attention/key', 'attention.self.key', 'D', 'HK'),
  *linear('attention/value', 'attention.self.value', 'D', 'HK'),
  *linear('attention/output', 'attention.output.dense', 'HK', 'D'),
  *norm('attention_norm', 'attention.output.LayerNorm'),
  *linear('feed_forward/input', 'intermediate.dense', 'D', 'F'),
  *linear('feed_forward/output', 'output.dense', 'F', 'D'),
  *norm('feed_forward_norm', 'output.LayerNorm'),
)
# Heads for tags and for classes share a name there, and need two here.
_BERT_HEADS = {
  'pooler': linear('pooler', 'bert.pooler.dense', 'D', 'D'),
  'mlm_head': [
    *linear('mlm_head/dense', 'cls.predictions.transform.dense', 'D', 'D'),
    *norm('mlm_head/norm', 'cls.predictions.transform.LayerNorm'),
    Row(('mlm_head/bias',), 'cls.predictions.bias', 'V'),
  ],
  'nsp_head': linear('nsp_head', 'cls.seq_relationship', 'D', '2'),
  'classifier': linear('classifier', 'classifier', 'D', 'C'),
  'tag_head': linear('tag_head', 'classifier', 'D', 'C'),
  'span_head': linear('span_head', 'qa_outputs', 'D', '2'),
}
_ROBERTA_HEADS = _BERT_HEADS | {
  'pooler': linear('pooler', 'roberta.pooler.dense', 'D', 'D'),
  'mlm_head': [
    *linear('mlm_head/dense', 'lm_head.dense', 'D', 'D'),
    *norm('mlm_head/norm', 'lm_head.layer_norm'),
    Row(('mlm_head/bias',), 'lm_head.bias', 'V'),
  ],
  'classifier': linear('classifier', 'classifier.out_proj', 'D', 'C'),
}
_CLASSES = {
  (): 'Model',
  ('pooler',): 'Model',
  ('mlm_head',): 'ForMaskedLM',
  ('pooler', 'classifier'): 'ForSequenceClassification',
  ('tag_head',): 'ForTokenClassification',
  ('span_head',): 'ForQuestionAnswering',
}
_FIELDS = SIZES | {
  'max_position_embeddings': 'positions',
  'type_vocab_size': 'types',
  'hidden_dropout_prob': 'dropout',
  'attention_probs_dropout_prob': 'attention_dropout',
  'layer_norm_eps': 'norm_epsilon',
}
_DEFAULTS = {
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
  'position_embedding_type': 'absolute',
}


def _rows(config: EncoderConfig, base: str, skips: bool) -> Iterator[Row]:
  for ours, theirs, letter in (
    ('token', 'word', 'V'),
    ('position', 'position', 'L'),
    ('type', 'token_type', 'T'),
  ):
    name = f'{base}embeddings.{theirs}_embeddings'
    yield embedding(ours, name, letter, skips and letter == 'L')
  yield from norm('embeddings/norm', f'{base}embeddings.LayerNorm')
  for index in range(config.layers):
    for row in _IN_EVERY_LAYER:
      yield row.below(
        f'encoder/layer_{index:02}', f'{base}encoder.layer.{index}'
      )


def _roberta_head(
  config: EncoderConfig, head: str, heads: Sequence[str]
) -> list[Row]:
  if head == 'pooler' and 'classifier' in heads:
    return linear('pooler', 'classifier.dense', 'D', 'D')
  return _ROBERTA_HEADS[head]


def _read_bert(attributes: Mapping[str, Any], path: str) -> dict[str, Any]:
  # It always looks a type up.
  return {'types': 1} if attributes['type_vocab_size'] == 0 else {}


def _read_roberta(attributes: Mapping[str, Any], path: str) -> dict[str, Any]:
  padding, rows = (
    attributes[name] for name in ('pad_token_id', 'max_position_embeddings')
  )
  for name, number in (
    ('pad_token_id', padding),
    ('max_position_embeddings', rows),
  ):
    if type(number) is not int or number < 0:
      raise UserError(
        f'expected {name} to be a whole number, of which the positions of '
        f'RoBERTa depend, got {number!r:.40} in {path}; mend it there'
      )
  return {'positions': rows - padding - 1, 'head_activation': 'gelu'}


def _write_roberta(
  config: EncoderConfig, id_of: Callable[[str], int]
) -> dict[str, Any]:
  return {
    'max_position_embeddings': config.positions + id_of('pad') + 1,
    'type_vocab_size': config.types,
  }


BERT = Family(
  title='BERT',
  prefix='Bert',
  base='bert.',
  classes=_CLASSES
  | {
    ('pooler', 'mlm_head', 'nsp_head'): 'ForPreTraining',
    ('pooler', 'nsp_head'): 'ForNextSentencePrediction',
  },
  needs={'nsp_head': 'pooler', 'classifier': 'pooler'},
  encoder_rows=lambda config: _rows(config, 'bert.', False),
  head_rows=lambda config, head, heads: _BERT_HEADS[head],
  fields=_FIELDS,
  named={'hidden_act': ('activation', ACTIVATIONS)},
  defaults=_DEFAULTS,
  ids={'pad_token_id': 'pad'},
  forms={'hidden_act': str},
  only={'position_embedding_type': 'absolute'},
  buffers=('bert.embeddings.position_ids',),
  read=_read_bert,
  token_table='bert.embeddings.word_embeddings.weight',
  decoder='cls.predictions.decoder.weight',
  decoder_biases=('cls.predictions.decoder.bias', 'cls.predictions.bias'),
)
ROBERTA = Family(
  title='RoBERTa',
  prefix='Roberta',
  base='roberta.',
  classes=_CLASSES,
  needs={'classifier': 'pooler'},
  encoder_rows=lambda config: _rows(config, 'roberta.', True),
  head_rows=_roberta_head,
  fields={
    theirs: ours
    for theirs, ours in _FIELDS.items()
    if ours not in ('positions', 'types')
  },
  named=BERT.named,
  fixed={'types': 1, 'initializer': 'normal'},
  read=_read_roberta,
  write=_write_roberta,
  defaults=_DEFAULTS | {'vocab_size': 50265, 'pad_token_id': 1},
  ids={'pad_token_id': 'pad', 'bos_token_id': 'cls', 'eos_token_id': 'sep'},
  forms=BERT.forms,
  only=BERT.only,
  names={
    'positions': 'max_position_embeddings',
    'types': 'type_vocab_size',
    'head_activation': 'hidden_act',
  },
  buffers=('roberta.embeddings.position_ids',),
  token_table='roberta.embeddings.word_embeddings.weight',
  decoder='lm_head.decoder.weight',
  decoder_biases=('lm_head.decoder.bias', 'lm_head.bias'),
  type_table='roberta.embeddings.token_type_embeddings.weight',
)
