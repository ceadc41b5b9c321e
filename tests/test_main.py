import os
import pathlib
import signal
import subprocess
import sys
import time

import gin
import pytest

from bertjax import main
from bertjax.errors import RunStopped, UserError
from bertjax.launch import configuration
from bertjax.runs import gin_bindings

ROOT = pathlib.Path(main.__file__).parent.parent
RECIPE = 'gin_configs/recipes/pretrain_text.gin'


@pytest.fixture(autouse=True)
def fresh_gin():
  gin.clear_config()
  yield
  gin.clear_config()


def parse(*bindings, files=(RECIPE,)):
  configuration.parse(files, bindings)
  bound = gin_bindings.parse(gin.config_str())
  return {name: bound[name] for name in bound if name.isidentifier()}


def refusal(*bindings, files=(RECIPE,)):
  with pytest.raises(UserError) as error:
    parse(*bindings, files=files)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_macros_are_set_and_later_files_win():
  macros = parse(
    "TEXT_FILES='x.txt'",
    'TRAIN_STEPS=7',
    files=(RECIPE, 'models/bert_tiny.gin'),
  )
  assert macros['TRAIN_STEPS'] == '7'
  assert gin.query_parameter('bertjax.models.config.EncoderConfig.layers') == 2


def test_only_one_of_the_projects_recipes_is_taken(tmp_path):
  message = refusal(files=(RECIPE, 'recipes/plan.gin'))
  assert f'got {RECIPE} and recipes/plan.gin' in message
  assert '--gin_file=runs/plan.gin' in message
  (tmp_path / 'recipes').mkdir()
  part = tmp_path / 'recipes' / 'mine.gin'
  part.write_text('TRAIN_STEPS = 7\n')
  assert (
    parse("TEXT_FILES='x'", files=(RECIPE, str(part)))['TRAIN_STEPS'] == '7'
  )


def test_a_misspelt_macro_is_refused_with_the_nearest():
  message = refusal("TEXT_FILES='x'", 'BATCHSIZE=3')
  assert 'BATCHSIZE' in message and 'BATCH_SIZE' in message


def test_a_macro_that_only_a_file_sets_and_nothing_uses_is_refused(tmp_path):
  file = tmp_path / 'mine.gin'
  file.write_text(f"include '{RECIPE}'\nTEXT_FILES = 'x'\nSTEPS = 3\n")
  assert 'STEPS' in refusal(files=(str(file),))


def test_a_misspelt_parameter_is_refused_with_the_nearest():
  message = refusal("TEXT_FILES='x'", 'loop.train.keepp=3')
  assert "'keepp'" in message and "'keep'" in message


def test_a_misspelt_function_is_refused_with_the_nearest():
  message = refusal("TEXT_FILES='x'", 'lop.train.keep=3')
  assert "'loop.train'" in message


@pytest.mark.parametrize(
  'binding, words',
  [
    ('EncoderConfig.widht=8', "did you mean 'width'"),
    ('MaskedLanguageModel.chunk=8', "did you mean 'chunks'"),
    ('BertForPreTraining.nsp=True', 'It has config, next_sentence'),
  ],
)
def test_a_misspelt_field_of_a_class_is_refused_with_the_nearest(
  binding, words
):
  assert words in refusal("TEXT_FILES='x'", binding)


@pytest.mark.parametrize(
  'line, near',
  [
    ('from bertjax.models import cofnig', "did you mean 'config'"),
    ('from bertjax.modles import config', "did you mean 'models'"),
    ('from bertjax import source', 'moved since bertjax 0.1'),
  ],
)
def test_a_misspelt_module_is_refused_with_the_nearest(line, near, tmp_path):
  file = tmp_path / 'mine.gin'
  start = "from __gin__ import dynamic_registration\ninclude 'recipes/"
  file.write_text(f"{start}quickstart.gin'\n{line}\n", 'utf-8-sig')
  assert near in refusal(files=(str(file),))


