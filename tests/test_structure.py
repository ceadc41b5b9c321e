"""The dependencies between packages, read from the sources and proven."""

import ast
import collections
import io
import pathlib
import re
import subprocess
import sys
import tokenize
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / 'bertjax').rglob('*.py'))
TENSORFLOW = {
  'tensorflow',
  'tensorflow_text',
  'tensorflow_datasets',
  'seqio',
}
# Which files alone import it. Beam is handed objects of its own classes, so
# these files cannot be imported without it, and whoever names no BEAM_OPTIONS
# never imports them.
BEAM, ON_BEAM = 'apache_beam', ('on_beam.py', 'beam_options.py')
# What gives Python objects for bytes, and may run code on the way. That no
# library does so behind them is watched in test_end_to_end.py.
UNPICKLING = {
  'pickle',
  '_pickle',
  'marshal',
  'shelve',
  'copyreg',
  'multiprocessing',
  'dill',
  'cloudpickle',
  'joblib',
  'torch',
}
# Package -> other packages of bertjax that it may import. From the bottom up;
# nobody imports data but gin files, tests and notebooks.
ALLOWED = {
  '__init__': set(),
  'errors': set(),
  'values': {'errors'},
  'without_pandas': set(),
  'batch': {'errors', 'values'},
  'parallel': {'batch', 'errors', 'values'},
  'text': {'batch', 'errors', 'values'},
  'models': {'batch', 'errors', 'parallel', 'values'},
  'interop': {'errors', 'models', 'text', 'values'},
  'runs': {
    'batch',
    'errors',
    'interop',
    'models',
    'parallel',
    'text',
    'values',
  },
  'training': {'batch', 'errors', 'models', 'parallel', 'runs', 'values'},
  'tasks': {'batch', 'errors', 'models', 'parallel', 'runs', 'text', 'values'},
  'inference': {
    'batch',
    'errors',
    'interop',
    'models',
    'parallel',
    'runs',
    'tasks',
    'text',
    'values',
  },
  'finetuning': {
    'batch',
    'errors',
    'inference',
    'interop',
    'models',
    'parallel',
    'runs',
    'tasks',
    'text',
    'training',
    'values',
  },
  'inspection': {
    'batch',
    'errors',
    'inference',
    'models',
    'runs',
    'text',
    'training',
    'values',
  },
  'plan': {'errors', 'models', 'parallel', 'runs', 'training', 'values'},
  'reporting': {'errors', 'runs', 'values'},
  'corpus': {
    'batch',
    'errors',
    'parallel',
    'runs',
    'text',
    'values',
    'without_pandas',
  },
  'data': {
    'batch',
    'corpus',
    'errors',
    'interop',
    'parallel',
    'runs',
    'tasks',
    'text',
    'values',
  },
  'launch': {'errors', 'interop', 'parallel', 'runs', 'values'},
  'main': {'errors', 'launch', 'parallel', 'runs', 'values', 'without_pandas'},
}
# Package -> most lines of code that it may have: formatted, without docstrings,
# comments, blank lines and imports. Whoever needs more raises the number, and
# says here what for.
BUDGET = {
  # Checks all values by their annotations; begins paths at home, and refuses
  # NUL in them.
  'values': 168,  # how large a vocabulary may be, and keys of tables
  'without_pandas': 13,
  'errors': 24,  # checks values for all, in one form
  # Says what is wrong with a batch, for any set of keys; has the keys that
  # noise adds, and rates with two bounds.
  # jax is imported only by whoever needs it. Rates of masks may be 0.
  'batch': 125,
  'parallel': 269,  # a mesh of no device; the kind of the mesh's devices
  # Reads files of all forms for corpora, tasks and predictions, which data and
  # tasks did in part, and tells some forty kinds of file by their first bytes.
  # A digest of the vocabulary, which a full disk does not halve. Checks the
  # size of small files, and the form of what is in those of JSON. Follows links
  # to folders, and refuses names that cannot be printed. Tells which
  # pairs are one sentence, cut. Checks all of tokenizer.json, and that it has
  # the tokens of vocab.txt.
  # Refuses JSON and HTML in plain text, and a column of tables without tables.
  # The vocabulary, which data had; an order that is computed; tells pages of
  # the web from text.
  # Four noises beside the masks (159), two more kinds of pairs (79), rates that
  # each sequence draws (20). Counts cut sentences of any kind of pairs.
  # Garbage behind bz2 is refused, as behind the others.
  # Reads, checks, builds and writes byte-level BPE, and shows its tokens (334).
  # Special tokens without a role are shown as they are.
  # Yields no empty block; HTML has one beginning wherever it is asked for (4).
  # Rows of RoBERTa and ModernBERT (59), vocab.json with merges.txt (30),
  # the settings for transformers, which interop had (41), and ids that
  # config.json has of special tokens (14).
  'text': 2140,
  # Tables for what comes after BERT; poolings, which inference had; how many
  # layers there may be. A head that detects noise, and its FLOPs.
  # Makes a large model of a small one (72).
  # Windows on TPUs: a kernel forward and backward (190), splash with blocks of
  # their size, and what checks both. Parts of later encoders.
  'models': 1357,
  # Names the attributes of config.json that make no sense, the download of a
  # model, what to set if there is none, heads that have no counterpart, and
  # what to do if weights are missing.
  # Two families beside BERT: their tables (365, of which BERT's had 100), what
  # they share (125), and which head a tensor's name stands for. What a
  # config.json cannot say is found by reading back what would be written.
  'interop': 1133,
  # INIT_FROM with CHANGES; model.json tells what a run is trained for.
  # The one plotter and the one writer of JSON, which others had as well.
  # Refuses checkpoints that were renamed or are all damaged, and a vocabulary
  # that was altered.
  # Keeps what stands at OUTPUT; says the form of every JSON file of a run.
  # Draws sweeps as well, which drew themselves; has words, ticks and a legend
  # for all that is drawn. Compares a checkpoint with what model.json calls for.
  # Knows JSON that a recipe made, and draws bars, for the report of a corpus.
  # Draws what guessing reaches, where no baseline was measured.
  # Writes no run into a prepared corpus.
  # A vocabulary in one of two files, and as people read it.
  # Architecture and vocabulary of INIT_FROM, for pretraining (102); averages
  # of checkpoints (39).
  'runs': 1434,
  # An objective owns what others knew of losses; several and frozen models.
  # Titles for metrics, which readers of runs show. Names what a run waits for.
  # Signals are noted from the first step on, by all at once; a metric to select
  # by and a model that do not fit are refused before anything is made.
  # So are a metric that no evaluation gives and an iterator without a position,
  # and pairs that a model learns from and the data lacks.
  # A table of what a model is to say in pretraining, in place of two losses.
  # Baselines of losses, an AUC of rare labels, labels that nobody reads.
  # The piece that begins a text is shown as a word. Fresh layers bring a fresh
  # head of predictions.
  'training': 1475,
  # Encodes and decodes for prediction as well; looks at labels and at schemes
  # of tags before they are trained on and scored on, and says where. Compares
  # task.json with the head; says what a file that cannot be meant seems to be.
  # Tells tags of a near-miss of a scheme, and columns that are swapped.
  # Refuses metrics and tasks that are named twice, and columns of plain text.
  # What fills a mask that begins a text is a word.
  'tasks': 1598,
  # OVERWRITE, as the next ones; says what texts are in Python.
  # Refuses more tokens for a mask than there are. A card names the family.
  # Masks are filled by a decoder without a parameter, too.
  # Averages of checkpoints, and their place on the card (32).
  'inference': 432,
  # Checks the results that it reads, and explains the columns of its table.
  # Tells what of a configuration INIT_FROM replaces.
  # Refuses STRIDE where no task has windows.
  # And more steps than can be.
  'finetuning': 415,
  # Labels of axes; checks what Python gives; tells a text that is a file.
  # Refuses a layer that is named twice.
  'inspection': 446,
  # Blocks that kernels leave out, and the time of kernels by a roofline (37).
  'plan': 693,
  # Checks that references compare like with like; compares runs of two lengths
  # under their own schedules, and knows a leak by its cause.
  # Looks at the form of a reference that was edited.
  # Knows runs that were shortened, and has words for metrics.
  # The report of a corpus, on the page that the report of runs had alone.
  # Shows what guessing reaches beside what was reached.
  # Languages, licences, noise, and mixtures of corpora there.
  'reporting': 1187,
  # From text to token shards and batches, which data did with TensorFlow (1,607
  # lines): tokenizes by a memory of words, works in several processes, writes
  # and maps shards with checksums, mixes corpora at rates that change.
  # Measures a corpus for its report (680 lines): one pass of counts in flat
  # memory, sampled rows, topics, groups of words.
  # Cleans text by published rules, finds duplicates and contamination, reads
  # web pages and WARC, and reports (1,262).
  # The same in units on a cluster: their stages, what they tell each other,
  # files that all machines see; options, pipelines and errors of Beam (739).
  # Turns pages into text in several processes; reads WET; names licences (100).
  # Measures languages, noise, drawn rates and mixtures for the report (213).
  # Takes a long document in parts (30).
  # Puts noise, pairs and masks together, and refuses what does not go together.
  # Trains byte-level BPE from counts, and tokenizes it by the same memory of
  # words; finds words in its ids (126).
  # Looks at all parts of index.json and at the pieces of a shard; tells a
  # corpus of other settings, a vocabulary of another language, evaluation files
  # that no document could meet, or that have grown since, and rates of another
  # form (136).
  # Puts a space before documents alone; counts the words of sentences (26).
  # Tells a vocabulary from a preparation that was ended, repeated paragraphs
  # from exact duplicates, lines that rules took from no text; a bad byte of a
  # page, an empty split, and rates beside a temperature (15).
  # Two separators in a pair (6).
  'corpus': 5099,
  # The door of seqio to the same rows, and what else needs TensorFlow; hands
  # what rows are like through.
  # A task that cannot be shuffled is one line.
  # Spells and encodes byte-level BPE. The names of its checkpoints' family.
  'data': 579,
  # Reads gin files and annotations without importing what they name, so that
  # the command line takes what a shell gives, and answers at once; ends at
  # once at Ctrl-C and SIGTERM, also within C++.
  # Finds what is meant by flags of other tools and by globs without quotes.
  # Refuses references that do not fit, and scopes that nothing uses.
  # Refuses macros that an include replaces, and sizes without an effect; tells
  # a parameter that is parted from others of its macro; explains what has no
  # value; hides the stack of jax's C++.
  # Knows that a corpus takes the place of text.
  # Refuses a size beside INIT_FROM in pretraining, too.
  # Knows which macros have no effect beside another one, wherever they are set,
  # and parameters that every scope sets for itself.
  'launch': 1132,
  # A full disk behind standard output is one line; gives `launch` gin's parser
  # for --help RECIPE and --list; checks the values of a recipe.
  # Memory that is not enough is one line, and so is an empty word.
  'main': 152,
}


