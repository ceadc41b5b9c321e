"""Filled masks of byte-level BPE; the rest is tested in `test_kinds`."""

import numpy as np

from bertjax.tasks import untrained
from bertjax.tasks.examples import TextExample
from bertjax.tasks.specs import Task
from bertjax.text import byte_level
from bertjax.text.tokenizer import Tokenizer
from bertjax.text.vocabulary_file import SPECIAL_TOKENS


def test_what_fills_a_mask_that_begins_a_text_is_a_word():
  tokens = [*SPECIAL_TOKENS, *byte_level.alphabet(), 'ab', 'Ġab']
  tokenizer = Tokenizer(tokens, True, byte_level.rules_of(['a b', 'Ġ ab']))
  task = Task('masks', 'masks')
  examples = [TextExample(('[MASK] ab[MASK]',)), TextExample(('none',))]
  ids = np.array([tokens.index('ab'), tokens.index('Ġab')])
  results = [
    (row, (np.array([0.5, 0.25]), ids) if row.ids else None)
    for row in untrained.encode_masks(task, tokenizer, examples)
  ]
  (_, some), (_, none) = untrained.decode_masks(task, tokenizer, results)
  words = [[x['token'] for x in mask] for mask in some['masks']]
  assert words == [['ab', 'ab'], ['##ab', 'ab']]
  assert none == {'masks': []}