@pytest.mark.parametrize(
  'binding, words',
  [
    (
      'BertForPreTraining.config=@config.EncoderConfig',
      'write @config.EncoderConfig(); set bert.BertForPreTraining.config',
    ),
    (
      "loop.train.evaluations={'eval': @evaluation.HeldOut}",
      'expected Evaluation, got the function @evaluation.HeldOut itself',
    ),
    ("loop.train.evaluations={'eval': 5}", "Evaluation, got {'eval': 5}"),
    (
      'BertForPreTraining.config=@objectives.MaskedLanguageModel()',
      'expected EncoderConfig, got @objectives.MaskedLanguageModel()',
    ),
  ],
)
def test_a_reference_to_what_does_not_fit_is_refused(binding, words):
  assert words in refusal("TEXT_FILES='x'", binding)


def test_a_scope_that_nothing_uses_is_refused_with_the_nearest(tmp_path):
  line = 'trian/pipeline.batches.shuffle=False'
  wanted = "nothing uses the scope trian (did you mean 'train'?)"
  assert refusal("TEXT_FILES='x'", line) == wanted
  parse("TEXT_FILES='x'", 'SEED=%any/SEED', 'any/SEED=3')  # a macro's name
  file = tmp_path / 'mine.gin'
  file.write_text(f"include 'recipes/quickstart.gin'\n{line}\n")
  assert refusal(files=(str(file),)) == wanted


def test_what_is_required_is_named():
  assert refusal() == (
    'TEXT_FILES is required; set it with --gin.TEXT_FILES=VALUE, or '
    '--gin.CORPUS_DIR=VALUE in its place'
  )


@pytest.mark.parametrize('text', ['runs/x', '"runs/x"', "'runs/x'"])
def test_a_string_needs_no_quotes(text):
  assert parse('TEXT_FILES=a*.txt', f'RUN_DIR={text}')['RUN_DIR'] == "'runs/x'"


def test_files_that_are_required_need_no_quotes():
  macros = parse(
    'INPUT=in.txt',
    'OUTPUT=x/out.npy',
    'MODEL=runs/x',
    files=('recipes/embed.gin',),
  )
  assert macros['INPUT'] == "'in.txt'" and macros['OUTPUT'] == "'x/out.npy'"


def test_a_number_is_a_string_where_a_string_is_wanted():
  assert parse("TEXT_FILES='x'", 'RUN_DIR=2026')['RUN_DIR'] == "'2026'"


@pytest.mark.parametrize(
  'binding, expected',
  [
    ('NSP=no', 'True or False'),
    ('TRAIN_STEPS="100"', 'a whole number'),
    ('TRAIN_STEPS=ten', 'a whole number'),
    ('TRAIN_STEPS=1.5', 'a whole number'),
    ('LEARNING_RATE=True', 'a number'),
    ('TRAIN_STEPS', '--gin.TRAIN_STEPS=VALUE'),
    ('TRAIN_STEPS=[1', 'a whole number'),
  ],
)
def test_a_value_of_another_type_is_refused(binding, expected):
  assert expected in refusal("TEXT_FILES='x'", binding)


def test_whole_numbers_are_numbers_and_none_is_off():
  macros = parse(
    "TEXT_FILES='x'",
    'LEARNING_RATE=1',
    'EVAL_STEPS=5',
    'CHECKPOINT_STEPS=None',
    'WARMUP_STEPS=3',
  )
  assert macros['LEARNING_RATE'] == '1' and macros['EVAL_STEPS'] == '5'


def test_a_recipe_that_does_not_exist_is_refused_with_the_nearest():
  message = refusal(files=('gin_configs/recipes/quikstart.gin',))
  assert 'recipes/quickstart.gin' in message


def test_recipes_are_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in (RECIPE, 'recipes/pretrain_text.gin'):
    parse("TEXT_FILES='x'", files=(name,))


