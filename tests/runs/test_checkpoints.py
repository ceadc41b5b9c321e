"""Checkpoints are complete, exact, checked, and never lost to a failure."""

import logging
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bertjax.errors import UserError
from bertjax.runs.checkpoints import Checkpoints

POSITION = {'train/0': b'\x00\xff opaque', 'train/1': b''}


def make_state(seed=0, width=8):
  # More than random bits: what a float format must not normalise away.
  parameters = {
    'dense': {
      'kernel': jax.random.normal(jax.random.key(seed), (width, 4)),
      'bias': jnp.array([0.0, -0.0, jnp.nan, 1e-42], jnp.float32),
    },
    'half': jnp.arange(6, dtype=jnp.bfloat16) / 3,
  }
  optimizer = optax.chain(optax.identity(), optax.adamw(1e-3))
  return {
    'step': jnp.int32(seed),
    'parameters': parameters,
    'optimizer': optimizer.init(parameters),
  }


def abstract(state):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )


def assert_same_bits(first, second):
  assert jax.tree.structure(first) == jax.tree.structure(second)
  for one, other in zip(
    jax.tree.leaves(first), jax.tree.leaves(second), strict=True
  ):
    assert one.dtype == other.dtype
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def save_steps(directory, steps, **arguments):
  with Checkpoints(directory, **arguments) as checkpoints:
    for step in steps:
      checkpoints.save(step, make_state(step), POSITION)


def test_state_and_position_come_back_bit_for_bit(tmp_path):
  save_steps(tmp_path, [7])
  with Checkpoints(tmp_path) as checkpoints:
    state, position, step = checkpoints.restore(abstract(make_state()))
  assert step == 7
  assert position == POSITION
  assert_same_bits(state, make_state(7))


def test_an_empty_directory_restores_nothing(tmp_path):
  with Checkpoints(tmp_path / 'new') as checkpoints:
    assert checkpoints.restore(abstract(make_state())) is None
    assert checkpoints.steps() == []


def test_a_checkpoint_without_position_restores_an_empty_one(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, make_state(3))
    assert checkpoints.restore(abstract(make_state()))[1:] == ({}, 3)


def test_arrays_are_restored_onto_the_given_sharding(tmp_path):
  save_steps(tmp_path, [1])
  mesh = jax.make_mesh((jax.device_count(),), ('data',))
  sharding = jax.NamedSharding(mesh, jax.P())
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
    make_state(),
  )
  with Checkpoints(tmp_path) as checkpoints:
    state, _, _ = checkpoints.restore(shapes)
  for leaf in jax.tree.leaves(state):
    assert leaf.sharding == sharding


def test_the_last_and_every_nth_and_step_zero_are_kept(tmp_path):
  save_steps(tmp_path, range(0, 60, 5), keep=2, keep_every=20)
  with Checkpoints(tmp_path, keep=2, keep_every=20) as checkpoints:
    assert checkpoints.steps() == [0, 20, 40, 50, 55]


def test_a_step_that_is_there_is_not_saved_again(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, make_state(5), POSITION)
    checkpoints.save(5, make_state(6), None)
    state, position, _ = checkpoints.restore(abstract(make_state()))
  assert position == POSITION
  assert_same_bits(state, make_state(5))


def test_an_earlier_step_can_be_asked_for(tmp_path):
  save_steps(tmp_path, [1, 2])
  with Checkpoints(tmp_path) as checkpoints:
    parameters, step = checkpoints.parameters(1)
    assert step == 1
    assert_same_bits(parameters, make_state(1)['parameters'])
    with pytest.raises(UserError, match=r'9 .*not there.*\[1, 2\]'):
      checkpoints.parameters(9)


