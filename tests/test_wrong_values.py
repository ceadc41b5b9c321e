"""Wrong values of all macros of all recipes: one line each, before any work.

What a macro takes is written here by hand, not read from the annotations that
are tried. What only a file or another value can make wrong is tested where that
is known.
"""

import functools
import pathlib
import re

import gin
import pytest

from bertjax.errors import UserError
from bertjax.launch import configuration

RECIPES = pathlib.Path(__file__).parent.parent / 'gin_configs' / 'recipes'
# Kind -> values that are never of it, as a shell gives them.
WRONG = {
  'count': ('ten', '0', '-1', '1.5', 'true', '10_000_000_000', '[1]', "''"),
  'vocabulary': ('ten', '0', '-1', '1.5', 'true', '999_999_999', '[1]'),
  'natural': ('ten', '-1', '1.5', 'true', '[1]'),
  'seed': ('ten', '-1', '1.5', str(2**63), 'false'),
  'positive': ('ten', '0', '-1', '1e400', 'true', '[1.0]'),
  'rate': ('ten', '1', '-0.1', '1e400', 'true', '[0.1]'),
  'share': ('ten', '0', '1', '-0.1', 'true'),
  'mask_rate': ('ten', '1', '-0.1', 'true'),  # 0 beside noise
  'learning_rate': ('ten', '0', '-1', '1e10', 'true', '(1e-4, 1e-5)'),
  'flag': ('yes', '2', '0.5', '[True]', "'ten'"),
  'path': ("''", '[5]', '(1, 2)'),
  'folder': ("''", '[5]', 'gs://bucket/x', 'caf\udce9'),
  'local': ("''", '[5]', 'gs://bucket/x', 'caf\udce9'),
  'locals': ("''", '[5]', "['a', '']", 'gs://bucket/x', '{}'),
  'rates': ('ten', '3', '(-1, 2)', '(1e400, 1)', '(True, 1)', '{}'),
  'temperature': ('hot', '-1', '1e400', 'true', '(0.7, 0.3)', '{}'),
  'unit': ('sentence', 'Word', '5', "['word']"),
  'name': ('[5]', '{}', '(1, 2)'),
  'names': ('[5]', "['a', 5]", '{}', "['']"),
  'rules': ('[5]', '{}', "['']"),
  'paths': ("''", '[5]', "['a', '']", "['a', 5]"),
}
# Macro -> kind of what it takes, and whether it takes None.
MACROS = {
  'TRAIN_STEPS': ('count', False),
  'BATCH_SIZE': ('count', None),
  'LENGTH': ('count', None),
  'VOCAB_SIZE': ('vocabulary', False),
  'LOG_STEPS': ('count', None),
  'EVAL_STEPS': ('count', True),
  'CHECKPOINT_STEPS': ('count', True),
  'EVALUATIONS': ('count', None),
  'PATIENCE': ('count', True),
  'STRIDE': ('count', True),
  'TOP_K': ('count', False),
  'WARMUP_STEPS': ('natural', True),
  'FROZEN_LAYERS': ('natural', True),
  'FRESH_LAYERS': ('natural', None),
  'STEP': ('natural', True),
  'SEED': ('seed', False),
  'SEEDS': ('seed', False),
  'EPOCHS': ('positive', True),
  'TOKEN_BUDGET': ('positive', True),
  'LAYER_DECAY': ('positive', None),
  'DROPOUT': ('rate', None),
  'HEAD_DROPOUT': ('rate', True),
  'MASK_RATE': ('mask_rate', False),
  'NOISE_RATE': ('share', None),
  'LEARNING_RATE': ('learning_rate', None),
  'NSP': ('flag', False),
  'CASED': ('flag', True),
  'PACK': ('flag', None),
  'FROM_MNLI': ('flag', False),
  'NORMALIZE': ('flag', False),
  'OVERWRITE': ('flag', False),
  'ALLOW_DIFFERENCE': ('flag', False),
  'IMPORTANCE': ('flag', True),
  'RUN_DIR': ('folder', None),
  'MODEL': ('folder', False),
  'INIT_FROM': ('folder', True),
  'VOCAB_FILE': ('path', True),
  'DATA_DIR': ('path', False),
  'OUTPUT': ('folder', None),
  'OUTPUT_DIR': ('local', False),
  'CORPUS_DIR': ('locals', None),
  'RATES': ('rates', None),
  'TEMPERATURE': ('temperature', False),
  'PAIRS': ('name', False),
  'MASK_UNIT': ('unit', False),
  'NOISE': ('name', True),
  'LANGUAGES': ('names', True),
  'RULES': ('rules', True),
  'DECONTAMINATE': ('paths', True),
  'BLOCKED_WORDS': ('path', True),
  'BEAM_OPTIONS': ('name', True),
  'REPAIR': ('flag', False),
  'EXACT_DUPLICATES': ('flag', False),
  'NEAR_DUPLICATES': ('flag', False),
  'PARAGRAPHS': ('flag', False),
  'PERSONAL_DATA': ('flag', False),
  'GROUPS': ('folder', True),
  'LABEL_COLUMN': ('path', None),
  'TEXT_FILES': ('paths', False),
  'TRAIN_FILES': ('paths', False),
  'EVAL_FILES': ('paths', None),
  'INPUT': ('paths', False),
  'RUNS': ('paths', False),
}


def macros_of(recipe):
  """Returns the macros that a recipe or its parts define."""
  text = (RECIPES / recipe).read_text()
  parts = re.findall(r"^include '(.*)'", text, re.MULTILINE)
  texts = [text, *((RECIPES.parent / part).read_text() for part in parts)]
  return sorted(set(re.findall(r'^([A-Z_]+) = ', '\n'.join(texts), re.M)))


CASES = [
  (recipe.stem, macro, value)
  for recipe in sorted(RECIPES.glob('*.gin'))
  for macro in macros_of(recipe.name)
  if macro in MACROS
  for value in WRONG[MACROS[macro][0]]
] + [
  (recipe.stem, macro, 'None')
  for recipe in sorted(RECIPES.glob('*.gin'))
  for macro in macros_of(recipe.name)
  if macro in MACROS and MACROS[macro][1] is False
]


@functools.cache
def required(recipe):
  text = (RECIPES / f'{recipe}.gin').read_text()
  return re.findall(r'^([A-Z_]+) = %gin\.REQUIRED', text, re.MULTILINE)


@pytest.fixture(autouse=True)
def _clean():
  yield
  gin.clear_config()


def parse(recipe, *bindings):
  given = {binding.partition('=')[0] for binding in bindings}
  if 'CORPUS_DIR' in given:  # takes its place
    given |= {'TEXT_FILES'}
  others = [f'{name}=x.txt' for name in required(recipe) if name not in given]
  configuration.parse([recipe], [*others, *bindings])


def test_the_table_is_large():
  assert len(CASES) >= 400


@pytest.mark.parametrize('recipe', sorted({recipe for recipe, *_ in CASES}))
def test_a_recipe_refuses_wrong_values_in_one_line_that_names_the_macro(recipe):
  parse(recipe)  # right ones pass
  wrong = []
  for _, macro, value in (case for case in CASES if case[0] == recipe):
    gin.clear_config()
    try:
      parse(recipe, f'{macro}={value}')
    except UserError as error:
      message = str(error)
      if macro not in message or '\n' in message or 'got' not in message:
        wrong.append(f'{macro}={value}: {message}')
    except Exception as error:
      wrong.append(f'{macro}={value}: {error!r}')
    else:
      wrong.append(f'{macro}={value}: accepted')
  assert not wrong, '\n'.join(wrong)
