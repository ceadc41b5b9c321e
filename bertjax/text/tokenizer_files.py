"""Writes a tokenizer's files as transformers' `AutoTokenizer` reads them.

    tokenizer_files.save('out', Tokenizer.load('a_run'), length=512, types=2)

Source: transformers `tokenization_utils_base.py` and `tokenization_auto.py`.
"""

import json
import os
import pathlib
from typing import Any

import tokenizers

from bertjax.text import byte_level, vocabulary_file
from bertjax.text.tokenizer import Tokenizer


def save(directory: str, tokenizer: Tokenizer, length: int, types: int) -> None:
  """Writes tokenizer.json, what stands beside it, and vocab.txt of WordPiece.

  Args:
    directory: that is there.
    tokenizer: the model's.
    length: the most ids of a row.
    types: of sentences that the model tells apart; with 2, rows have types.

  Raises:
    UserError: another tokenizer is there, or the file system refuses.
    OSError: the file system refuses.
  """
  folder = pathlib.Path(directory)
  special = {f'{x}_token': name for x, name in tokenizer.special.items()}
  # It writes a smaller tokenizer_config.json, so it comes first.
  vocabulary_file.save(
    os.fspath(directory),
    tokenizer.tokens,
    tokenizer.cased,
    tokenizer.rules,
    types,
  )
  settings: dict[str, Any] = {'model_max_length': length}
  if tokenizer.rules is not None or types < 2:  # or these are the class's own
    of_types = ['token_type_ids'] if types > 1 else []
    names = ['input_ids', *of_types, 'attention_mask']
    settings['model_input_names'] = names
  if tokenizer.rules is None:
    settings |= {
      'do_lower_case': not tokenizer.cased,
      'strip_accents': None,
      'tokenize_chinese_chars': True,
      'tokenizer_class': vocabulary_file.BERT_CLASSES[0],
    }
    whole = tokenizers.BertWordPieceTokenizer(
      tokenizer.ids, lowercase=not tokenizer.cased
    ).to_str(pretty=True)
    (folder / vocabulary_file.WHOLE).write_text(whole, encoding='utf-8')
  else:
    settings |= {
      'clean_up_tokenization_spaces': False,
      # RobertaTokenizer would take tokens and merges from tokenizer.json, and
      # leave its normalizer and its rows.
      'tokenizer_class': vocabulary_file.GENERAL_CLASSES[0],
    }
    if tokenizer.special['cls'] == byte_level.NAMES[1][2]:
      special |= {'bos_token': special['cls_token']}
      special |= {'eos_token': special['sep_token']}
  for name, content in (
    ('special_tokens_map.json', special),
    (vocabulary_file.CONFIG, settings | special),
  ):
    text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
    (folder / name).write_text(text, encoding='utf-8')
