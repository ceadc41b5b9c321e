"""What a shell gives becomes the value that is meant, or is refused."""

import ast

import gin
import pytest

from bertjax.errors import UserError
from bertjax.launch import configuration, macros
from bertjax.launch.gin_files import Configuration, Macro, Reference

# What other recipes require.
REQUIRED = {
  'pretrain_text': ['TEXT_FILES=x'],
  'glue': ['DATA_DIR=x'],
  'finetune_text': ['TRAIN_FILES=x', 'EVAL_FILES=x'],
  'report': [],
  'quickstart': [],
}


def value(recipe, binding):
  """What gin gets for a binding of the command line."""
  _, lines = configuration.understand([recipe], [*REQUIRED[recipe], binding])
  text = lines[-1].partition('=')[2]
  assert gin.config.parse_value(text) == ast.literal_eval(text)
  return ast.literal_eval(text)


def refusal(recipe, binding):
  with pytest.raises(UserError) as error:
    configuration.understand([recipe], [*REQUIRED[recipe], binding])
  return str(error.value)


@pytest.mark.parametrize(
  'recipe, binding, expected',
  [
    ('quickstart', 'RUN_DIR=runs/x', 'runs/x'),
    ('quickstart', 'RUN_DIR="runs/x"', 'runs/x'),
    ('quickstart', "RUN_DIR='runs/x'", 'runs/x'),
    ('quickstart', 'RUN_DIR=2026', '2026'),
    ('quickstart', 'RUN_DIR=1e-4', '1e-4'),
    ('quickstart', 'TEXT_FILES=2026', '2026'),
    ('quickstart', 'RUN_DIR=a,b', 'a,b'),
    ('quickstart', 'RUN_DIR=1,2', '1,2'),
    ('quickstart', 'RUN_DIR=runs/x#1', 'runs/x#1'),
    ('quickstart', 'RUN_DIR=true', 'true'),
    ('quickstart', "RUN_DIR=it's", "it's"),
    ('quickstart', 'RUN_DIR=~/runs/50%', '~/runs/50%'),
    ('quickstart', 'TEXT_FILES=books/*.txt', 'books/*.txt'),
    ('quickstart', 'TEXT_FILES=[ab]*.txt', '[ab]*.txt'),
    ('quickstart', 'TEXT_FILES=a,b.txt', 'a,b.txt'),
    ('quickstart', 'TEXT_FILES=["a.txt", "b.txt"]', ['a.txt', 'b.txt']),
    ('quickstart', 'TRAIN_STEPS=10_000', 10000),
    ('quickstart', 'TRAIN_STEPS=1e5', 100000),
    ('quickstart', 'LEARNING_RATE=1e-4', 1e-4),
    ('quickstart', 'LEARNING_RATE=1', 1),
    ('quickstart', 'NSP=false', False),
    ('quickstart', 'NSP=True', True),
    ('quickstart', 'CASED=true', True),
    ('quickstart', 'INIT_FROM=none', None),
    ('quickstart', 'EVAL_STEPS=None', None),
    ('quickstart', 'EVAL_STEPS=70', 70),
    ('quickstart', 'DTYPE=bfloat16', 'bfloat16'),
    ('quickstart', 'CHANGES=activation,norm', ['activation', 'norm']),
    ('quickstart', 'CHANGES=activation', 'activation'),
    ('quickstart', 'PROFILE_STEPS=100,104', (100, 104)),
    ('quickstart', 'EncoderConfig.recompute=all', 'all'),
    ('quickstart', 'config.EncoderConfig.layers=3', 3),
    ('quickstart', 'config.EncoderConfig.scan_layers=true', True),
    ('glue', 'TASKS=RTE', 'RTE'),
    ('glue', 'TASKS=RTE,MRPC', ['RTE', 'MRPC']),
    ('glue', "TASKS=['RTE', 'MRPC']", ['RTE', 'MRPC']),
    ('glue', 'TASKS=[RTE,MRPC]', ['RTE', 'MRPC']),
    ('glue', 'SEEDS=0', 0),
    ('glue', 'SEEDS=0,1', (0, 1)),
    ('glue', 'SEEDS=[3, 4]', [3, 4]),
    ('glue', 'EPOCHS=2.5', 2.5),
    ('glue', 'CLASS_WEIGHTS=balanced', 'balanced'),
    ('glue', 'CLASS_WEIGHTS=[1, 2.5]', [1, 2.5]),
    ('report', 'RUNS=runs/a,runs/b', ['runs/a', 'runs/b']),
    ('report', 'RUNS=runs/a', 'runs/a'),
    ('finetune_text', 'METRICS=f1', 'f1'),
    ('finetune_text', 'METRICS=f1,accuracy', ['f1', 'accuracy']),
    ('finetune_text', 'TEXT_COLUMNS=a,b', 'a,b'),
    ('finetune_text', 'TEXT_COLUMNS=("a", "b")', ('a', 'b')),
  ],
)
def test_what_a_shell_gives_is_the_value_that_is_meant(
  recipe, binding, expected
):
  found = value(recipe, binding)
  assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
  'binding, expected, got',
  [
    ('TRAIN_STEPS=ten', 'a whole number', "the text 'ten'"),
    ('TRAIN_STEPS="100"', 'a whole number', "the text '100'"),
    ('TRAIN_STEPS=1.5', 'a whole number', 'the number 1.5'),
    ('TRAIN_STEPS=10,000', 'a whole number', '(10, 0)'),
    ('TRAIN_STEPS=True', 'a whole number', 'True'),
    ('LEARNING_RATE=True', 'a number', 'True'),
    ('NSP=no', 'True or False', "the text 'no'"),
    ('NSP=1', 'True or False', 'the number 1'),
    # None by default: what is meant is known from the annotation.
    ('EVAL_STEPS=ten', 'a whole number or None', "the text 'ten'"),
    ('CASED=yes', 'True or False or None', "the text 'yes'"),
    ('PROFILE_STEPS=100', 'several whole numbers or None', 'the number 100'),
    ('EncoderConfig.layers=two', 'a whole number', "the text 'two'"),
    ('CHANGES=(1, 2)', 'a text or several texts', '(1, 2)'),
    ('RUN_DIR=["a"]', 'a text', "['a']"),
    ('PROFILE_STEPS=[1e400, 1]', 'several whole numbers', 'not finite'),
    ('RUN_DIR="a', 'a text', 'not closed'),
    ('TEXT_FILES=["a", "b"', 'a text or several texts', 'not closed'),
  ],
)
def test_what_cannot_be_meant_is_refused(binding, expected, got):
  message = refusal('quickstart', binding)
  assert message.startswith(f'--gin.{binding}: expected {expected}')
  assert got in message


