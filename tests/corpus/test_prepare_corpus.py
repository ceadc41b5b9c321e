"""Needs the packages of requirements-prepare.txt."""

import json
import pathlib
import sys

import pyarrow
import pytest

pytest.importorskip('rensa')
from bertjax import corpus
from bertjax.corpus import building, preparation, prepare_corpus, steps, tally
from bertjax.corpus.steps import Steps
from bertjax.errors import UserError

VERSE = (
  'It was the best of times, it was the worst of times, it was the age of '
  'wisdom, it was the age of foolishness, it was the epoch of belief, it was '
  'the epoch of incredulity, it was the season of Light, it was the season of '
  'Darkness, it was the spring of hope, it was the winter of despair, and we '
  'had everything before us, though we had nothing before us, said number {}.'
)
SMALL = {'vocab_size': 300, 'min_frequency': 1}


def stories(count):
  """Returns documents that share few words with each other."""
  return [
    ' '.join(f'w{(n * 7919 + i * i * (n + 3)) % 5003}' for i in range(120))
    + f'.\nThe end of {n}.'
    for n in range(count)
  ]


def prepare(tmp_path, documents, steps=None, name='out', **more):
  path = tmp_path / f'{name}.jsonl'
  path.write_text(''.join(json.dumps({'text': x}) + '\n' for x in documents))
  folder = tmp_path / name
  prepare_corpus.prepare(
    str(path), str(folder), steps or Steps(), **{**SMALL, **more}
  )
  return json.loads((folder / 'report.json').read_text()), folder


def words_of(folder):
  """Returns the words of each document that was kept."""
  prepared = preparation.load(str(folder))
  tokens = prepared.vocabulary.tokens
  found = []
  for name in ('train', 'validation'):
    split = prepared.split(name)
    for i in range(len(split)):
      ids = split.piece(i).tokens
      found.append(' '.join(tokens[x] for x in ids).replace(' ##', ''))
  return found


def test_every_document_is_kept_or_counted_by_a_rule(tmp_path):
  documents = stories(30)
  documents += [documents[3], documents[4].upper().replace('.', ' !')]
  documents += [documents[5].replace('The end', 'An end')]
  documents += ['lorem ipsum dolor sit amet ' * 20, ' ', 'x' * 5000]
  report, folder = prepare(tmp_path, documents)
  # A line of white space is no document: its file has no text there.
  assert report['documents_read'] == 35
  assert report['documents_kept'] == 30
  assert report['dropped'] == {
    'exact_duplicate': 2,
    'lorem_ipsum': 1,
    'near_duplicate': 1,
    'no_spaces': 1,
  }
  assert report['documents_read'] == report['documents_kept'] + sum(
    report['dropped'].values()
  )
  assert report['samples']['lorem_ipsum'][0].startswith('lorem ipsum dolor')
  prepared = preparation.load(str(folder))
  assert report['tokens'] == sum(x['tokens'] for x in prepared.splits.values())
  # The first of equal documents is the one that stays.
  assert sum('the end of 5 .' in x for x in words_of(folder)) == 1
  assert not any('an end of' in x for x in words_of(folder))


def test_near_duplicates_are_looked_for_if_wanted(tmp_path, capsys):
  for wanted in (False, True):
    steps = Steps(near_duplicates=wanted)
    prepare(tmp_path, stories(4), steps, f'{wanted}')
    assert ('looking for near dup' in capsys.readouterr().err) == wanted


def test_switches_that_are_off_drop_nothing(tmp_path):
  documents = [*stories(4), *stories(4), VERSE.format(1), VERSE.format(2)]
  off = Steps(
    repair=False, rules=False, exact_duplicates=False, near_duplicates=False
  )
  report, _ = prepare(tmp_path, documents, off)
  assert (report['documents_kept'], report['dropped']) == (10, {})
  report, _ = prepare(
    tmp_path,
    documents,
    Steps(rules=None, exact_duplicates=False, jaccard=0.99),
    'near',
  )
  assert report['dropped'] == {'near_duplicate': 4}


