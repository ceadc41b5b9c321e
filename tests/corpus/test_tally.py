"""Counts of documents that stay and of those that go."""

import json

import pyarrow

from bertjax.corpus import duplicates, steps, tally


def counted(documents, jaccard=None):
  """Returns the tally, and the lines of the documents that stay.

  Args:
    documents: text, and the rule that drops it; of each a line went, and an
      address was replaced.
  """
  rows = [
    {
      'text': text,
      'rule': rule,
      'counts': json.dumps([{'short_line': 1}, {'email': 1}]),
      'hash': None if rule else duplicates.document_hash(text),
      'paragraphs': None if rule else duplicates.paragraph_hashes(text),
      'signature': None,
    }
    for text, rule in documents
  ]
  batch = pyarrow.RecordBatch.from_pylist(rows, steps.SCHEMA)
  found = tally.Tally()
  with tally.Seen('/unused', jaccard) as seen:
    kept = [x for x in found.keep([batch], seen) if x]
  return found, kept


DOCUMENTS = [
  ('one\ntwo', None),
  ('three', None),
  ('short', 'few_words'),
  ('One. Two.', None),  # the words of the first
  ('one\nthree', None),  # paragraphs of two
  ('three\nfour', None),
]


def test_what_went_out_of_documents_that_go_is_not_counted():
  found, kept = counted(DOCUMENTS)
  assert kept == [['one', 'two'], ['three'], ['four']]
  assert found.replaced == {'email': 3}
  assert found.removed_lines == {'short_line': 3, 'repeated_paragraph': 1}


def test_a_document_of_paragraphs_of_several_is_no_exact_duplicate():
  found, kept = counted(DOCUMENTS)
  assert found.dropped == {
    'few_words': 1,
    'exact_duplicate': 1,
    'repeated_paragraphs': 1,
  }
  assert found.samples['repeated_paragraphs'] == ['one\nthree']
  assert found.read == found.kept + found.dropped.total() == len(DOCUMENTS)
