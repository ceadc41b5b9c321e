"""The forms in which torch runs a pretraining step of Hugging Face's models.

    forms = torch_bert.forms(config, example)    # see `timing.in_turn`
    run = forms['torch cut float32']()

`torch` is `BertForPreTraining`, or `ModernBertForMaskedLM`, as everyone uses it,
with the vocabulary product at all positions; `torch cut` applies its head to the
predicted positions only.
All share one model and one AdamW; attention is torch's own (SDPA). On a GPU
float32 products are TF32, as in jax. Source: transformers.
"""

import itertools

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy

NAMES = {
  f'torch{head} {dtype}{compiled}': (head, dtype, compiled)
  for head, dtype, compiled in itertools.product(
    ('', ' cut'), ('float32', 'bfloat16'), ('', ' compiled')
  )
}
IGNORED = -100  # the target that cross_entropy leaves out


def device() -> str:
  """Returns the device that torch uses."""
  return 'cuda' if torch.cuda.is_available() else 'cpu'


def forms(config, example, learning_rate: float = 1e-4) -> dict:
  """Returns name -> makes the form, see `timing.in_turn`.

  Args:
    config: an `EncoderConfig` of BERT's or ModernBERT's parts; only sizes,
      window and dropout are used.
    example: a host batch with one sequence per row, see `bertjax.batch`.
    learning_rate: of AdamW.
  """
  torch._dynamo.reset()  # what was compiled for another size
  torch.set_float32_matmul_precision('high')
  model = (_modernbert if config.shared_head else _bert)(config)
  model = model.to(device()).train()
  adamw = torch.optim.AdamW(model.parameters(), learning_rate, fused=True)
  losses = {'': _whole_loss(model, example), ' cut': _cut_loss(model, example)}

  def make(head, dtype, compiled):
    loss = torch.compile(losses[head]) if compiled else losses[head]

    def run(times):
      for _ in range(times):
        adamw.zero_grad()
        with torch.autocast(device(), torch.bfloat16, dtype == 'bfloat16'):
          value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
      if device() == 'cuda':
        torch.cuda.synchronize()

    return run

  return {name: lambda form=form: make(*form) for name, form in NAMES.items()}


def _bert(config):
  return transformers.BertForPreTraining(
    transformers.BertConfig(
      vocab_size=config.vocabulary_size,
      hidden_size=config.width,
      num_hidden_layers=config.layers,
      num_attention_heads=config.heads,
      intermediate_size=config.feed_forward,
      max_position_embeddings=config.positions,
      hidden_dropout_prob=config.dropout,
      attention_probs_dropout_prob=config.attention_dropout_rate,
      attn_implementation='sdpa',
    )
  )


def _modernbert(config):
  # Its special tokens are those of a vocabulary of 50,368.
  special = dict.fromkeys(
    ('pad', 'bos', 'eos', 'cls', 'sep'), config.vocabulary_size - 1
  )
  return transformers.ModernBertForMaskedLM(
    transformers.ModernBertConfig(
      vocab_size=config.vocabulary_size,
      hidden_size=config.width,
      num_hidden_layers=config.layers,
      num_attention_heads=config.heads,
      intermediate_size=config.feed_forward,
      max_position_embeddings=config.positions,
      local_attention=config.local_window,
      global_attn_every_n_layers=config.global_every,
      embedding_dropout=config.dropout,
      mlp_dropout=config.dropout,
      attention_dropout=config.attention_dropout_rate,
      attn_implementation='sdpa',
      **{f'{name}_token_id': number for name, number in special.items()},
    )
  )


def _tensor(array: np.ndarray) -> torch.Tensor:
  return torch.tensor(array.astype(np.int64), device=device())


def _whole_loss(model, example):
  """Returns transformers' own loss as a function without arguments."""
  labels = np.full(example['tokens'].shape, IGNORED)
  rows, slots = np.nonzero(example['weights'])
  labels[rows, example['target_positions'][rows, slots]] = example['targets'][
    rows, slots
  ]
  inputs = _inputs(model, example) | {'labels': _tensor(labels)}
  if _has_pairs(model):
    inputs['next_sentence_label'] = _tensor(example['pair_labels'][:, 0])
  return lambda: model(**inputs).loss


def _has_pairs(model) -> bool:
  return hasattr(model, 'cls')


def _inputs(model, example) -> dict[str, torch.Tensor]:
  inputs = {
    'input_ids': _tensor(example['tokens']),
    'attention_mask': _tensor(example['segments']),
  }
  if _has_pairs(model):
    inputs['token_type_ids'] = _tensor(example['types'])
  return inputs


def _cut_loss(model, example):
  """Returns the same loss, from scores at the predicted positions only."""
  targets = _tensor(np.where(example['weights'], example['targets'], IGNORED))
  positions = _tensor(example['target_positions'])
  follows = _tensor(example['pair_labels'][:, 0])
  inputs = _inputs(model, example)
  index = positions[..., None].expand(-1, -1, model.config.hidden_size)

  def loss():
    encoded = model.base_model(**inputs)
    predicted = encoded.last_hidden_state.gather(1, index)
    if not _has_pairs(model):
      scores = model.decoder(model.head(predicted))
      return cross_entropy(scores.flatten(0, 1), targets.flatten())
    scores, relation = model.cls(predicted, encoded.pooler_output)
    return cross_entropy(
      scores.flatten(0, 1), targets.flatten()
    ) + cross_entropy(relation, follows)

  return loss
