import pytest

from bertjax.errors import UserError
from bertjax.launch import command_line


def test_gin_flags_become_bindings():
  assert command_line.arguments(
    ['x', '--gin_file=a', '--gin.A=1', '-gin.b.c=2', '--gin.D', '3']
  ) == [
    'x',
    '--gin_file=a',
    '--gin_bindings=A=1',
    '--gin_bindings=b.c=2',
    '--gin_bindings=D=3',
  ]


def test_the_configurations_of_the_checkout_are_found():
  paths = command_line.search_paths()
  command_line.check_files(
    ['recipes/quickstart.gin', 'gin_configs/recipes/plan.gin'], paths
  )
  with pytest.raises(UserError, match='mean .gin_configs/recipes/quickstart'):
    command_line.check_files(['recipes/quikstart.gin'], paths)


@pytest.mark.parametrize('quote', ['', '"', "'"])
def test_a_model_that_is_not_there_is_refused(tmp_path, quote):
  wrong = tmp_path / 'nowhere'
  with pytest.raises(UserError, match=f'no directory {wrong}; point MODEL'):
    command_line.check_model(['LENGTH=3', f'MODEL={quote}{wrong}{quote}'])
  wrong.write_text('a file')
  with pytest.raises(UserError, match='no directory'):
    command_line.check_model([f'MODEL = {quote}{wrong}{quote}'])
  command_line.check_model([f'MODEL={quote}{tmp_path}{quote}'])
  with pytest.raises(UserError, match='hf download google-bert/bert-base-unc'):
    command_line.check_model([f'MODEL={quote}bert-base-uncased{quote}'])


def test_a_model_that_only_its_reader_can_see_is_left_to_it():
  command_line.check_model(
    ['MODEL="gs://bucket/run"', 'MODEL=%RUN', 'MODEL=@f()', 'INIT_FROM=nowhere']
  )
