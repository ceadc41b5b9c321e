"""Ids of an exported byte-level BPE here and in transformers' AutoTokenizer.

    python experiments/golden/byte_level_tokenizer.py here exported ids.json
    python experiments/golden/byte_level_tokenizer.py there exported ids.json

The second needs transformers, which need not be installed beside bertjax. It
compares rows of texts, pairs and masks, special tokens and types included.
"""

import argparse
import json

TEXTS = [
  'Hello, World!',
  " naïve  café – 東京\n\tit's 1990",
  "don't [MASK] it",
  'The [MASK] [MASK].',
  '',
  '👩‍👩‍👧 Ω',
]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('where', choices=['here', 'there'])
  parser.add_argument('directory')
  parser.add_argument('ids')
  options = parser.parse_args()
  # transformers takes a pair with an empty text for the other alone.
  some = list(filter(None, TEXTS))
  texts = [*TEXTS, *zip(some, some[::-1], strict=True)]
  if options.where == 'here':
    from bertjax.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(options.directory)
    rows = tokenizer.rows(texts, length=512, masks=True)
    found = [
      [[*map(int, row.ids)], row.second or len(row.ids)] for row, _ in rows
    ]
    with open(options.ids, 'w', encoding='utf-8') as file:
      json.dump(found, file)
    return
  from transformers import AutoTokenizer

  tokenizer = AutoTokenizer.from_pretrained(options.directory)
  with open(options.ids, encoding='utf-8') as file:
    wanted = json.load(file)
  for text, (ids, second) in zip(texts, wanted, strict=True):
    encoded = tokenizer(*([text] if isinstance(text, str) else text))
    types = [int(i >= second) for i in range(len(ids))]
    assert encoded['input_ids'] == ids, (text, encoded['input_ids'], ids)
    assert encoded['token_type_ids'] == types, (text, encoded)
  print(f'{type(tokenizer).__name__}: {len(texts)} rows are equal')


if __name__ == '__main__':
  main()