def test_donating_right_after_a_save_does_not_reach_the_checkpoint(tmp_path):
  size = 1 << 21  # 8 MB, so that the background writing takes a while
  step = jax.jit(
    lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0
  )
  state = {'parameters': {str(i): jnp.zeros(size) for i in range(4)}}
  with Checkpoints(tmp_path, keep=9) as checkpoints:
    for number in range(3):
      checkpoints.save(number, state)
      for _ in range(10):
        state = step(state)
      jax.block_until_ready(state)
    for number in range(3):
      saved, _ = checkpoints.parameters(number)
      for leaf in jax.tree.leaves(saved):
        np.testing.assert_array_equal(leaf, np.float32(10 * number))


def files_of(directory):
  return sorted(p for p in directory.glob('**/*') if p.is_file())


def delete(path):
  path.unlink()


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 4
  path.write_bytes(content)


@pytest.mark.parametrize('damage', [delete, truncate, flip_a_bit])
def test_any_damaged_file_is_noticed_or_harmless(tmp_path, damage, capsys):
  save_steps(tmp_path / 'good', [1, 2])
  names = [
    p.relative_to(tmp_path / 'good') for p in files_of(tmp_path / 'good/2')
  ]
  outcomes = {}
  for number, name in enumerate(names):
    directory = tmp_path / str(number)
    shutil.copytree(tmp_path / 'good', directory)
    damage(directory / name)
    with Checkpoints(directory) as checkpoints:
      state, position, step = checkpoints.restore(abstract(make_state()))
    assert position == POSITION
    assert_same_bits(state, make_state(step))
    outcomes[name.as_posix()] = step
    assert (step == 1) == ('is damaged' in capsys.readouterr().out), name
  # Every file of the two items is covered; Orbax's marks of success lie
  # outside, and may be ignored.
  for name, step in outcomes.items():
    if name.count('/') > 1 and not name.endswith('commit_success.txt'):
      assert step == 1, name


def test_a_damaged_step_can_be_saved_again(tmp_path, capsys):
  save_steps(tmp_path, [10, 20], keep=1)
  save_steps(tmp_path, [30], keep=2)
  truncate(max(files_of(tmp_path / '30'), key=lambda p: p.stat().st_size))
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.restore(abstract(make_state()))[2] == 20
    for step in (25, 30):
      checkpoints.save(step, make_state(step), POSITION)
    assert checkpoints.restore(abstract(make_state()))[2] == 30
    assert checkpoints.steps() == [25, 30]
  assert 'using the one before it' in capsys.readouterr().out
  assert list(tmp_path.glob('30.corrupt-*'))


def test_a_reader_changes_nothing(tmp_path):
  save_steps(tmp_path, [1, 2])
  truncate(max(files_of(tmp_path / '2'), key=lambda p: p.stat().st_size))
  before = files_of(tmp_path)
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.restore(abstract(make_state()))[2] == 1
  assert files_of(tmp_path) == before


def test_checkpoints_that_are_all_damaged_end_the_run_each_time(tmp_path):
  save_steps(tmp_path, [1, 2])
  for step in '12':
    truncate(max(files_of(tmp_path / step), key=lambda p: p.stat().st_size))
  before = files_of(tmp_path)
  for read_only in (False, False, True):
    with Checkpoints(tmp_path, read_only=read_only) as checkpoints:
      for read in (
        checkpoints.parameters,
        lambda: checkpoints.restore(abstract(make_state())),  # noqa: B023
      ):
        with pytest.raises(UserError, match='all .* damaged .2: .* 1: ') as e:
          read()
        assert '\n' not in str(e.value)
  assert files_of(tmp_path) == before


def rename(folder):
  (folder / '2').rename(folder / '3')


def copy(folder):
  shutil.copytree(folder / '2', folder / '3')


def swap(folder):
  (folder / '1').rename(folder / 'x')
  (folder / '2').rename(folder / '1')
  (folder / 'x').rename(folder / '2')


