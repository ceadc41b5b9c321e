"""What is not installed is named with the file that installs it."""

import sys

import numpy as np
import pytest

from bertjax.corpus import (
  duplicates,
  html_text,
  languages,
  near_duplicates,
  quality_rules,
  repair,
  signatures,
  warc,
)
from bertjax.errors import UserError

CALLS = {
  'ftfy': lambda: repair.repair('é'),
  'resiliparse.extract': lambda: html_text.text_of('<p>a'),
  'fastwarc': lambda: list(warc.pages('a.warc')),
  'py3langid': lambda: languages.language_of('a cat'),
  'rensa': lambda: signatures.signature('a cat'),
}


@pytest.fixture(autouse=True)
def no_library_is_kept():
  for function in (repair._ftfy, languages._identifier):
    function.cache_clear()


@pytest.mark.parametrize('name', CALLS)
def test_a_missing_library_is_one_line(monkeypatch, name):
  monkeypatch.setitem(sys.modules, name, None)
  with pytest.raises(
    UserError, match=r'-r requirements-prepare\.txt, or (set|l)'
  ):
    CALLS[name]()


def test_what_needs_no_library_works_without(monkeypatch, tmp_path):
  for name in CALLS:
    monkeypatch.setitem(sys.modules, name, None)
  assert duplicates.document_hash('a cat')
  assert repair.repair('plain') == 'plain'
  assert (
    quality_rules.failing('A cat.', quality_rules.names_of('gentle')) is None
  )
  with near_duplicates.NearDuplicates(str(tmp_path)) as index:
    index.add(np.zeros(signatures.SIZE, np.uint32))
    assert not index.duplicates().any()
