"""Needs requirements-prepare.txt and requirements-beam.txt."""

import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('rensa')
pytest.importorskip('apache_beam')
from bertjax.corpus import (
  document_files,
  on_beam,
  pipeline,
  preparation,
  prepare_corpus,
)
from bertjax.corpus.steps import Steps
from bertjax.errors import RunStopped, UserError
from tests.corpus.test_units import some_documents, write_files

pytestmark = pytest.mark.filterwarnings('ignore')
ROOT = pathlib.Path(__file__).parents[2]
IN_MEMORY = '--runner=FnApiRunner'
SMALL = {'vocab_size': 300, 'min_frequency': 1, 'held_out_fraction': 0.2}


@pytest.fixture(autouse=True)
def several_units(monkeypatch):
  monkeypatch.setattr(on_beam, '_UNIT_BYTES', 20_000)


def prepare(patterns, folder, options=IN_MEMORY, steps=None, **more):
  prepare_corpus.prepare(
    patterns,
    str(folder),
    steps or Steps(paragraphs=True, personal_data=True),
    licence='CC0',
    beam_options=options,
    **{**SMALL, **more},
  )


def check_equal(one, other):
  """Compares two corpora that were prepared: report, vocabulary, batches."""
  reports, indices, found = [], [], []
  for folder in (one, other):
    report = json.loads((folder / 'report.json').read_text())
    reports.append({**report, 'seconds': 0})
    index = json.loads((folder / 'index.json').read_text())
    for split in index['splits'].values():
      split.pop('files')
    indices.append(index)
    found.append(preparation.load(str(folder)))
  assert reports[0] == reports[1]
  assert indices[0] == indices[1]
  assert found[0].vocabulary == found[1].vocabulary
  for split in ('train', 'validation'):
    for sequences in (1, 3):
      sizes = {'batch_size': 8, 'length': 64, 'predictions': 5, 'seed': 1}
      batches = zip(
        *(
          pipeline.batches(x, **sizes, split=split, sequences=sequences)
          for x in found
        ),
        range(20),
        strict=False,
      )
      for ours, theirs, _ in batches:
        assert ours.keys() == theirs.keys()
        assert all(ours[k].tobytes() == theirs[k].tobytes() for k in ours)


def check_on(tmp_path, options, **more):
  patterns = write_files(tmp_path / 'text', some_documents())
  prepare(patterns, tmp_path / 'local', None, **more)
  prepare(patterns, tmp_path / 'beam', options, **more)
  check_equal(tmp_path / 'local', tmp_path / 'beam')
  names = set(os.listdir(tmp_path / 'beam'))
  assert names >= {'train-00000-00000.arrow', 'train-00001-00000.arrow'}
  assert 'beam' not in names


def test_beam_in_memory_gives_the_corpus_of_the_local_processes(tmp_path):
  check_on(tmp_path, IN_MEMORY)


def test_byte_level_bpe_is_trained_on_beam_as_in_local_processes(tmp_path):
  check_on(tmp_path, IN_MEMORY, tokenizer='bpe')
  assert (tmp_path / 'beam' / 'tokenizer.json').exists()
  assert not (tmp_path / 'beam' / 'vocab.txt').exists()


def test_files_between_machines_may_lie_elsewhere(tmp_path):
  place = tmp_path / 'elsewhere'
  check_on(tmp_path, f'{IN_MEMORY} --temp_location=file://{place}')
  assert os.listdir(place) == []


@pytest.mark.slow
def test_processes_of_beam_give_the_same_corpus(tmp_path):
  check_on(
    tmp_path,
    f'{IN_MEMORY} --direct_running_mode=multi_processing '
    '--direct_num_workers=2',
  )


@pytest.mark.slow
def test_a_job_server_gives_the_same_corpus(tmp_path):
  check_on(
    tmp_path,
    '--runner=PortableRunner --job_endpoint=embed --environment_type=LOOPBACK',
  )