def test_a_folder_of_ones_own_comes_before_the_projects(tmp_path):
  (tmp_path / 'models').mkdir()
  (tmp_path / 'models' / 'bert_tiny.gin').write_text('TRAIN_STEPS = 7\n')
  configuration.parse(
    [RECIPE, 'models/bert_tiny.gin'], ["TEXT_FILES='x'"], [str(tmp_path)]
  )
  assert gin_bindings.parse(gin.config_str())['TRAIN_STEPS'] == '7'


def test_configuration_can_be_read_back(tmp_path):
  parse("TEXT_FILES='x'", 'MASK_UNIT=span')
  before = gin.config_str()
  file = tmp_path / 'config.gin'
  file.write_text(before)
  gin.clear_config()
  configuration.parse([str(file)], [])
  assert gin.config_str() == before


def test_a_text_of_a_parameter_needs_no_quotes_either():
  parse('TEXT_FILES=x', 'EncoderConfig.recompute=all')
  assert gin.query_parameter('config.EncoderConfig.recompute') == 'all'


def command(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'bertjax.main', *arguments],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )


def test_a_size_before_the_recipe_counts():
  parse('TEXT_FILES=x', files=('bert_tiny', 'pretrain_text'))
  assert gin.query_parameter('config.EncoderConfig.layers') == 2


@pytest.mark.parametrize(
  'arguments, status, words',
  [
    (('--help',), 0, '--gin_file'),
    (('-h',), 0, '--gin_file'),
    (('--list',), 0, 'pretrain_text'),
    (('--help', 'pretrain_text'), 0, 'TEXT_FILES (required)'),
    (('pretrain_text', '--help'), 0, 'TEXT_FILES (required)'),
    (('--gin_file=recipes/glue.gin', '--helpfull'), 0, 'DATA_DIR (required)'),
    (('--help', 'quikstart'), 2, "did you mean 'quickstart'"),
    (('quikstart',), 2, "did you mean 'quickstart'"),
    (('quickstart', '--gin.STRIDE=3'), 2, 'no macro STRIDE'),
    (('quickstart', '--gin.LENGHT=3'), 2, "did you mean 'LENGTH'"),
    (('quickstart', '--gin.LENGTH=long'), 2, 'a whole number'),
    (('quickstart', '--gin.LENGTH', '--dry_run'), 2, '--gin.LENGTH=VALUE'),
    (('quickstart', 'LENGTH=3'), 2, 'did you mean --gin.LENGTH=3'),
    (('quickstart', '--LENGTH=3'), 2, 'did you mean --gin.LENGTH'),
    (('quickstart', '--learning_rate', '1'), 2, 'mean --gin.LEARNING_RATE;'),
    (('quickstart', '--output_dir=x'), 2, 'did you mean --gin.RUN_DIR;'),
    (('--config=x.gin',), 2, 'did you mean --gin_file;'),
    (('quickstart', '--gin.SEED:5'), 2, 'is expected: --gin.SEED=VALUE'),
    (('quickstart', '--gin.LOG-STEPS=5'), 2, 'did you mean --gin.LOG_STEPS'),
    (('quickstart', '--gin_search_paths=no'), 2, "there, got 'no'; set --gin"),
    (
      ('pretrain_text', '--gin.TEXT_FILES=README.md', 'CHANGELOG.md'),
      2,
      "CHANGELOG.md is no gin file; quote the glob: --gin.TEXT_FILES='*.md'",
    ),
    (('README.md',), 2, 'README.md is no gin file; a recipe is a name'),
    (('pretrain_text',), 2, 'TEXT_FILES is required'),
    (('bert_base',), 2, 'expected a recipe'),
    (('quickstart', ' '), 2, 'expected a recipe, got an empty word'),
  ],
)
def test_what_needs_no_model_is_answered_without_jax(arguments, status, words):
  code = (
    'import sys; from bertjax import main\n'
    'status = main.main(sys.argv)\n'
    "assert not {'jax', 'tensorflow'} & {*sys.modules}\n"
    'sys.exit(status)'
  )
  started = time.monotonic()
  result = subprocess.run(
    [sys.executable, '-c', code, *arguments],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert time.monotonic() - started < 10  # a third of a second, if alone
  assert result.returncode == status, result.stderr
  assert words in (result.stderr if status else result.stdout)
  assert result.stderr.count('\n') == (status > 0)


def test_help_ends_quietly_when_its_reader_has_gone():
  process = subprocess.Popen(
    [sys.executable, '-m', 'bertjax.main', '--help'],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    cwd=ROOT,
  )
  process.stdout.close()
  assert process.stderr.read() == b'' and process.wait() == 0
  process.stderr.close()


def test_a_mistake_is_one_line_of_a_process_as_well(tmp_path, errors):
  result = command(
    f'--gin_file={RECIPE}',
    '--gin.TEXT_FILES=/nowhere/*.txt',
    f'--gin.RUN_DIR={tmp_path}',
  )
  assert result.returncode == 2, result
  assert len(errors(result.stderr)) == 1, result.stderr


@pytest.mark.parametrize('seconds', [0.3, 1, 2])
def test_ctrl_c_during_the_imports_is_one_line(tmp_path, seconds, errors):
  with subprocess.Popen(
    [
      sys.executable,
      '-m',
      'bertjax.main',
      f'--gin_file={RECIPE}',
      '--gin.TEXT_FILES=python_documentation',
      f'--gin.RUN_DIR={tmp_path}',
    ],
    stderr=subprocess.PIPE,
    text=True,
    cwd=ROOT,
  ) as process:
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=20)[1]
  assert process.returncode == 130, error
  (line,) = errors(error)
  assert line.startswith('bertjax: interrupted')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='Linux alone')
