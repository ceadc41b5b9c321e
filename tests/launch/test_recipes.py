"""Recipes by name; what --list and --help print of them."""

import pathlib
import re
import shlex

import pytest

from bertjax.errors import UserError
from bertjax.launch import command_line, configuration, gin_files, recipes

FOLDERS = command_line.search_paths()


def resolve(*files):
  return recipes.resolve(files, FOLDERS)


@pytest.mark.parametrize(
  'file', ['quickstart', 'quickstart.gin', 'recipes/quickstart.gin']
)
def test_a_recipe_needs_neither_folder_nor_suffix(file):
  assert gin_files.find(*resolve(file), FOLDERS).endswith(
    'gin_configs/recipes/quickstart.gin'
  )


def test_sizes_and_meshes_have_names_as_well():
  assert resolve('pretrain_text', 'bert_base', 'fsdp') == [
    'recipes/pretrain_text.gin',
    'models/bert_base.gin',
    'meshes/fsdp.gin',
  ]


def test_a_recipe_of_that_name_in_a_folder_of_ones_own_comes_first(tmp_path):
  (tmp_path / 'recipes').mkdir()
  mine = tmp_path / 'recipes' / 'quickstart.gin'
  mine.write_text('A = 1\n')
  folders = [str(tmp_path), *FOLDERS]
  (file,) = recipes.resolve(['quickstart'], folders)
  assert gin_files.find(file, folders) == str(mine)


@pytest.mark.parametrize('order', [1, -1])
def test_a_size_counts_before_the_recipe_and_behind_it(order):
  files = ['pretrain_text', 'bert_base'][::order]
  files, _ = configuration.understand(files, ['TEXT_FILES=x'])
  assert files == ['recipes/pretrain_text.gin', 'models/bert_base.gin']


def test_a_recipe_of_ones_own_counts_before_the_projects_parts(tmp_path):
  mine, more = tmp_path / 'mine.gin', tmp_path / 'more.gin'
  for file in (mine, more):
    file.write_text("include 'models/bert_tiny.gin'\n")
  assert resolve('models/bert_base.gin', str(mine), str(more)) == [
    str(mine),
    'models/bert_base.gin',
    str(more),
  ]
  assert resolve(str(mine), 'quickstart') == [
    'recipes/quickstart.gin',
    str(mine),
  ]
  assert resolve('models/bert_base.gin') == ['models/bert_base.gin']