def imports(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def package(path):
  return path.relative_to(ROOT / 'bertjax').parts[0].removesuffix('.py')


@pytest.mark.parametrize('path', SOURCES, ids=lambda p: str(p.name))
def test_imports_go_in_one_direction(path):
  for name in imports(path):
    top, *rest = name.split('.')
    if top == 'bertjax' and rest and rest[0] != package(path):
      assert rest[0] in ALLOWED[package(path)], f'{path.name} imports {name}'
    if top in TENSORFLOW:
      assert path.name == 'quiet_tensorflow.py', f'{path.name} imports {name}'
    if top == BEAM:
      assert path.name in ON_BEAM, f'{path.name} imports {name}'
    if top == 'gin':
      assert package(path) in ('main', 'launch'), f'{path.name} imports {name}'


def test_everything_but_data_works_without_tensorflow_and_beam():
  modules = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in SOURCES
    if package(path) not in ('data', '__init__')
    and path.name not in ('__init__.py', *ON_BEAM)
  ]
  assert 'bertjax.training.loop' in modules
  code = (
    'import sys, importlib\n'
    f'for name in {sorted(TENSORFLOW | {BEAM})}: sys.modules[name] = None\n'
    f'for name in {modules}: importlib.import_module(name)\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_nothing_is_unpickled():
  for path in SOURCES:
    for name in imports(path):
      assert name.split('.')[0] not in UNPICKLING, f'{path.name} imports {name}'
    for word in ('allow_pickle=True', 'read_pickle', 'torch.load'):
      assert word not in path.read_text(), f'{path.name}: {word}'


def test_one_file_knows_orbax():
  users = {
    path.name
    for path in SOURCES
    if any(name.split('.')[0] == 'orbax' for name in imports(path))
  }
  assert users == {'checkpoints.py'}


def test_objectives_alone_know_losses_by_name():
  loss = re.compile('mlm|nsp|next_sentence')
  for path in SOURCES:
    if package(path) in (
      'training',
      'plan',
      'runs',
      'reporting',
    ) and path.name not in ('objectives.py', 'parts.py'):
      assert not loss.search(path.read_text()), path


def test_no_two_files_share_a_name():
  names = collections.Counter(
    path.name for path in SOURCES if path.name != '__init__.py'
  )
  assert {name for name, count in names.items() if count > 1} == set()


def test_tests_mirror_the_library():
  folders = {path.parent.relative_to(ROOT / 'bertjax') for path in SOURCES}
  for path in (ROOT / 'tests').rglob('test_*.py'):
    folder = path.parent.relative_to(ROOT / 'tests')
    if str(folder) in ('.', 'experiments'):
      continue
    assert folder in folders, f'{path} tests a package that is not there'


def test_importing_the_model_opens_no_socket_and_starts_no_thread():
  code = """
import jax, flax.linen, jax.experimental.multihost_utils
import sys, threading
def refuse(event, arguments):
  assert not event.startswith(('socket.', '_thread.start')), event
sys.addaudithook(refuse)
before = threading.active_count()
import bertjax.models.bert, bertjax.training.step, bertjax.inference.predictor
assert threading.active_count() == before
"""
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def code_lines(source):
  """Lines without docstrings, comments, blank lines and imports."""
  nothing = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
  )
  lines = set()
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type not in nothing:
      lines.update(range(token.start[0], token.end[0] + 1))
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      lines -= set(range(node.lineno, node.end_lineno + 1))
    elif isinstance(
      node, (ast.Module, ast.ClassDef, ast.FunctionDef)
    ) and ast.get_docstring(node, clean=False):
      docstring = node.body[0]
      lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
  return len(lines)