def test_repair_and_personal_data_change_the_text(tmp_path):
  documents = [
    'The cafÃ© of Mr. Smith is open to all who like to sit there.',
    'Write to jane.doe@example.com, or call 555-867-5309 or +44 20 7946 0958.',
  ]
  report, folder = prepare(tmp_path, documents, Steps(personal_data=True))
  assert report['replaced'] == {'email': 1, 'phone': 2}
  text = ' '.join(words_of(folder))
  assert 'cafe' in text and 'jane' not in text and '7946' not in text


def test_languages_paragraphs_words_and_evaluation_texts(tmp_path):
  pytest.importorskip('py3langid')
  english = (
    'The committee will meet again on Thursday to discuss the question of '
    'whether the bridge across the river should be repaired or replaced.'
  )
  german = (
    'Der Ausschuss trifft sich am Donnerstag wieder, um zu besprechen, ob die '
    'Brücke über den Fluss repariert oder ersetzt werden soll.'
  )
  (tmp_path / 'blocked.txt').write_text('gizmo\n')
  question = ' '.join(f'question{i}' for i in range(20))
  (tmp_path / 'dev.tsv').write_text(f'sentence\tlabel\n{question}\t1\n')
  documents = [
    english,
    german,
    f'{english}\nAnd now for something that is completely different today.',
    f'We have a gizmo for that, which is what {english.lower()}',
    f'This is a text that was taken from a test: {question}, as is well known.',
  ]
  steps = Steps(
    languages=['en'],
    paragraphs=True,
    decontaminate=str(tmp_path / 'dev.tsv'),
    blocked_words=str(tmp_path / 'blocked.txt'),
    near_duplicates=False,
  )
  report, folder = prepare(tmp_path, documents, steps)
  assert report['dropped'] == {
    'blocked_word': 1,
    'evaluation_text': 1,
    'language': 1,
  }
  assert report['removed_lines'] == {'repeated_paragraph': 1}
  assert sum('thursday' in x for x in words_of(folder)) == 1


def test_processes_make_the_corpus_of_one(tmp_path, monkeypatch):
  documents = [*stories(300), *stories(20)]
  one, first = prepare(tmp_path, documents, name='one')
  monkeypatch.setattr(building, '_PROCESS_BYTES', 1000)
  monkeypatch.setattr(building.workers, 'available', lambda: 2)
  two, second = prepare(tmp_path, documents, name='two')
  for name in ('train-00000.arrow', 'vocab.txt'):
    assert (first / name).read_bytes() == (second / name).read_bytes()
  assert {**one, 'seconds': 0} == {**two, 'seconds': 0}


def test_nothing_that_is_left_names_the_rule_that_removed_it(tmp_path):
  told = 'no document of 3 is left: 3 by lorem_ipsum; set RULES, or TEXT_FILES'
  with pytest.raises(UserError, match=told):
    prepare(tmp_path, ['lorem ipsum dolor sit amet'] * 3)
  # Controls are no text, whatever RULES are.
  (tmp_path / 'controls.txt').write_bytes(b'\x01 \x02\n')
  with pytest.raises(UserError, match='1 by empty; set TEXT_FILES to other'):
    prepare_corpus.prepare(
      str(tmp_path / 'controls.txt'),
      str(tmp_path / 'controls'),
      Steps(rules=False),
    )
  with pytest.raises(UserError, match='2 by no_line_left; set RULES, or TEXT'):
    prepare(tmp_path, ['Two words', 'No end'], Steps(rules='c4'))
  pytest.importorskip('py3langid')
  with pytest.raises(UserError, match='5 by language; set LANGUAGES, or TEXT'):
    prepare(tmp_path, stories(5), Steps(languages=['zh']))
  assert not preparation.is_complete(str(tmp_path / 'out'))


def test_a_preparation_that_is_complete_is_left_alone(tmp_path, capsys):
  first, folder = prepare(tmp_path, stories(5))
  assert '5 documents read, 5 kept' in capsys.readouterr().out
  again, _ = prepare(tmp_path, stories(5))
  assert again == first
  assert 'is prepared already' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['decontaminate', 'blocked_words'])
def test_a_list_that_has_grown_is_another_setting(tmp_path, name):
  path = tmp_path / 'list.txt'
  path.write_text('one ' * 20 + '\n' if name == 'decontaminate' else 'one\n')
  steps = Steps(**{name: str(path)})
  first, _ = prepare(tmp_path, stories(5), steps)
  assert prepare(tmp_path, stories(5), steps)[0] == first
  path.write_text(path.read_text() * 2)
  with pytest.raises(UserError, match='with other settings; set OUTPUT_DIR'):
    prepare(tmp_path, stories(5), steps)