@pytest.mark.parametrize(
  'binding, expected',
  [
    ('EPOCHS=ten', 'a number'),
    ('FROZEN_LAYERS=two', 'a whole number or None'),
    ('SEEDS=a,b', 'a whole number or several whole numbers'),
    ('STRIDE=x', 'a whole number or None'),
  ],
)
def test_values_of_fine_tuning_are_known_as_well(binding, expected):
  assert f'expected {expected}, got' in refusal('glue', binding)


@pytest.mark.parametrize(
  'value', ['%LENGTH', '@optimizer.adamw()', '[%LENGTH]', "{'a': @x/f.g()}"]
)
def test_references_stay(value):
  _, (line,) = configuration.understand(['quickstart'], [f'DROPOUT={value}'])
  assert line == f'DROPOUT={value}'


@pytest.mark.parametrize('binding', ['TRAIN_STEPS', 'TRAIN_STEPS=', 'RUN_DIR='])
def test_a_value_is_expected(binding):
  name = binding.strip('=')
  assert f'--gin.{name}=VALUE' in refusal('quickstart', binding)


def test_a_binding_that_is_no_gin_is_refused_with_itself():
  message = refusal('quickstart', 'RUN DIR=x')
  assert message.startswith('--gin.RUN DIR=x: expected ')


def test_imports_and_includes_are_lines_of_their_own():
  lines = ['import json', 'from bertjax.text import masking']
  assert configuration.understand(['quickstart'], lines)[1] == lines