@pytest.mark.parametrize(
  'file, near',
  [
    ('quikstart', 'quickstart'),
    ('pretrain', 'pretrain_text'),
    ('bert_bas', 'bert_base'),
    ('recipes/quikstart.gin', 'gin_configs/recipes/quickstart.gin'),
  ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(file, near):
  with pytest.raises(UserError, match=f'did you mean .{near}'):
    resolve(file)


def test_there_is_a_line_for_each_recipe():
  lines = recipes.listing().splitlines()
  assert [line.split()[0] for line in lines] == recipes.names()
  for line in lines:
    assert 30 < len(line) <= 100 and line[19] == ' ' != line[20]


@pytest.mark.parametrize('name', recipes.names())
def test_every_macro_of_a_recipe_has_a_meaning(name):
  found = gin_files.read([f'recipes/{name}.gin'], FOLDERS)
  assert [x for x, macro in found.macros.items() if not macro.meaning] == []


def test_help_has_the_comments_and_defaults_of_the_files(tmp_path):
  (tmp_path / 'part.gin').write_text('B = None  # None: off\nC = 1  # a part\n')
  (tmp_path / 'mine.gin').write_text(
    '# Does things.\n#\n#   python ...\n'
    "include 'part.gin'\n# no header\n"
    "B = 'x'  # because\nA = %gin.REQUIRED  # one\n                # or two\n"
  )
  text = recipes.describe('mine.gin', [str(tmp_path)])
  assert text.splitlines() == [
    'Does things.',
    '',
    '  python ...',
    '',
    'Macros, set by --gin.NAME=VALUE:',
    '',
    '  A (required)                    one or two',
    '  B=x                             None: off',
    '  C=1                             a part',
  ]


@pytest.mark.parametrize('name', recipes.names())
def test_help_of_every_recipe_fits_a_terminal(name):
  text = recipes.describe(name, FOLDERS)
  assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize('name', recipes.names())
def test_the_commands_at_the_top_of_a_recipe_are_understood(name):
  path = gin_files.find(f'recipes/{name}.gin', FOLDERS)
  text = '\n'.join(gin_files.header(path)).replace('\\\n', ' ')
  commands = re.findall(r'python -m bertjax\.main (.*)', text)
  assert commands
  for command in commands:
    words = shlex.split(command)
    files = [word for word in words if not word.startswith('--')]
    bindings = [word[6:] for word in words if word.startswith('--gin.')]
    assert len(files) + len(bindings) == len(words)
    configuration.understand(files, bindings)


def following(recipe):
  """The command that a recipe's run names at its end; None without one."""
  (file,) = resolve(recipe)
  read = gin_files.read([file], FOLDERS).parameters
  found = [v for (_, k), v in read.items() if k.endswith('main.run.following')]
  return found[0] if found else None


RECIPES = {path.stem for path in pathlib.Path(FOLDERS[1]).glob('recipes/*.gin')}


def test_runs_that_train_name_a_command_that_follows():
  assert {recipe for recipe in RECIPES if following(recipe)} == {
    'quickstart',
    'quickstart_finetune',
    'pretrain_text',
    'finetune_text',
    'finetune_tags',
    'finetune_questions',
  }


@pytest.mark.parametrize('recipe', sorted(RECIPES))
def test_a_command_that_follows_is_understood(recipe):
  if command := following(recipe):
    words = shlex.split(command.format(shlex.quote("runs/my 'own'")))
    assert words[:3] == ['python', '-m', 'bertjax.main']
    recipes_named = [word for word in words[3:] if not word.startswith('-')]
    bindings = [word.removeprefix('--gin.') for word in words[4:]]
    _, lines = configuration.understand(recipes_named, bindings)
    assert any('runs/my' in line for line in lines)


FILES = ['TRAIN_FILES=a.csv', 'EVAL_FILES=b.csv']


@pytest.mark.parametrize(
  'files, bindings',
  [
    (['finetune_text', 'bert_base'], [*FILES, 'INIT_FROM=runs/x']),
    (
      ['finetune_text'],
      [*FILES, 'INIT_FROM=runs/x', 'config.EncoderConfig.layers=4'],
    ),
    (['quickstart_finetune', 'bert_base'], []),
    (['pretrain_text', 'bert_base'], ['TEXT_FILES=x', 'INIT_FROM=runs/x']),
    (
      ['pretrain_text'],
      ['TEXT_FILES=x', 'INIT_FROM=runs/x', 'EncoderConfig.heads=8'],
    ),
  ],
)
def test_a_size_is_refused_if_the_model_to_start_from_has_its_own(
  files, bindings
):
  with pytest.raises(UserError, match='brings its own .*, so .*; leave it'):
    configuration.understand(files, bindings)


@pytest.mark.parametrize(
  'files, bindings',
  [
    (['finetune_text', 'bert_base'], [*FILES, 'VOCAB_FILE=v.txt']),
    (['quickstart_finetune', 'bert_base'], ['INIT_FROM=none']),
    (
      ['quickstart', 'bert_base'],
      ['VOCAB_FILE=v.txt', 'VOCAB_FILE=none', 'VOCAB_SIZE=30000'],
    ),
    (['quickstart', 'bert_base'], ['VOCAB_FILE=v.txt']),
    (['pretrain_text', 'bert_base'], ['TEXT_FILES=x']),
    (
      ['pretrain_text', 'bert_base'],
      ['TEXT_FILES=x', 'INIT_FROM=runs/x', 'TILE=True'],
    ),
  ],
)
def test_a_size_counts_where_a_model_is_made(files, bindings):
  assert 'models/bert_base.gin' in configuration.understand(files, bindings)[0]


def test_pretraining_may_set_what_is_no_size_beside_its_start():
  bindings = ['EncoderConfig.scan_layers=True', 'EncoderConfig.rotary_base=1e4']
  start = ['TEXT_FILES=x', 'INIT_FROM=runs/x']
  configuration.understand(['pretrain_text'], [*start, *bindings])


@pytest.mark.parametrize('name', ['VOCAB_SIZE=300', 'TOKENIZER=bpe'])
def test_no_vocabulary_is_trained_beside_a_start(name):
  start = ['TEXT_FILES=x', 'INIT_FROM=runs/x']
  with pytest.raises(UserError, match='INIT_FROM is set, so .* has no effect'):
    configuration.understand(['pretrain_text'], [*start, name])
  configuration.understand(['quickstart'], start)


def test_a_recipe_of_ones_own_is_no_size_and_may_lack_the_macro(tmp_path):
  (tmp_path / 'models').mkdir()
  mine = tmp_path / 'models' / 'mine.gin'
  mine.write_text("include 'recipes/quickstart_finetune.gin'\n")
  configuration.understand([str(mine)], [])
  mine.write_text(
    'from bertjax import main\nfrom bertjax.finetuning import finetune\n'
    "main.run.job = @finetune.fine_tune\nfine_tune.init_from = 'runs/x'\n"
  )
  configuration.understand([str(mine)], ['config.EncoderConfig.layers=3'])
