"""Compared with what a person would count in the text, and `tokenizers`."""

import collections
import re

import numpy as np
import pytest
import tokenizers

from bertjax.corpus import document_files, preparation, token_counts, words
from bertjax.text.vocabulary import Vocabulary
from bertjax.text.vocabulary_file import SPECIAL_TOKENS

NONE = {'nobody': ['nobody']}
TOKENS = [
  *SPECIAL_TOKENS,
  *'the cat sat on mat . , - she Her 19 д'.split(),
  *'##s ##at ##ом h ##e m c n ##o'.split(),
]


def corpus(folder, documents, tokens=TOKENS, cased=True, fraction=0.0):
  path = folder / 'text.txt'
  path.write_text('\n\n'.join('\n'.join(lines) for lines in documents))
  return preparation.prepare(
    document_files.TextFiles(str(path)),
    str(folder / 'corpus'),
    Vocabulary(tokens, cased),
    fraction,
  )


def library(texts, tokens, cased):
  """Returns the tokens of each text by BERT's tokenizer in `tokenizers`."""
  peer = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(tokens)}, lowercase=not cased
  )
  return [peer.encode(text, add_special_tokens=False).tokens for text in texts]


def byte_level_corpus(folder, documents):
  path = folder / 'text.txt'
  path.write_text('\n\n'.join('\n'.join(lines) for lines in documents))
  return preparation.prepare(
    document_files.TextFiles(str(path)),
    str(folder / 'corpus'),
    preparation.Training(400, True, 1, 'bpe'),
    0.0,
  )


def test_words_of_bpe_are_runs_of_letters_digits_and_signs(tmp_path):
  documents = [
    ['The cat, she sat on 19 mats.', 'дом Her'],
    ['her cat (the café)  sat'],
    ['Herself, the cat sat. And her'],
  ]
  prepared = byte_level_corpus(tmp_path, documents)
  groups = {'she': ['she', 'her'], 'cats': ['the cat'], 'no': ['zebra']}
  counts = token_counts.count(prepared, groups)
  text = ' '.join(line for lines in documents for line in lines)
  assert counts.words['train'] == len(re.findall(r'\w+', text))
  assert counts.kind_words['Cyrillic'] + counts.kind_words['other letters'] == 1
  assert counts.kind_words['digits'] == 1
  assert counts.kind_words['unknown'] == 0
  assert counts.groups == {'she': 4, 'cats': 2, 'no': 0}
  kinds = words.Words(prepared.vocabulary)
  piece = prepared.split('train').piece(0)
  ids = piece.tokens.astype(np.int64)
  spelt = [kinds.spell(x) for x in np.split(ids, kinds.starts(ids))[1:]]
  wanted = 'The cat , she sat on 19 mats . дом Her'.split()
  assert spelt == wanted


def random_documents(count=60):
  rng = np.random.default_rng(3)
  known = 'the cat cats sat on mat . she Her 19 дом xyz'.split()
  return [
    [
      ' '.join(rng.choice(known, rng.integers(1, 30)))
      for _ in range(rng.integers(1, 6))
    ]
    for _ in range(count)
  ]


def test_sizes_are_those_that_a_person_counts(tmp_path):
  documents = [
    ['the cat sat.'],
    ['the cats sat on the mat', 'she sat'],
    ['mat'],
  ]
  counts = token_counts.count(corpus(tmp_path, documents), NONE)
  assert counts.documents == {'train': 3}
  assert counts.sentences == {'train': 4}
  assert counts.words == {'train': 12}
  # cats is cat, ##s; the full stop is a token and no word.
  assert counts.document_lengths == {4: 1, 9: 1, 1: 1}
  assert counts.sentence_lengths == {4: 1, 7: 1, 2: 1, 1: 1}
  assert counts.kind_words == {'Latin': 12, words.SIGNS: 1}
  assert counts.kind_tokens == {'Latin': 13, words.SIGNS: 1}
  assert counts.different_words.different() == 7
  assert counts.different_words.once() == pytest.approx(4 / 7)
  assert counts.groups == {'nobody': 0}


