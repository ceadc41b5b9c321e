"""Documents and paragraphs that occur before."""

import numpy as np

from bertjax.corpus import duplicates


def test_documents_of_the_same_words_share_a_hash():
  one = duplicates.document_hash('“A cat,” he said.\nIt sat.')
  assert one == duplicates.document_hash('a cat he said\n\n  IT SAT')
  assert one != duplicates.document_hash('A cat he said. It sits.')
  assert one != duplicates.document_hash('Acat he said. It sat.')
  assert 0 <= one < 2**64


def test_documents_without_words_are_told_apart():
  hashes = {duplicates.document_hash(text) for text in ('***', '---', '')}
  assert len(hashes) == 3
  assert duplicates.document_hash('* *') == duplicates.document_hash('*\n*')


def test_the_hash_of_a_long_document_does_not_depend_on_where_it_is_cut(
  monkeypatch,
):
  text = ' '.join(f'word{i}' for i in range(3000))
  whole = duplicates.document_hash(text)
  monkeypatch.setattr('bertjax.corpus.word_hashes._PIECE', 1000)
  assert duplicates.document_hash(text) == whole
  assert duplicates.document_hash(text.replace(' ', '   ')) == whole


def test_paragraphs_differ_by_punctuation_alone_but_not_by_case():
  hashes = duplicates.paragraph_hashes('Yes.\n yes.\nYes?\n\nyes.')
  assert hashes.dtype == np.uint64
  one, two, three, blank, five = hashes.tolist()
  assert one == two == five and len({one, three, blank}) == 3


def test_only_the_first_of_equal_ones_is_no_repeat():
  hashes = np.array([7, 5, 7, 9, 5, 7], np.uint64)
  expected = [False, False, True, False, True, True]
  assert duplicates.repeats(hashes).tolist() == expected
  assert duplicates.repeats(hashes[:0]).tolist() == []