@pytest.mark.parametrize(
  'change, name, inside', [(rename, 3, 2), (copy, 3, 2), (swap, 2, 1)]
)
def test_a_folder_that_holds_another_step_is_refused(
  tmp_path, change, name, inside
):
  save_steps(tmp_path, [1, 2])
  change(tmp_path)
  words = f'/{name} holds the state of step {inside}, so it was renamed'
  with Checkpoints(tmp_path) as checkpoints:
    for read, arguments in (
      (checkpoints.restore, [abstract(make_state())]),
      (checkpoints.parameters, []),
      (checkpoints.parameters, [name]),
    ):
      with pytest.raises(UserError, match=words) as raised:
        read(*arguments)
      assert '\n' not in str(raised.value)


@pytest.mark.parametrize('name', ['last', '04', '4-copy'])
def test_a_checkpoint_by_another_name_than_a_step_is_refused(tmp_path, name):
  save_steps(tmp_path, [0, 4])
  (tmp_path / '4').rename(tmp_path / name)
  with Checkpoints(tmp_path) as checkpoints:
    with pytest.raises(UserError, match=f'/{name} holds .* is no step, so'):
      checkpoints.restore(abstract(make_state()))
    with pytest.raises(UserError, match=f'/{name} holds .* is no step, so'):
      checkpoints.parameters()


def test_an_unfinished_checkpoint_is_ignored(tmp_path):
  save_steps(tmp_path, [1])
  shutil.copytree(tmp_path / '1', tmp_path / '2.orbax-checkpoint-tmp')
  (tmp_path / '3').mkdir()  # as after a crash of the machine
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.restore(abstract(make_state()))[2] == 1


@pytest.mark.parametrize(
  'change, words',
  [
    (
      lambda s: make_state(width=16),
      r'parameters/dense/kernel is float32'
      r'\[8, 4\] there and float32\[16, 4\] here',
    ),
    (lambda s: s | {'extra': jnp.ones(2)}, r'extra is absent there'),
    (lambda s: {k: s[k] for k in ('step', 'parameters')}, r'absent here'),
    (lambda s: s | {'step': jnp.float32(0)}, r'step is int32\[\] there'),
  ],
  ids=['another width', 'more', 'less', 'another dtype'],
)
def test_another_model_is_refused_with_names_and_shapes(
  tmp_path, change, words
):
  save_steps(tmp_path, [1])
  with Checkpoints(tmp_path) as checkpoints:
    with pytest.raises(UserError, match=words) as raised:
      checkpoints.restore(abstract(change(make_state())))
  assert '\n' not in str(raised.value)


def test_a_full_disk_is_one_line_and_the_checkpoint_before_survives(
  tmp_path, capfd
):
  state = {'x': jax.random.normal(jax.random.key(0), (300_000,))}
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state, POSITION)
    checkpoints.wait()
    try:  # a limit on the size of files fails as a full disk does
      resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
      with pytest.raises(UserError, match='File too large.*RUN_DIR') as raised:
        checkpoints.save(2, state, POSITION)
        checkpoints.wait()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert '\n' not in str(raised.value)
    assert checkpoints.steps() == [1]
    restored, _, step = checkpoints.restore(abstract(state))
    assert step == 1
    assert_same_bits(restored, state)
  assert 'Traceback' not in ''.join(capfd.readouterr())


def test_too_little_space_is_refused_before_anything_is_written(
  tmp_path, monkeypatch
):
  state = {'x': jnp.zeros(300_000)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
      shutil, 'disk_usage', lambda _: usage._replace(free=1_100_000)
    )
    with pytest.raises(UserError, match='up to 1.2 MB .* has 1.1 MB left'):
      checkpoints.save(2, state)
    assert checkpoints.steps() == [1]


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write a checkpoint') as raised:
    Checkpoints(tmp_path / 'file' / 'checkpoints')
  assert '\n' not in str(raised.value)


def test_logs_of_other_libraries_stay(tmp_path, caplog):
  save_steps(tmp_path, [])
  with caplog.at_level(logging.ERROR):
    logging.getLogger('absl').error('from elsewhere')
  assert 'from elsewhere' in caplog.text
