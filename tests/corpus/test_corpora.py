import os
import re

import numpy as np
import pytest

from bertjax.corpus import (
  corpora,
  document_files,
  pipeline,
  preparation,
  python_documentation,
)
from bertjax.corpus.mixtures import Mixture
from bertjax.errors import UserError

TEXT = '\n\n'.join(f'A cat and {n} dogs.\nThey ran.' for n in range(40))
FEW = {'vocab_size': 60, 'min_frequency': 1}


@pytest.fixture
def text(tmp_path):
  path = tmp_path / 'text.txt'
  path.write_text(TEXT)
  return str(path)


def refusal(*arguments, **more) -> str:
  with pytest.raises(UserError) as error:
    corpora.from_text(*arguments, **more)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_a_specification_names_its_reader(text, tmp_path):
  assert corpora.reader_of('python_documentation') == (
    python_documentation.PythonDocumentation()
  )
  for spec in (text, [f'{tmp_path}/*.txt']):
    assert corpora.reader_of(spec) == document_files.TextFiles(spec)
  own = document_files.TextFiles(text)  # or any other reader
  assert corpora.reader_of(own) is own
  with pytest.raises(UserError, match='no file matches'):
    corpora.reader_of(f'{tmp_path}/b.txt')
  with pytest.raises(UserError, match="TEXT_COLUMN 'body', got plain text al"):
    corpora.reader_of(text, 'body')
  with pytest.raises(UserError, match='add data/text_tfds.gin'):
    corpora.reader_of('tfds:wikipedia')


def test_a_name_that_is_nearly_one_of_ours_is_told():
  with pytest.raises(UserError, match="did you mean 'python_documentation'"):
    corpora.reader_of('python_documentaton')


def test_text_that_a_run_wrote_is_refused(text, tmp_path):
  corpora.from_text(text, str(tmp_path / 'prepared'), **FEW)
  with pytest.raises(UserError, match='/COMPLETED, which a run wrote; move'):
    corpora.reader_of(str(tmp_path / 'prepared/corpus'))
  run = tmp_path / 'a_run'
  run.mkdir()
  (run / 'config.gin').write_text('SEED = 0')
  corpora.reader_of(str(run))
  (run / '.lock').touch()
  with pytest.raises(UserError, match='/config.gin, which a run wrote; move'):
    corpora.reader_of(str(run))
  corpora.reader_of(text)


def test_the_run_gets_the_vocabulary_and_the_corpus_once(
  text, tmp_path, capsys
):
  run = str(tmp_path / 'run')
  first = corpora.from_text(text, run, **FEW)
  told = capsys.readouterr()
  assert '40 documents, 80 lines' in told.out
  assert 'pairs are one sentence, cut in two' in told.out
  assert (tmp_path / 'run/vocab.txt').read_text().split('\n')[5:8] == [
    '.',
    '0',
    '1',
  ]
  assert corpora.from_text(text, run, **FEW) == first
  again = capsys.readouterr()
  assert 'reading' not in again.err and 'documents' not in again.out


def test_a_prepared_corpus_needs_no_text(text, tmp_path):
  made = corpora.from_text(text, str(tmp_path / 'a'), **FEW)
  found = corpora.from_text(None, str(tmp_path / 'b'), corpus_dir=made.path)
  assert found == made
  assert (tmp_path / 'b/vocab.txt').exists()
  assert not (tmp_path / 'b/corpus').exists()
  assert corpora.vocabulary_size(None, 7, corpus_dir=made.path) == 60
  both = corpora.from_text(
    None, str(tmp_path / 'c'), corpus_dir=[made.path, made.path], rates=[3, 1]
  )
  assert isinstance(both, Mixture) and both.corpora == [made, made]


def test_text_or_a_corpus_is_asked_for_and_not_both(text, tmp_path):
  run = str(tmp_path / 'run')
  assert 'set TEXT_FILES, or CORPUS_DIR' in refusal(None, run)
  assert 'leave TEXT_FILES out' in refusal(text, run, corpus_dir='x')
  told = refusal(None, run, corpus_dir='x', vocab_file='vocab.txt')
  assert 'leave VOCAB_FILE out' in told
  assert 'got none; prepare it anew' in refusal(None, run, corpus_dir=run)


def test_corpora_of_two_vocabularies_do_not_mix(text, tmp_path):
  first, second = (
    corpora.from_text(text, f'{tmp_path}/{n}', vocab_size=n, min_frequency=1)
    for n in (60, 61)
  )
  told = refusal(None, f'{tmp_path}/run', corpus_dir=[first.path, second.path])
  assert 'of one vocabulary' in told and 'VOCAB_FILE' in told