def test_public_functions_have_annotations():
  def missing(function):
    arguments = function.args
    everything = [
      *arguments.posonlyargs,
      *arguments.args,
      *arguments.kwonlyargs,
      *filter(None, (arguments.vararg, arguments.kwarg)),
    ]
    if function.name != '__init__' and function.returns is None:
      yield 'return'
    for one in everything:
      if one.annotation is None and one.arg not in ('self', 'cls'):
        yield one.arg

  found = []
  for path in SOURCES:
    bodies = [ast.parse(path.read_text()).body]
    for node in bodies[0]:
      if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
        bodies.append(node.body)
    found += [
      f'{path.relative_to(ROOT)}:{node.lineno} {node.name}: {name}'
      for body in bodies
      for node in body
      if isinstance(node, ast.FunctionDef)
      and (node.name == '__init__' or not node.name.startswith('_'))
      for name in missing(node)
    ]
  assert not found, '\n'.join(found)


def test_the_counter_counts_code_alone():
  source = '''"""A module."""

import os
# a comment
X = (
  1,
)
def f():
  """Says.

  More."""
  return """
two lines"""
'''
  assert code_lines(source) == 6


@pytest.mark.parametrize('name', BUDGET)
def test_a_package_keeps_to_its_budget(name):
  lines = sum(
    code_lines(path.read_text()) for path in SOURCES if package(path) == name
  )
  assert 0 < lines <= BUDGET[name]


def test_every_package_has_a_budget():
  assert BUDGET.keys() == ALLOWED.keys() - {'__init__'}


def test_the_package_itself_imports_nothing():
  assert not list(imports(ROOT / 'bertjax' / '__init__.py'))


def test_every_package_is_installed():
  with open(ROOT / 'pyproject.toml', 'rb') as file:
    installed = set(tomllib.load(file)['tool']['setuptools']['packages'])
  folders = {path.parent for path in SOURCES if path.name == '__init__.py'}
  packages = {'.'.join(path.relative_to(ROOT).parts) for path in folders}
  assert packages <= installed


def test_every_other_file_is_installed_with_its_package():
  with open(ROOT / 'pyproject.toml', 'rb') as file:
    setuptools = tomllib.load(file)['tool']['setuptools']
  folders, patterns = setuptools['package-dir'], setuptools['package-data']
  installed = {
    path
    for name, globs in patterns.items()
    for glob in globs
    for path in (ROOT / folders.get(name, name.replace('.', '/'))).glob(glob)
  }
  files = {
    path
    for folder in ('bertjax', 'gin_configs')
    for path in (ROOT / folder).rglob('*')
    if path.is_file() and path.suffix not in ('.py', '.pyc')
  }
  assert files and files <= installed