def test_all_that_is_required_is_named_at_once():
  with pytest.raises(UserError) as error:
    configuration.understand(['finetune_text'], ['TRAIN_FILES=x'])
  assert str(error.value) == (
    'EVAL_FILES is required; set it with --gin.EVAL_FILES=VALUE'
  )
  with pytest.raises(UserError) as error:
    configuration.understand(['finetune_text'], [])
  assert str(error.value) == (
    'TRAIN_FILES and EVAL_FILES are required; set them with '
    '--gin.TRAIN_FILES=VALUE --gin.EVAL_FILES=VALUE'
  )


def test_a_parameter_that_is_parted_from_others_is_told(capsys):
  def told(*bindings, files=('quickstart',)):
    configuration.understand(files, bindings, tell=True)
    return capsys.readouterr().out

  message = told('pipeline.batches.next_sentence=False')
  assert message.startswith(
    'warning: pipeline.batches.next_sentence alone is set, apart from '
  )
  assert 'bert.BertForPreTraining.next_sentence' in message
  assert message.endswith('; set NSP for all\n')
  assert 'set MASK_RATE for all' in told('pipeline.batches.mask_rate=0.3')
  assert not told('NSP=False', 'eval/pipeline.batches.epochs=3')
  assert not told('loop.train.keep=9', 'corpora.from_text.cased=True')


def test_a_macro_of_other_recipes_is_told_from_a_misspelt_one():
  message = refusal('pretrain_text', 'STRIDE=64')
  assert 'no macro STRIDE' in message and 'finetune_questions' in message
  assert 'did you mean' not in message and 'TRAIN_STEPS' not in message
  assert "did you mean 'BATCH_SIZE'" in refusal('pretrain_text', 'BATCHSIZE=4')
  assert "did you mean 'TRAIN_STEPS'" in refusal('quickstart', 'train_step=4')


def test_a_macro_that_only_another_one_uses_is_of_its_kind():
  configuration = Configuration(
    {'A': Macro(3), 'B': Macro(Reference('%A'))},
    {('', 'no.such.function'): Reference('%B')},
  )
  assert macros.as_gin('A=4', configuration) == 'A=4'
  with pytest.raises(UserError, match='a whole number'):
    macros.as_gin('A=four', configuration)


@pytest.mark.parametrize('value', ['0', '(0,)', '[3, 4]'])
def test_one_or_several_values_fit_where_there_are_several(value):
  configuration = Configuration({'SEEDS': Macro((0, 1, 2))})
  found = macros.as_gin(f'SEEDS={value}', configuration)
  assert found == f'SEEDS={value}'
  for wrong in ('1.5', "'a'", 'a'):
    with pytest.raises(UserError, match='SEEDS'):
      macros.as_gin(f'SEEDS={wrong}', configuration)


def understand(folder, *bindings, **files):
  """Understands the last of these files, with bindings of the command line."""
  for name, text in files.items():
    (folder / f'{name}.gin').write_text(text)
  (recipe,) = [str(folder / f'{[*files][-1]}.gin')]
  return configuration.understand([recipe], bindings, [str(folder)])


_TEXT = "include 'recipes/pretrain_text.gin'\nTEXT_FILES = 'a.txt'\n"
_FILE, _SIZE = "VOCAB_FILE = 'v.txt'\n", 'VOCAB_SIZE = 500\n'
_CORPUS = "include 'recipes/pretrain_text.gin'\nCORPUS_DIR = 'c'\n"


@pytest.mark.parametrize(
  'bindings, files',
  [
    (['VOCAB_FILE=v.txt', 'VOCAB_SIZE=500'], {'mine': _TEXT}),
    (['VOCAB_SIZE=500'], {'mine': _TEXT + _FILE}),
    ([], {'mine': _TEXT + _FILE + _SIZE}),
    ([], {'mine': _TEXT + _SIZE + _FILE}),
    ([], {'base': _TEXT + _FILE, 'mine': "include 'base.gin'\n" + _SIZE}),
  ],
)
def test_a_size_beside_a_vocabulary_has_no_effect_wherever_they_are_set(
  tmp_path, bindings, files
):
  with pytest.raises(UserError, match='VOCAB_FILE is set, so VOCAB_SIZE has'):
    understand(tmp_path, *bindings, **files)


