"""Rows of RoBERTa's and ModernBERT's tokenizers here and in transformers.

    python experiments/golden/byte_level_tokenizer.py make wikipedia.txt FOLDER
    python experiments/golden/byte_level_tokenizer.py here DIRECTORY rows.json
    python experiments/golden/byte_level_tokenizer.py there DIRECTORY rows.json

The first, with transformers, trains two small vocabularies, writes their
directories as transformers does, and beside each what it makes of texts, which
tests compare (tests/golden/byte_level). The second reads a directory here, of
any size, and the third compares, with transformers, which need not be installed
beside bertjax. `--lines=FILE` has both compare its lines, too.
"""

import argparse
import itertools
import json
import os
import pathlib

SIZE = 700
TEXTS = [
  'Hello, World!',
  " naïve  café – 東京\n\tit's 1990",
  'The city of London was built in 1990.',
  '',
  ' ',
  'a   b      c                              d  ',
  '\ttab\t\ttabs \t mixed\r\nlines\n\n\n  more',
  'no\u00a0break\u3000wide\u2028line \u00a0 x',
  'cafe\u0301 n\u0303 \u1e9b\u0323 \u212b',
  '👩‍👩‍👧 Ω 🇩🇪 x🎉y',
  'control\x00\x01\x7f\u200b\ufeff marks\x85',
  'x' * 300,
  "DON'T we'll I'm they'Ve",
  '日本語の文章。次の文。「はい」',
  'literal [SEP] and </s> [CLS]<s><pad>[PAD] <|endoftext|>',
  ' <mask> [MASK] [UNK]<unk> [unused3] |||IP_ADDRESS||| <|padding|>',
  'ＦＵＬＬ ½ ﬁ Ⅷ ²',
]
# What is special in these is found: the mask alone, of both families.
MASKED = ['The {} sat.', 'a {}{} b', '{} first', 'last   {}', 'x{}y, {}.']


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('what', choices=['make', 'here', 'there'])
  parser.add_argument('first')
  parser.add_argument('second')
  parser.add_argument('--lines')
  options = parser.parse_args()
  if options.what == 'make':
    _make(options.first, pathlib.Path(options.second))
    return
  texts = [*TEXTS]
  if options.lines:
    with open(options.lines, encoding='utf-8') as file:
      texts += [*filter(None, file.read().split('\n'))]
  # transformers takes a pair with an empty text for the other alone.
  some = [x for x in texts if x.strip()]
  inputs = [*texts, *zip(some, some[1:] + some[:1], strict=True)]
  if options.what == 'here':
    _here(options.first, inputs, options.second)
  else:
    _there(options.first, inputs, options.second)


def _here(directory: str, inputs: list, path: str) -> None:
  from bertjax.text.tokenizer import Tokenizer

  tokenizer = Tokenizer.load(directory)
  rows = []
  for row, _ in tokenizer.rows(inputs, length=10**6):
    rows.append([[*map(int, row.ids)], row.second or len(row.ids)])
  with open(path, 'w', encoding='utf-8') as file:
    json.dump(rows, file)


def _there(directory: str, inputs: list, path: str) -> None:
  from transformers import AutoTokenizer

  tokenizer = AutoTokenizer.from_pretrained(directory)
  with open(path, encoding='utf-8') as file:
    wanted = json.load(file)
  types_of = [x for x in tokenizer.model_input_names if 'type' in x]
  for text, (ids, second) in zip(inputs, wanted, strict=True):
    parts = [text] if isinstance(text, str) else text
    encoded = tokenizer(*parts, split_special_tokens=True)
    assert encoded['input_ids'] == ids, (text, encoded['input_ids'], ids)
    for name in types_of:
      types = [int(i >= second) for i in range(len(ids))]
      assert encoded[name] == types, (text, encoded)
  print(f'{type(tokenizer).__name__}: {len(inputs)} rows are equal')