_DASK = """
import sys
from distributed import LocalCluster
if __name__ == '__main__':
  with LocalCluster(n_workers=2, threads_per_worker=1, host='127.0.0.1',
                    dashboard_address='127.0.0.1:0') as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_dask_gives_the_same_corpus(tmp_path):
  pytest.importorskip('distributed')
  (tmp_path / 'cluster.py').write_text(_DASK)
  with subprocess.Popen(
    [sys.executable, str(tmp_path / 'cluster.py')],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
  ) as cluster:
    address = cluster.stdout.readline().strip()
    check_on(tmp_path, f'--runner=DaskRunner --dask_client_address={address}')
    cluster.stdin.close()


@pytest.mark.slow
def test_a_command_that_is_killed_starts_anew_to_the_same_corpus(tmp_path):
  patterns = write_files(tmp_path / 'text', some_documents(2000))
  out = tmp_path / 'out'
  command = [
    *(sys.executable, '-m', 'bertjax.main', 'prepare_corpus'),
    *(f'--gin.TEXT_FILES={patterns}', f'--gin.OUTPUT_DIR={out}'),
    *('--gin.VOCAB_SIZE=500', f'--gin.BEAM_OPTIONS={IN_MEMORY}'),
  ]
  with subprocess.Popen(command, cwd=ROOT) as process:
    while not list(out.glob('beam/*/text-0')):
      assert process.poll() is None
      time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
  with pytest.raises(UserError, match='expected a prepared corpus'):
    preparation.load(str(out))
  again = subprocess.run(
    command, cwd=ROOT, check=True, capture_output=True, text=True
  )
  assert 'starts anew' in again.stdout
  assert 'cleaning on FnApiRunner' in again.stderr
  prepare_corpus.prepare(
    patterns, str(tmp_path / 'local'), Steps(), vocab_size=500
  )
  check_equal(tmp_path / 'local', out)
  assert sorted(os.listdir(out / 'run')) == ['.lock', 'config.gin']


def refused(tmp_path, text, words, error=UserError, **more):
  """Checks that there is one line, and nothing that looks like a corpus."""
  with pytest.raises(error, match=words) as found:
    prepare(text, tmp_path / 'out', **more)
  assert '\n' not in str(found.value)
  assert not preparation.is_complete(str(tmp_path / 'out'))
  assert not (tmp_path / 'out/beam').exists()
  assert not (tmp_path / 'out/index.json').exists()


def test_a_file_that_is_cut_short_is_one_line(tmp_path):
  (tmp_path / 'a.txt').write_text('A text.\n')
  whole = gzip.compress(os.urandom(3000).hex().encode())
  (tmp_path / 'b.txt.gz').write_bytes(whole[:-500])
  refused(tmp_path, str(tmp_path / '*.*'), 'b.txt.gz is cut off')


def test_a_file_that_changes_is_one_line(tmp_path, monkeypatch):
  path = tmp_path / 'a.txt'
  path.write_text('A text.\n\n' * 9)
  read = document_files.TextFiles._documents

  def changing(*arguments):
    yield from read(*arguments)
    path.write_text('Another one.')

  monkeypatch.setattr(document_files.TextFiles, '_documents', changing)
  refused(tmp_path, str(path), 'a.txt changed while it was read')


def test_a_full_disk_is_one_line(tmp_path, full_disk):
  (tmp_path / 'a.txt').write_text('\n\n'.join(some_documents()))
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  with full_disk():
    refused(tmp_path, str(tmp_path / 'a.txt'), 'cannot write.*OUTPUT_DIR')


def test_nothing_that_is_left_names_its_rules(tmp_path):
  (tmp_path / 'a.txt').write_text('lorem ipsum dolor\n\n' * 3)
  words = 'no document of 3 is left: 3 by lorem_ipsum'
  refused(tmp_path, str(tmp_path / 'a.txt'), words)


def test_a_fault_of_a_machine_is_told_and_leaves_nothing(
  tmp_path, capsys, monkeypatch
):
  (tmp_path / 'a.txt').write_text('A text.\n')

  def broken(*_):
    raise ZeroDivisionError('by accident')

  monkeypatch.setitem(on_beam.stages.MAKERS, 'choose', lambda *_, **__: broken)
  text = str(tmp_path / 'a.txt')
  refused(tmp_path, text, 'cleaning on FnApiRunner failed', RunStopped)
  assert 'by accident' in capsys.readouterr().err


def test_what_is_no_files_is_refused(tmp_path):
  with pytest.raises(UserError, match='is no files.*BEAM_OPTIONS=None'):
    prepare('python_documentation', tmp_path / 'out')


@pytest.mark.parametrize(
  'options, words',
  [
    ('FnApiRunner', 'no --runner leaves the choice to Beam'),
    ('--runner=directrunner', 'leaves the choice to Beam.*download'),
    ('--runner=FlinkRuner', "no runner of Beam.*did you mean 'FlinkRunner'"),
    ('--runner=no.such.Runner', 'no.such.Runner is no runner of Beam'),
    ('--runner', 'expected one argument'),
    (f'{IN_MEMORY} --direct_num_worker=2', "mean '--direct_num_workers'"),
    (f'{IN_MEMORY} --direct_num_workers=two', 'direct_num_workers.*two'),
    (f"{IN_MEMORY} 'x", 'No closing quotation'),
    ('--runner=Dask', '--dask_client_address=HOST:PORT'),
  ],
)
def test_options_that_cannot_be_are_one_line(options, words, tmp_path):
  with pytest.raises(UserError, match=words) as error:
    prepare('a.txt', tmp_path / 'out', options)
  assert '\n' not in str(error.value) and 'BEAM_OPTIONS' in str(error.value)
  assert not (tmp_path / 'out').exists()