def test_one_of_other_text_or_settings_is_not_taken_for_it(tmp_path):
  first, folder = prepare(tmp_path, stories(5))
  told = 'prepared from other text or with other settings; set OUTPUT_DIR'
  for documents, more in (
    (stories(9), {}),
    (stories(5), {'vocab_size': 301}),
    (stories(5), {'held_out_fraction': 0.5}),
    (stories(5), {'steps': Steps(rules=None)}),
    (stories(5), {'text_column': 'txt'}),
    (stories(5), {'licence': 'CC0'}),
  ):
    with pytest.raises(UserError, match=told):
      prepare(tmp_path, documents, **more)
  assert json.loads((folder / 'report.json').read_text()) == first


def test_a_vocabulary_of_another_language_makes_no_corpus(tmp_path):
  own = '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nдом\nкот\n'
  (tmp_path / 'vocab.txt').write_text(own)
  with pytest.raises(UserError, match=r'of the tokens are \[UNK\].*VOCAB_FILE'):
    prepare(tmp_path, stories(5), vocab_file=str(tmp_path / 'vocab.txt'))
  assert not preparation.is_complete(str(tmp_path / 'out'))


def test_a_place_that_cannot_get_a_corpus_is_refused_before_a_run_is_there(
  tmp_path,
):
  (tmp_path / 'text').mkdir()
  (tmp_path / 'text/a.txt').write_text('x')
  for place, words in (
    ('text', 'text holds a.txt; set OUTPUT_DIR'),
    ('text/a.txt', 'a new folder, no file.*set OUTPUT_DIR'),
    ('text/a.txt/x', 'is no folder; set OUTPUT_DIR'),
  ):
    with pytest.raises(UserError, match=words):
      prepare_corpus.run_dir(str(tmp_path / place))
  new = str(tmp_path / 'new')
  with pytest.raises(UserError, match='not OUTPUT_DIR itself.*set RUN_DIR'):
    prepare_corpus.run_dir(new, f'{new}/')
  assert prepare_corpus.run_dir(new) == f'{new}/run'


def test_one_that_was_ended_starts_anew(tmp_path, capsys):
  first, folder = prepare(tmp_path, stories(5))
  (folder / 'COMPLETED').unlink()
  (folder / 'text.arrow').write_text('half')
  with pytest.raises(UserError, match='one that is not complete'):
    preparation.load(str(folder))
  again, _ = prepare(tmp_path, stories(5))
  assert 'it starts anew' in capsys.readouterr().out
  assert {**first, 'seconds': 0} == {**again, 'seconds': 0}
  assert not (folder / 'text.arrow').exists()


def test_a_licence_is_kept_and_told_and_none_is_not(tmp_path, capsys):
  for licence in ('CC BY-SA 4.0', None):
    _, folder = prepare(
      tmp_path, stories(5), licence=licence, name=f'{licence}'
    )
    index = json.loads((folder / 'index.json').read_text())
    assert index.get('licence') == licence
    assert ('licence' in index) == (licence is not None)
    told = preparation.load(str(folder)).report()
    assert ('licence: CC BY-SA 4.0' in told) == (licence is not None)
    assert ('licence: ' in capsys.readouterr().out) == (licence is not None)
  with pytest.raises(UserError, match='prepare.licence'):
    prepare(tmp_path, stories(5), licence='', name='empty')


def test_a_long_document_goes_through_in_parts_unchanged(tmp_path, monkeypatch):
  documents = stories(4)
  documents[1] = '\n'.join(f'Line {i} of the long one.' for i in range(500))
  _, folder = prepare(tmp_path, documents, name='whole')
  monkeypatch.setattr(tally, '_LINES_BYTES', 40)
  _, other = prepare(tmp_path, documents, name='parts')
  assert words_of(folder) == words_of(other)