def _make(corpus: str, folder: pathlib.Path) -> None:
  from transformers import AutoTokenizer

  with open(corpus, encoding='utf-8') as file:
    lines = file.read(2_000_000).split('\n')
  for name, build in (('roberta', _roberta), ('modernbert', _modernbert)):
    directory = folder / name
    build(lines).save_pretrained(directory)
    with open(directory / 'config.json', 'w', encoding='utf-8') as file:
      json.dump({'model_type': name}, file)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    os.remove(directory / 'config.json')
    content = {
      'class': type(tokenizer).__name__,
      'texts': [_row(tokenizer, (x,)) for x in TEXTS],
      'pairs': [
        _row(tokenizer, x)
        for x in itertools.pairwise([x for x in TEXTS if x.strip()])
      ],
      # Even room for both texts, where all agree who gets what.
      'cut': [
        _row(tokenizer, x, length)
        for x in itertools.combinations(TEXTS[:3], 2)
        for length in ((16, 20) if name == 'roberta' else (15, 21))
      ],
      'masked': [
        _row(
          tokenizer,
          (x.replace('{}', tokenizer.mask_token),),
          split_special_tokens=False,
        )
        for x in MASKED
      ],
    }
    text = json.dumps(content, separators=(',', ':'))
    (directory / 'rows.json').write_text(text + '\n', encoding='utf-8')


def _row(tokenizer, texts, length=None, split_special_tokens=True):
  """Returns what is told of a row of one or two texts."""
  found = tokenizer(
    *texts,
    truncation=length is not None,
    max_length=length,
    split_special_tokens=split_special_tokens,
    return_offsets_mapping=True,
    return_token_type_ids=True,
    return_special_tokens_mask=True,
  )
  return {
    'texts': texts,
    'length': length,
    'ids': found['input_ids'],
    'types': found['token_type_ids'],
    'offsets': found['offset_mapping'],
    'special': found['special_tokens_mask'],
  }


def _trained(lines, names):
  import tokenizers

  library = tokenizers.ByteLevelBPETokenizer()
  library.train_from_iterator(lines, SIZE, special_tokens=names)
  return json.loads(library.to_str())['model']


def _roberta(lines):
  import tokenizers
  from transformers import RobertaTokenizer

  names = ['<s>', '<pad>', '</s>', '<unk>']
  model = _trained(lines, names)
  vocab = model['vocab'] | {'<mask>': len(model['vocab'])}
  # As the published one has it.
  mask = tokenizers.AddedToken('<mask>', lstrip=True, normalized=False)
  merges = [*map(tuple, model['merges'])]
  return RobertaTokenizer(vocab, merges, mask_token=mask)


def _modernbert(lines):
  import tokenizers
  from tokenizers import AddedToken, normalizers
  from transformers import PreTrainedTokenizerFast

  model = _trained(lines, ['|||IP_ADDRESS|||', '<|padding|>'])
  library = tokenizers.ByteLevelBPETokenizer(
    model['vocab'], [*map(tuple, model['merges'])]
  )._tokenizer
  library.normalizer = normalizers.NFC()
  # It had none but the template of its rows, so that offsets hold the space.
  library.add_tokens([AddedToken('|||IP_ADDRESS|||', normalized=True)])
  library.add_special_tokens(['<|padding|>'])
  library.add_tokens([' ' * n for n in range(24, 1, -1)])
  names = ['[UNK]', '[CLS]', '[SEP]', '[PAD]']
  library.add_special_tokens(['<|endoftext|>', *names])
  library.add_special_tokens([AddedToken('[MASK]', lstrip=True)])
  library.add_tokens([f'[unused{n}]' for n in range(83)])
  library.post_processor = tokenizers.processors.TemplateProcessing(
    single='[CLS] $A [SEP]',
    pair='[CLS] $A [SEP] $B:1 [SEP]:1',
    special_tokens=[(x, library.token_to_id(x)) for x in names[1:3]],
  )
  return PreTrainedTokenizerFast(
    tokenizer_object=library,
    unk_token='[UNK]',
    cls_token='[CLS]',
    sep_token='[SEP]',
    pad_token='[PAD]',
    mask_token='[MASK]',
    model_max_length=8192,
    model_input_names=['input_ids', 'attention_mask'],
  )


if __name__ == '__main__':
  main()
