import collections
import json
import shutil

import numpy as np
import pytest

from bertjax.corpus import (
  language_samples,
  masking_samples,
  measurement,
  row_samples,
  summaries,
)
from bertjax.corpus.measurement import Measurement
from bertjax.errors import UserError
from tests.corpus.test_token_counts import corpus, random_documents

ROWS = row_samples.Rows(batch_size=4, length=32, steps=100)


@pytest.fixture
def prepared(tmp_path):
  (tmp_path / 'run').mkdir()
  documents = random_documents()
  return corpus(tmp_path / 'run', [*documents, documents[0]], fraction=0.2)


def test_what_is_found_is_json_and_agrees_with_the_index(prepared, tmp_path):
  found = Measurement(str(tmp_path / 'run'), ROWS)()
  assert json.loads(json.dumps(found)) == found
  assert found['corpus'] == prepared.path
  for split in found['splits']:
    own = prepared.splits[split['split']]
    assert split['documents'] == own['documents'] > 0
    assert split['tokens'] == own['tokens']
  total = sum(split['tokens'] for split in found['splits'])
  assert found['unknown_share'] == prepared.index['unknown'] / total > 0
  assert found['duplicates'] == {
    'copies': 1,
    'share': pytest.approx(1 / 61),
    'most_often': 2,
    'is_exact': True,
  }
  assert sum(kind['tokens'] for kind in found['kinds']) == total
  for name in ('document', 'sentence'):
    bars = found[f'{name}_lengths']['bars']
    several = sum(split[f'{name}s'] for split in found['splits'])
    assert sum(bar['count'] for bar in bars) == several
  assert found['cleaning'] is found['preparation_seconds'] is None
  she = found['groups'][0]
  words = sum(split['words'] for split in found['splits'])
  assert she['found'] > 0
  assert she['per_million_words'] == pytest.approx(she['found'] / words * 1e6)


def test_every_key_is_described(prepared):
  found = Measurement(prepared.path, ROWS)()
  described = measurement.__doc__ + row_samples.filling.__doc__
  described += (
    masking_samples.masking_of.__doc__ + measurement.topics.find.__doc__
  )
  described += language_samples.find.__doc__
  objects = [found, found['masking'], found['duplicates'], found['variety']]
  objects += [found['document_lengths']]
  for name in ('splits', 'kinds', 'rows', 'topics', 'groups', 'languages'):
    objects += found[name]
  for key in {key for each in objects for key in each}:
    assert f'`{key}`' in described, key


def test_a_mixture_is_that_of_its_corpora(prepared, tmp_path):
  folders = [str(tmp_path / 'run'), str(tmp_path / 'other')]
  shutil.copytree(prepared.path, folders[1])
  index = json.loads((tmp_path / 'other/index.json').read_text())
  index['licence'] = 'CC0'
  (tmp_path / 'other/index.json').write_text(json.dumps(index))
  measure = Measurement(folders, ROWS, rates=(1, 3))
  assert f'{folders[1]}/index.json' in measure.sources
  found = measure()
  assert json.loads(json.dumps(found)) == found
  one, other = found['corpora']
  assert one == Measurement(folders[0], ROWS)()
  assert (one['licence'], other['licence']) == (None, 'CC0')
  for shares in found['mixture']:
    assert [x['asked'] for x in shares['sources']] == [0.25, 0.75]
  described = measurement.mixture_samples.shares_of.__doc__
  keys = {*shares, *shares['sources'][0]}
  assert not [key for key in keys if f'`{key}`' not in described]
  with pytest.raises(UserError, match='a rate, one above 0.*RATES'):
    Measurement(folders, ROWS, rates=(1, 2, 3))


@pytest.mark.parametrize('count', [1, 9, 1000])
def test_lengths_are_those_of_numpy(count):
  sizes = np.random.default_rng(count).geometric(0.02, count)
  found = summaries.lengths(collections.Counter(sizes.tolist()))
  assert found['mean'] == pytest.approx(sizes.mean())
  assert found['longest'] == sizes.max()
  for name, share in (('median', 50), ('percentile_90', 90)):
    assert found[name] == np.percentile(sizes, share, method='inverted_cdf')
  for bar in found['bars']:
    inside = (bar['from'] <= sizes) & (sizes <= bar['to'])
    assert bar['count'] == inside.sum()
  assert sum(bar['count'] for bar in found['bars']) == count


def test_nothing_has_no_lengths():
  found = summaries.lengths({})
  assert (found['bars'], found['longest'], found['median']) == ([], 0, 0)


def test_a_folder_with_one_corpus_below_it_stands_for_that(prepared, tmp_path):
  for folder in (tmp_path, tmp_path / 'run', tmp_path / 'run' / 'corpus'):
    assert measurement.find(str(folder)) == prepared.path
  shutil.copytree(prepared.path, tmp_path / 'other')
  with pytest.raises(UserError, match='one prepared corpus in .*, got 2; set'):
    Measurement(str(tmp_path))
  with pytest.raises(UserError, match='got none; .*set CORPUS_DIR'):
    Measurement(str(tmp_path / 'nowhere'))


def test_what_cleaning_told_is_read_and_checked(prepared, tmp_path):
  path = tmp_path / 'run' / 'report.json'
  told = {'documents_read': 90, 'documents_kept': 61, 'dropped': {'short': 29}}
  more = {'samples': {'short': ['a']}, 'seconds': 3, 'tokens': 5}
  path.write_text(json.dumps(told | more))
  measure = Measurement(str(tmp_path / 'run'), ROWS)
  assert str(path) in measure.sources
  found = measure()
  assert found['preparation_seconds'] == 3
  assert found['cleaning'] == told | {
    'samples': {'short': ['a']},
    'replaced': None,
    'seconds': 3,
  }
  path.write_text(json.dumps(told | {'dropped': 29}))
  with pytest.raises(UserError, match="'dropped' in .*report.json, got 29; "):
    Measurement(str(tmp_path / 'run'), ROWS)
  path.write_text(json.dumps({'generator': 'bertjax data_report'}))
  assert Measurement(str(tmp_path / 'run'), ROWS)()['cleaning'] is None


def test_pairs_of_one_document_are_refused_as_in_training(tmp_path):
  corpus(tmp_path, [['the cat sat on the mat'] * 9])
  with pytest.raises(UserError, match='two documents or more.*set NSP=False'):
    Measurement(str(tmp_path), ROWS)
  rows = row_samples.Rows(4, 32, next_sentence=False)
  masking = Measurement(str(tmp_path), rows)()['masking']
  assert masking['changed_pairs_share'] is masking['cut_pairs_share'] is None


def test_a_shard_that_was_cut_is_refused_before_anything(prepared):
  name = prepared.splits['train']['files'][0]['name']
  with open(f'{prepared.path}/{name}', 'r+b') as file:
    file.truncate(100)
  with pytest.raises(UserError, match=f'{name}: it has 100 bytes of'):
    Measurement(prepared.path, ROWS)
