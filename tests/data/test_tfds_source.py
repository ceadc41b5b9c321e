import pytest

from bertjax.corpus import cleaning, corpora
from bertjax.data import tfds_source
from bertjax.errors import UserError


@pytest.fixture(scope='session')
def tfds_dir(tmp_path_factory, store_in_tfds) -> str:
  """A folder where TFDS keeps 'poems' and 'songs/old', in several files."""
  from tensorflow_datasets import features

  poems = [
    {
      'text': f'Line one.\r\n\n  Line \0two.\nPoem {number}.\n',
      'title': str(number),
    }
    for number in range(200)
  ]
  poems += [
    {'text': b'caf\xe9', 'title': 'invalid'},
    {'text': ' \n\0', 'title': 'empty'},
  ]
  folder = tmp_path_factory.mktemp('tfds')
  columns = {'text': features.Text(), 'title': features.Text()}
  store_in_tfds(
    folder, 'poems', columns, {'train': poems}, version='1.2.0', shards=4
  )
  store_in_tfds(
    folder,
    'songs',
    columns,
    {'test': poems},
    config='old',
    version='1.2.0',
    shards=4,
  )
  return str(folder)


POEMS = {f'Line one.\nLine two.\nPoem {number}.' for number in range(200)}


def test_documents_are_clean(tfds_dir):
  reader = tfds_source.TfdsText('tfds:poems', tfds_dir)
  counts = cleaning.Counts()
  found = [*reader.documents(counts)]
  assert found[1::2] == [[]] * 201
  texts = ['\n'.join(lines) for lines in found[::2]]
  assert sorted(texts) == sorted(POEMS | {'caf\ufffd'})
  assert (counts.files, counts.nuls, counts.invalid_characters) == (4, 201, 1)
  assert reader.size() > 5000 and str(reader) == 'tfds:poems'


def test_a_corpus_of_it_trains(tfds_dir, tmp_path):
  reader = tfds_source.TfdsText('poems', tfds_dir)
  prepared = corpora.from_text(reader, str(tmp_path), vocab_size=100)
  assert prepared.report().startswith('201 documents, 601 lines')
  other = tfds_source.TfdsText('poems', tfds_dir, 'title')
  assert other.fingerprint() != reader.fingerprint()


def test_the_latest_version_of_a_tfds_set_is_read(tfds_dir, tmp_path):
  for name in ('a/1.9.0', 'a/1.10.0', 'b/en/2.0.0', 'b/de/1.0.0'):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / 'dataset_info.json').write_text('{}')

  def find(name):
    return tfds_source.find_data_set(name, str(tmp_path))

  assert find('a') == f'{tmp_path}/a/1.10.0'
  assert find('a:1.9.0') == f'{tmp_path}/a/1.9.0'
  assert find('b/en') == f'{tmp_path}/b/en/2.0.0'
  with pytest.raises(UserError, match=r'b/en:2\.0\.0'):
    find('b')
  with pytest.raises(
    UserError,
    match='with data sets, .*b/en.; set DATA_DIR or TfdsText',
  ):
    tfds_source.find_data_set('a', str(tmp_path / 'b/en'))


@pytest.mark.parametrize(
  'spec, expected',
  [
    ('tfds:poem', 'poems:1.2.0'),
    ('tfds:poems:9.9.9', 'poems:1.2.0'),
    ('tfds:songs/old', "a split 'train' in tfds:songs/old, got ['test']"),
    ('tfds:wikipedia', 'nothing is downloaded'),
  ],
)
def test_a_tfds_set_that_is_not_there_is_refused(tfds_dir, spec, expected):
  with pytest.raises(UserError) as error:
    tfds_source.TfdsText(spec, tfds_dir).size()
  assert expected in str(error.value) and '\n' not in str(error.value)
  with pytest.raises(UserError, match='set DATA_DIR or TfdsText'):
    tfds_source.TfdsText(spec, None).fingerprint()


def test_a_field_that_a_tfds_set_lacks_is_refused(tfds_dir):
  reader = tfds_source.TfdsText('poems', tfds_dir, 'body')
  with pytest.raises(
    UserError, match=r"a field 'body' in tfds:poems, got \['text', 'title'\]"
  ):
    reader.size()