def test_a_run_of_bpe_holds_its_tokenizer_and_can_hand_it_on(text, tmp_path):
  first = corpora.from_text(
    text, f'{tmp_path}/a', vocab_size=300, tokenizer='bpe', min_frequency=1
  )
  assert first.vocabulary.cased and first.index['unknown'] == 0
  names = set(os.listdir(tmp_path / 'a'))
  assert 'tokenizer.json' in names and 'vocab.txt' not in names
  given = f'{tmp_path}/a/tokenizer.json'
  second = corpora.from_text(text, f'{tmp_path}/b', vocab_file=given)
  assert second.vocabulary == first.vocabulary
  assert corpora.vocabulary_size(given, 7, text_files=text) == 300
  with pytest.raises(UserError, match='VOCAB_SIZE of at least 261 .*got 100'):
    corpora.vocabulary_size(None, 100, text_files=text, tokenizer='bpe')
  lower = corpora.from_text(
    text, f'{tmp_path}/c', vocab_file=given, cased=False
  )
  assert lower.vocabulary != first.vocabulary and not lower.vocabulary.cased
  assert preparation.load(lower.path).vocabulary == lower.vocabulary
  wordpiece = corpora.from_text(text, f'{tmp_path}/d', **FEW)
  both = [first.path, wordpiece.path]
  told = refusal(None, f'{tmp_path}/run', corpus_dir=both)
  assert 'of one vocabulary' in told and 'VOCAB_FILE' in told


def test_a_vocabulary_without_room_for_all_bytes_is_refused(text, tmp_path):
  told = refusal(text, f'{tmp_path}/a', vocab_size=260, tokenizer='bpe')
  assert 'VOCAB_SIZE of at least 261 with TOKENIZER=bpe' in told
  told = refusal(text, f'{tmp_path}/a', tokenizer='sentencepiece')
  assert "'sentencepiece'" in told and 'tokenizer' in told


def test_a_run_that_holds_a_text_store_is_refused_in_one_line(text, tmp_path):
  store = tmp_path / 'run/corpus/0123456789abcdef'
  store.mkdir(parents=True)
  (store / 'train.rows').touch()
  told = refusal(text, str(tmp_path / 'run'), **FEW)
  assert f'set INIT_FROM={tmp_path}/run and RUN_DIR' in told


def test_a_vocabulary_that_does_not_fit_the_text_is_refused(tmp_path, capsys):
  specials = '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n'
  (tmp_path / 'vocab.txt').write_text(specials + 'he\ncat\n')
  (tmp_path / 'a.txt').write_text('Он спит.\n\nКот спит.\n\nОн ест.\n')
  told = refusal(
    f'{tmp_path}/a.txt', f'{tmp_path}/a', vocab_file=f'{tmp_path}/vocab.txt'
  )
  assert '100.0% of the tokens are [UNK]' in told and 'VOCAB_FILE' in told
  (tmp_path / 'b.txt').write_text('he cat ' * 40 + 'dog\n\ncat\n\nhe he')
  (tmp_path / 'c.txt').write_text('he cat he dog\n\ncat\n\nhe he')
  for name, warns in (('b', False), ('c', True)):
    corpora.from_text(
      f'{tmp_path}/{name}.txt',
      f'{tmp_path}/{name}',
      vocab_file=f'{tmp_path}/vocab.txt',
    )
    assert ('warning' in capsys.readouterr().out) == warns


@pytest.mark.parametrize(
  'text, share',
  [('A cat sat.\n\n', (0.3, 0.7)), ('a ' * 20 + '.\n' + 'b.\n\n', (0, 0.2))],
)
def test_the_share_of_sentences_cut_in_two_is_told(
  tmp_path, capsys, text, share
):
  path = tmp_path / 'text.txt'
  path.write_text(''.join(f'{i} {text}' for i in range(300)))
  arguments = str(path), str(tmp_path / 'run')
  corpora.from_text(*arguments, **FEW)
  (percent,) = re.findall(r'(.*)% of the pairs', capsys.readouterr().out)
  assert share[0] <= float(percent) / 100 <= share[1]
  corpora.from_text(*arguments, **FEW, next_sentence=False)
  assert 'of the pairs' not in capsys.readouterr().out


def test_of_one_document_there_are_only_pairs_in_order_or_swapped(
  tmp_path, capsys
):
  (tmp_path / 'a.txt').write_text('A cat sat.\nIt ran.\n' * 200)
  arguments = f'{tmp_path}/a.txt', f'{tmp_path}/run'
  for kind in ('nsp', 'same_document'):
    told = refusal(*arguments, **FEW, pair_kind=kind)
    assert f'PAIRS={kind} needs two documents' in told
    assert told.endswith("set NSP=False or PAIRS='sop'")
  corpora.from_text(*arguments, **FEW, next_sentence=False)
  arguments = f'{tmp_path}/a.txt', f'{tmp_path}/ordered'
  corpus = corpora.from_text(*arguments, **FEW, pair_kind='sop')
  (percent,) = re.findall(r'(.*)% of the pairs', capsys.readouterr().out)
  assert float(percent) < 10
  batches = iter(pipeline.batches(corpus, 8, 32, 5, seed=0, pair_kind='sop'))
  labels = np.concatenate([next(batches)['pair_labels'] for _ in range(40)])
  # 320 pairs: three standard deviations.
  assert abs(labels.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(labels))


def test_a_run_dir_that_cannot_be_made_is_one_line(text, tmp_path):
  (tmp_path / 'file').touch()
  told = refusal(text, f'{tmp_path}/file/run', **FEW)
  assert f'cannot write {tmp_path}/file/run' in told and 'RUN_DIR' in told