@pytest.mark.parametrize(
  'text',
  [
    'a\nb',
    ' a',
    'a\n',
    'a\n\nb',
    'a \nb',
    'a\n\u3000b',
    'a\x1c\nb',
    'a\n \nb',
    '',
  ],
)
def test_lines_are_stripped_and_blank_ones_left_out(text):
  clean = steps.cleaner({'rules': None, 'repair': False})
  (found,) = clean(pyarrow.record_batch({'text': [text]}))['text'].to_pylist()
  assert found == '\n'.join(x.strip() for x in text.split('\n') if x.strip())


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out/thesis.tex').write_text('x')
  with pytest.raises(UserError, match='holds thesis.tex; set OUTPUT_DIR'):
    prepare(tmp_path, stories(5))
  assert (tmp_path / 'out/thesis.tex').read_text() == 'x'
  # A data set of another program.
  data = tmp_path / 'out/data-00000-of-00001.arrow'
  (tmp_path / 'out/thesis.tex').rename(data)
  with pytest.raises(UserError, match='holds data-00000-of-00001.arrow; set'):
    prepare(tmp_path, stories(5))
  assert data.read_text() == 'x'


@pytest.mark.parametrize(
  'name', ['vocab.txt', 'tokenizer.json', 'tokenizer_config.json']
)
def test_a_vocabulary_without_a_corpus_is_no_preparation(tmp_path, name):
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / name).write_text('mine')
  with pytest.raises(UserError, match=f'holds {name}; set OUTPUT_DIR'):
    prepare(tmp_path, stories(5))
  assert (tmp_path / 'out' / name).read_text() == 'mine'


def test_a_removal_that_is_ended_leaves_what_can_be_removed(
  tmp_path, monkeypatch
):
  _, folder = prepare(tmp_path, stories(5))
  (folder / 'COMPLETED').unlink()
  remove, removed = prepare_corpus.output_files.remove, []

  def one_then_end(path):
    if removed:
      raise KeyboardInterrupt
    removed.append(path)
    remove(path)

  while len([*folder.iterdir()]) > 1:
    removed.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(prepare_corpus.output_files, 'remove', one_then_end)
      prepare(tmp_path, stories(5))
  report, _ = prepare(tmp_path, stories(5))
  assert report['documents_kept'] == 5


@pytest.mark.parametrize(
  'change, words',
  [
    ({'rules': 'gofer'}, "'gofer'.*did you mean 'gopher'.*RULES"),
    ({'rules': ['few_wrods']}, 'RULES'),
    ({'languages': ['english']}, 'LANGUAGES'),
    ({'decontaminate': '/not/there'}, 'DECONTAMINATE'),
    ({'blocked_words': '/not/there'}, 'BLOCKED_WORDS'),
    ({'jaccard': 1.5}, 'Steps.jaccard'),
    ({'languages': []}, 'LANGUAGES'),
  ],
)
def test_steps_that_cannot_be_are_one_line_at_once(change, words):
  with pytest.raises(UserError, match=words) as error:
    Steps(**change)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'name, text, change',
  [
    ('empty.txt', '', 'decontaminate'),
    ('short.txt', 'Too short.\nAs is this.\n', 'decontaminate'),
    ('words.json', '["bad", "worse"]\n', 'blocked_words'),
    ('words.csv', 'word,language\nbad,en\n', 'blocked_words'),
  ],
)
def test_a_file_that_no_document_could_meet_is_refused(
  tmp_path, name, text, change
):
  (tmp_path / name).write_text(text)
  with pytest.raises(UserError, match=f'set {change.upper()}'):
    Steps(**{change: str(tmp_path / name)})


def test_beam_that_is_not_installed_names_what_to_install(
  tmp_path, monkeypatch
):
  monkeypatch.delitem(sys.modules, 'bertjax.corpus.on_beam', raising=False)
  monkeypatch.delattr(corpus, 'on_beam', raising=False)
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  with pytest.raises(UserError, match='requirements-beam.txt') as error:
    prepare(tmp_path, ['A text.'], beam_options='--runner=FnApiRunner')
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'out').exists()


def test_a_dry_run_writes_nothing(tmp_path, capsys):
  (tmp_path / 'a.txt').write_text('One.\n\nTwo.\n')
  out = pathlib.Path(tmp_path / 'out')
  prepare_corpus.prepare(
    str(tmp_path / 'a.txt'), str(out), Steps(), dry_run=True
  )
  assert 'to read' in capsys.readouterr().out and not out.exists()