def test_a_full_disk_behind_standard_output_is_one_line(errors):
  with open('/dev/full', 'w') as full:
    result = subprocess.run(
      [
        *(sys.executable, '-m', 'bertjax.main', '--dry_run'),
        '--gin_file=gin_configs/recipes/quickstart.gin',
      ],
      stdout=full,
      stderr=subprocess.PIPE,
      text=True,
      cwd=ROOT,
    )
  assert result.returncode == 2, result.stderr
  (line,) = errors(result.stderr)
  assert 'No space left' in line and line.startswith('bertjax: ')


def test_a_model_without_an_architecture_is_one_line(tmp_path, capsys, errors):
  file = tmp_path / 'mine.gin'
  file.write_text(
    "include 'recipes/quickstart.gin'\n"
    'from __gin__ import dynamic_registration\n'
    'from bertjax.models import bert\n'
    'from bertjax.training import objectives\n'
    'objectives.MaskedLanguageModel.model = @bert.Bert()\n'
  )
  assert main.main(['main', str(file), '--dry_run']) == 2
  (line,) = errors(capsys.readouterr().err)
  assert 'expected values for config of Bert, got none; bind' in line


@pytest.mark.parametrize(
  'arguments, words',
  [
    (['quickstart', '--gin.LENGTH=%LENGTH'], 'LENGTH stands for itself'),
    (
      ['quickstart', '--gin.LENGTH=%SEED', '--gin.SEED=%LENGTH'],
      'stands for itself; set it with --gin.',
    ),
    (['quickstart', '--gin.TEXT_FILES={{}}'], 'TEXT_FILES'),
    (['pretrain_text', '--gin.MODEL=bert-base-uncased'], 'no macro MODEL'),
    (['predict', '--gin.MODEL='], 'a value is expected'),
  ],
)
def test_what_has_no_value_of_its_own_is_one_line(
  arguments, words, capsys, errors
):
  assert main.main(['main', *arguments]) == 2
  (line,) = errors(capsys.readouterr().err)
  assert words in line