def test_tokens_and_words_are_those_of_the_library(tmp_path):
  documents = random_documents()
  counts = token_counts.count(corpus(tmp_path, documents), NONE)
  lines = [line for document in documents for line in document]
  tokens = library(lines, TOKENS, cased=True)
  every = collections.Counter(x for line in tokens for x in line)
  assert dict(zip(TOKENS, counts.used.tolist(), strict=True)) == {
    token: every[token] for token in TOKENS
  }
  assert counts.kind_words['Cyrillic'] == every['д']
  assert counts.kind_tokens['Cyrillic'] == every['д'] + every['##ом']
  assert counts.kind_words[words.DIGITS] == every['19']
  assert counts.kind_words[words.UNKNOWN] == every['[UNK]'] > 0
  assert sum(counts.kind_tokens.values()) == every.total()
  spelt = [x for line in lines for x in line.split() if x != '.']
  assert counts.words['train'] == len(spelt)
  assert counts.different_words.different() == len({*spelt} - {'19', 'xyz'})


def test_documents_of_several_pieces_are_one_and_their_copies_are_found(
  tmp_path,
):
  long = [f'the cat sat on mat {"s" * (i % 3)}' for i in range(5000)]
  other = [*long[:-1], 'she']
  documents = [long, long, ['cat'], other, long, ['cat'], ['mat'], ['mat']]
  prepared = corpus(tmp_path, documents)
  counts = token_counts.count(prepared, NONE)
  assert prepared.splits['train']['pieces'] > 8 + 4 * 2
  assert counts.documents['train'] == 8
  assert counts.documents['train'] == prepared.splits['train']['documents']
  same = counts.same_documents
  assert (same.different(), same.most_often()) == (4, 3)
  assert same.repeated() == pytest.approx(4 / 8)
  tokens = library(['\n'.join(x) for x in documents], TOKENS, cased=True)
  assert counts.document_lengths == collections.Counter(map(len, tokens))


def test_splits_are_counted_apart_and_blocks_change_nothing(
  tmp_path, monkeypatch
):
  prepared = corpus(tmp_path, random_documents(), fraction=0.3)
  counts = token_counts.count(prepared, NONE)
  for split in ('train', 'validation'):
    own = prepared.splits[split]['documents']
    assert counts.documents[split] == own > 0
  monkeypatch.setattr(token_counts, '_BLOCK', 7)
  again = token_counts.count(prepared, NONE)
  for name in ('documents', 'sentence_lengths', 'kind_tokens', 'words'):
    assert getattr(again, name) == getattr(counts, name)
  assert again.different_words.once() == counts.different_words.once()


@pytest.mark.parametrize('cased', [True, False])
def test_groups_are_found_in_whole_words_whatever_their_case(tmp_path, cased):
  documents = [
    ['she sat. Her mat, her cat; herself SHE', 'the she-cat sat on the mat'],
    ['Sat on', 'the mat', 'sat on the mat, the mat.'],
  ]
  letters = sorted(set('abcdefghijklmnopqrstuvwxyz' + 'SHEHTer'))
  tokens = [*SPECIAL_TOKENS, *letters, *('##' + x for x in letters), *'.,;-']
  prepared = corpus(tmp_path, documents, [*tokens, 'her', '##self'], cased)
  groups = {
    'she': ['she', 'her', 'HER'],
    'on the mat': ['on the mat'],
    'she-cat': ['she-cat'],
    'none': ['sh', 'elf', 'mat sat', '日'],
  }
  counts = token_counts.count(prepared, groups)
  text = ' '.join(line for document in documents for line in document).lower()
  assert counts.groups['she'] == len(re.findall(r'\b(?:she|her)\b', text)) == 5
  # 'on' and 'the mat' are two sentences.
  assert counts.groups['on the mat'] == 2
  assert counts.groups['she-cat'] == 1
  assert counts.groups['none'] == 0


def test_samples_in_a_row_tell_how_varied_text_is(tmp_path, monkeypatch):
  monkeypatch.setattr(token_counts, 'SAMPLE', 6)
  documents = [['the cat sat on the mat the the']]
  counts = token_counts.count(corpus(tmp_path, documents), NONE)
  assert counts.sample_words == [5]


@pytest.mark.parametrize(
  'text, kind',
  [
    ('été', 'Latin'),
    ('1990s', 'Latin'),
    ('½', words.DIGITS),
    ('日本', 'Chinese'),
    ('ᄒ', 'Hangul'),
    ('ª', words.OTHER),
    ('ℝ', words.OTHER),
    ('ªé', 'Latin'),
    ('€', words.SIGNS),
    ('', words.SIGNS),
  ],
)
def test_a_word_is_of_the_script_of_its_first_letter(text, kind):
  assert words.kind(text) == kind