@pytest.mark.parametrize(
  'bindings, files',
  [
    (['VOCAB_FILE=v.txt'], {'mine': _TEXT + _SIZE}),
    (['VOCAB_FILE=None', 'VOCAB_SIZE=500'], {'mine': _TEXT + _FILE}),
    ([], {'base': _TEXT + _SIZE, 'mine': "include 'base.gin'\n" + _FILE}),
    ([], {'mine': "include 'recipes/quickstart.gin'\n" + _FILE}),
    (['CORPUS_DIR=c'], {'mine': _TEXT}),
    ([], {'mine': _CORPUS}),
    ([], {'mine': _CORPUS + 'TEXT_FILES = None\n'}),
    ([], {'mine': "include 'recipes/quickstart.gin'\nCORPUS_DIR = 'c'\n"}),
  ],
)
def test_what_a_later_file_or_the_command_line_replaces_has_no_say(
  tmp_path, bindings, files
):
  _, lines = understand(tmp_path, *bindings, **files)
  if 'CORPUS_DIR' in files['mine'] + str(bindings):
    assert 'TEXT_FILES=None' in lines or 'TEXT_FILES = None' in files['mine']


@pytest.mark.parametrize(
  'recipe, bindings, words',
  [
    ('quickstart', ['CORPUS_DIR=c', 'VOCAB_SIZE=9'], 'so VOCAB_SIZE has'),
    ('quickstart', ['CORPUS_DIR=c', 'TOKENIZER=bpe'], 'so TOKENIZER has'),
    (
      'prepare_corpus',
      ['TEXT_FILES=a', 'OUTPUT_DIR=b', 'VOCAB_FILE=v', 'TOKENIZER=wordpiece'],
      'VOCAB_FILE is set, so TOKENIZER has no effect',
    ),
    ('quickstart', ['CORPUS_DIR=c', 'CASED=true'], 'so CASED has no effect'),
    ('quickstart', ['CORPUS_DIR=c', 'TEXT_COLUMN=x'], 'so TEXT_COLUMN has'),
    (
      'quickstart',
      ['CORPUS_DIR=c,d', 'RATES=(1, 2)', 'TEMPERATURE=0.5'],
      'RATES is set, so TEMPERATURE has no effect; leave it out, or set RATES',
    ),
    (
      'data_report',
      ['CORPUS_DIR=c', 'TOKEN_BUDGET=1e6', 'TRAIN_STEPS=9'],
      'TOKEN_BUDGET is set, so TRAIN_STEPS has no effect',
    ),
  ],
)
def test_what_has_no_effect_beside_another_macro_is_refused(
  recipe, bindings, words
):
  with pytest.raises(UserError, match=words):
    configuration.understand([recipe], bindings)


@pytest.mark.parametrize('name', ['pipeline.batches', 'batches'])
def test_a_parameter_that_each_scope_sets_has_no_effect_without_one(name):
  with pytest.raises(UserError) as error:
    configuration.understand(['quickstart'], [f'{name}.split=test'])
  assert str(error.value).endswith(
    f'no effect; set eval/{name}.split or train/{name}.split'
  )
  for binding in ('pipeline.batches.shuffle=False', 'loop.train.keep=3'):
    configuration.understand(['quickstart'], [binding])  # train's, at least
  configuration.understand(['quickstart'], ['eval/pipeline.batches.split=x'])


def test_a_corpus_and_text_in_one_file_are_refused(tmp_path):
  with pytest.raises(UserError, match='CORPUS_DIR takes the place.*TEXT_FILES'):
    understand(tmp_path, mine=_TEXT + "CORPUS_DIR = 'c'\n")


def test_a_configuration_that_a_run_left_is_taken_with_all_its_macros(tmp_path):
  own = ['TEXT_FILES=x', 'VOCAB_FILE=v.txt']
  configuration.parse(['pretrain_text'], own)
  left = gin.config_str()
  gin.clear_config()
  assert 'VOCAB_SIZE = 16384' in left and "VOCAB_FILE = 'v.txt'" in left
  understand(tmp_path, 'TRAIN_STEPS=5', config=left)
  with pytest.raises(UserError, match='so VOCAB_SIZE has no effect'):
    understand(tmp_path, 'VOCAB_SIZE=500', config=left)