@pytest.mark.parametrize('said', ['RESOURCE_EXHAUSTED: Out of memory', 'else'])
def test_memory_that_is_not_enough_is_one_line(
  tmp_path, monkeypatch, capsys, errors, said
):
  name = f'job_{len(said)}'  # gin keeps what it has registered
  (tmp_path / f'{name}.py').write_text(
    f'def job(dry_run):\n  raise RuntimeError({said!r})\n'
  )
  monkeypatch.syspath_prepend(str(tmp_path))
  file = tmp_path / 'own.gin'
  file.write_text(
    'from __gin__ import dynamic_registration\n'
    f'from bertjax import main\nimport {name}\n'
    f'main.run.job = @{name}.job\n'
  )
  if said == 'else':
    with pytest.raises(RuntimeError, match='else'):
      main.main(['main', str(file)])
  else:
    assert main.main(['main', str(file)]) == 1
    (line,) = errors(capsys.readouterr().err)
    assert f'{said}; set BATCH_SIZE or LENGTH to less' in line


def test_a_file_that_lacks_an_import_is_one_line(tmp_path, capsys, errors):
  text = (ROOT / 'gin_configs' / 'recipes' / 'quickstart.gin').read_text()
  file = tmp_path / 'own.gin'
  file.write_text(text + 'forgotten.steps = %STEPS\nSTEPS = 3\n')
  assert main.main(['main', str(file), '--gin.STEPS=5']) == 2
  (line,) = errors(capsys.readouterr().err)
  assert 'forgotten' in line


def test_a_model_that_is_not_there_is_told_before_slow_imports():
  code = (
    'import sys\n'
    'from bertjax import main\n'
    "arguments = ['predict', '--gin.MODEL=nowhere', '--gin.INPUT=x.txt']\n"
    "arguments += ['--gin.OUTPUT=x.jsonl']\n"
    "assert main.main(['main', *arguments]) == 2\n"
    "slow = {'jax', 'flax', 'orbax', 'tensorflow', 'numpy'}\n"
    'assert not slow & sys.modules.keys(), slow & sys.modules.keys()\n'
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
  )
  assert result.returncode == 0, result
  assert 'no directory nowhere; point MODEL' in result.stderr


@pytest.mark.parametrize(
  'arguments',
  [
    (),
    ('--gin_fil=x',),
    ('quikstart',),
    ('--gin_file=nowhere.gin',),
    ('quickstart', 'LENGTH=64'),
    (f'--gin_file={RECIPE}', '--gin.TEXT_FILES=x', '--gin.BATCHSIZE=3'),
    (f'--gin_file={RECIPE}', '--gin.TEXT_FILES=/nowhere/*.txt'),
    (
      f'--gin_file={RECIPE}',
      '--gin.TEXT_FILES=python_documentation',
      '--gin.LENGTH=1024',
    ),
  ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, tmp_path, capfd, errors):
  where = '--gin.RUN_DIR=' + str(tmp_path / 'run')
  status = main.main(
    ['main', *arguments, where if len(arguments) > 1 else '--nodry_run']
  )
  error = capfd.readouterr().err
  assert status == 2, error
  (line,) = errors(error)
  assert line.startswith('bertjax: ')


def test_a_dry_run_prints_and_leaves_nothing(tmp_path, capfd):
  run_dir = tmp_path / 'run'
  status = main.main(
    [
      'main',
      '--gin_file=gin_configs/recipes/quickstart.gin',
      '--dry_run',
      f'--gin.RUN_DIR={run_dir}',
    ]
  )
  output, error = capfd.readouterr()
  assert status == 0, error
  assert 'BATCH_SIZE = ' in output
  assert 'parameters: ' in output
  assert 'tokens           int32[' in output
  assert not run_dir.exists()


def test_statuses_tell_mistakes_from_runs_that_stopped():
  assert UserError('x').status == 2 and RunStopped('x', 143).status == 143
