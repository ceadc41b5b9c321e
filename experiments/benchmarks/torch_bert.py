"""The forms in which torch runs a pretraining step of Hugging Face's BERT.

    forms = torch_bert.forms(config, example)    # see `timing.in_turn`
    run = forms['torch cut float32']()

`torch` is `BertForPreTraining` as everyone uses it, with the vocabulary product
at all positions; `torch cut` applies its head to the predicted positions only.
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
    config: an `EncoderConfig`; only shape and dropout are used.
    example: a host batch with one sequence per row, see `bertjax.batch`.
    learning_rate: of AdamW.
  """
  torch._dynamo.reset()  # what was compiled for another size
  torch.set_float32_matmul_precision('high')
  model = (
    transformers.BertForPreTraining(
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
    .to(device())
    .train()
  )
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


def _tensor(array: np.ndarray) -> torch.Tensor:
  return torch.tensor(array.astype(np.int64), device=device())


def _whole_loss(model, example):
  """Returns transformers' own loss as a function without arguments."""
  labels = np.full(example['tokens'].shape, IGNORED)
  rows, slots = np.nonzero(example['weights'])
  labels[rows, example['target_positions'][rows, slots]] = example['targets'][
    rows, slots
  ]
  inputs = {
    'input_ids': _tensor(example['tokens']),
    'attention_mask': _tensor(example['segments']),
    'token_type_ids': _tensor(example['types']),
    'labels': _tensor(labels),
    'next_sentence_label': _tensor(example['pair_labels'][:, 0]),
  }
  return lambda: model(**inputs).loss


def _cut_loss(model, example):
  """Returns the same loss, from scores at the predicted positions only."""
  targets = _tensor(np.where(example['weights'], example['targets'], IGNORED))
  positions = _tensor(example['target_positions'])
  follows = _tensor(example['pair_labels'][:, 0])
  inputs = {
    'input_ids': _tensor(example['tokens']),
    'attention_mask': _tensor(example['segments']),
    'token_type_ids': _tensor(example['types']),
  }
  index = positions[..., None].expand(-1, -1, model.config.hidden_size)

  def loss():
    encoded = model.bert(**inputs)
    predicted = encoded.last_hidden_state.gather(1, index)
    scores, relation = model.cls(predicted, encoded.pooler_output)
    return cross_entropy(
      scores.flatten(0, 1), targets.flatten()
    ) + cross_entropy(relation, follows)

  return loss
