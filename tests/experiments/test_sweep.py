"""Sweeps: their plan, resume, failures, tables, search and submission.

The runs are a script that writes what a run leaves, within milliseconds.
"""

import concurrent.futures
import dataclasses
import json
import math
import pathlib
import signal
import subprocess
import sys
import threading
import time

import gin
import optuna
import pytest

from bertjax.errors import UserError
from experiments import sweep
from experiments.sweeping import execute, gather, plan, search, spec

ROOT = pathlib.Path(__file__).parents[2]
FILES = ('recipes/pretrain_text.gin',)

# Its loss is the learning rate; above 1 it fails. LENGTH is how long it waits
# before its end, with a first loss that is told.
FAKE = """
import json, os, pathlib, sys, time
flags = dict(f.removeprefix('--gin.').split('=', 1)
             for f in sys.argv[1:] if f.startswith('--gin.'))
folder = pathlib.Path(eval(flags['RUN_DIR']))
folder.mkdir(parents=True, exist_ok=True)
with open(folder / 'launches', 'a') as file:
  file.write('x')
rate = eval(flags['LEARNING_RATE'])
if rate > 1:
  print('bertjax: LEARNING_RATE is too high', 'step 5', sep='\\n')
  sys.exit(2)
if rate < 0:
  os.kill(os.getpid(), 9)
if rate == 0:
  sys.exit()
if 'LENGTH' in flags and rate > 0.4:
  (folder / 'metrics.jsonl').write_text(
      json.dumps({'step': 10, 'eval/mlm_loss': rate}) + '\\n')
  time.sleep(eval(flags['LENGTH']))
(folder / 'metrics.jsonl').write_text(''.join(
    json.dumps({'step': step, 'eval/mlm_loss': rate + eval(flags['SEED']) / 10,
                'speed/step_seconds': 0.5}) + '\\n' for step in (10, 20, 30)))
(folder / 'flags').write_text(json.dumps(flags))
"""


def make(rates=(0.1, 0.2), **settings):
  return sweep.Sweep(
    **{
      'files': FILES,
      'bindings': {'TEXT_FILES': 'python_documentation'},
      'grid': {'LEARNING_RATE': rates},
      'metric': 'eval/mlm_loss',
      'program': (sys.executable, '-c', FAKE),
      **settings,
    }
  )


def launches(folder):
  return {
    str(path.relative_to(folder).parent.parent): len(path.read_text())
    for path in folder.rglob('run/launches')
  }


def test_a_sweep_is_every_point_with_every_seed(tmp_path):
  frame = sweep.run(make(seeds=(0, 1)), str(tmp_path / 'out'), at_once=2)
  assert frame['LEARNING_RATE'].tolist() == [0.1, 0.1, 0.2, 0.2]
  assert frame['SEED'].tolist() == [0, 1, 0, 1]
  assert frame['eval/mlm_loss'].tolist() == pytest.approx([0.1, 0.2, 0.2, 0.3])
  table = (tmp_path / 'out' / 'results.md').read_text()
  assert '| 0.1 | 0.1500 (0.1000 to 0.2000) | 2 of 2 |' in table
  assert (tmp_path / 'out' / 'results.png').stat().st_size > 1000
  lines = (tmp_path / 'out' / 'results.jsonl').read_text().splitlines()
  assert [json.loads(line)['seed'] for line in lines] == [0, 1, 0, 1]


def test_what_is_done_is_left_and_what_failed_is_tried_again(tmp_path):
  output = tmp_path / 'out'
  frame = sweep.run(make((0.1, 2.0, 0.3)), str(output))
  assert frame['status'].tolist() == ['done', 'failed', 'done']
  assert frame['error'][1] == 'bertjax: LEARNING_RATE is too high'
  assert 'failed: bertjax: LEARNING_RATE' in (output / 'results.md').read_text()
  sweep.run(make((0.1, 2.0, 0.3)), str(output))
  assert launches(output) == {
    'LEARNING_RATE=0.1/seed_0': 1,
    'LEARNING_RATE=2/seed_0': 2,
    'LEARNING_RATE=0.3/seed_0': 1,
  }


def test_runs_without_a_result_say_why_and_are_tried_again(tmp_path):
  made = make((-1.0, 0.0, 0.1))
  for _ in range(2):
    frame = sweep.run(made, str(tmp_path / 'out'))
    assert frame['status'].tolist() == ['failed', 'failed', 'done']
    assert frame['error'][0] == 'killed by SIGKILL'
    assert 'there is no eval/mlm_loss in' in frame['error'][1]
  assert launches(tmp_path / 'out')['LEARNING_RATE=0/seed_0'] == 2
  frame = sweep.run(make(program=('/nowhere/python',)), str(tmp_path / 'new'))
  assert frame['error'].str.contains('FileNotFoundError.*/nowhere').all()


SLOW = """
import sys
from experiments import sweep
SWEEP = sweep.Sweep(
    files=('recipes/pretrain_text.gin',), metric='eval/mlm_loss',
    bindings={{'TEXT_FILES': 'python_documentation', 'LENGTH': {wait}}},
    {points}, program=(sys.executable, '-c', {fake!r}))
"""
GRID = "grid={'LEARNING_RATE': (0.5, 0.1)}"
SEARCH = "search=sweep.Search({'LEARNING_RATE': (0.5, 0.6)}, 2, prune=False)"


@pytest.mark.parametrize('points', [GRID, SEARCH])
def test_a_sweep_that_is_ended_ends_its_run_and_goes_on(tmp_path, points):
  path = tmp_path / 'slow.py'
  command = [
    sys.executable,
    '-m',
    'experiments.sweep',
    str(path),
    '--output',
    str(tmp_path / 'out'),
  ]
  path.write_text(SLOW.format(wait=600, points=points, fake=FAKE))
  process = subprocess.Popen(
    command, cwd=ROOT, stderr=subprocess.PIPE, text=True
  )
  while not (lives := [*(tmp_path / 'out').rglob('metrics.jsonl')]):
    assert process.poll() is None
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  assert process.communicate(timeout=60)[1].splitlines() == [
    'sweep: interrupted; the same command goes on'
  ]
  assert process.returncode == 130
  (result,) = execute.read_all(str(tmp_path / 'out'))
  assert result['status'] == 'stopped' and 'ended' in result['error']
  assert (
    subprocess.run(  # the run itself is gone
      ['pgrep', '-f', str(lives[0].parent)], stdout=subprocess.DEVNULL
    ).returncode
    == 1
  )
  if points == SEARCH:  # the same sweep, less the wait
    path.write_text(
      SLOW.format(
        wait=600,
        points=points,
        fake=FAKE.replace('time.sleep(eval', 'str(eval'),
      )
    )
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    results = execute.read_all(str(tmp_path / 'out'))
    assert lives[0].parent.parent.as_posix() in [
      result['folder'] for result in results if result['status'] == 'done'
    ]


# As a run does: it saves before it ends, which takes a second, and holds a lock
# of its own for so long.
SAVES = """
import fcntl, json, os, pathlib, signal, sys, time
flags = dict(f.removeprefix('--gin.').split('=', 1)
             for f in sys.argv[1:] if f.startswith('--gin.'))
folder = pathlib.Path(eval(flags['RUN_DIR']))
folder.mkdir(parents=True, exist_ok=True)
lock = open(folder / '.lock', 'w')
try:
  fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
  sys.exit('bertjax: RUN_DIR is in use')
saved = folder / 'saved'
def save(*_):
  time.sleep(1)
  saved.touch()
  sys.exit(143)
signal.signal(signal.SIGTERM, save)
if not saved.exists():
  (folder / 'alive').touch()
  time.sleep(600)
(folder / 'metrics.jsonl').write_text('{"step": 10, "eval/mlm_loss": 0.5}\\n')
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='asks its kernel')
def test_a_sweep_that_is_killed_ends_its_run_and_goes_on(tmp_path):
  path = tmp_path / 'slow.py'
  points = "grid={'LEARNING_RATE': (0.5,)}"
  path.write_text(SLOW.format(wait=600, points=points, fake=SAVES))
  command = [sys.executable, '-m', 'experiments.sweep', str(path)]
  command += ['--output', str(tmp_path / 'out')]
  process = subprocess.Popen(command, cwd=ROOT)
  while not [*(tmp_path / 'out').rglob('alive')]:
    assert process.poll() is None
    time.sleep(0.1)
  process.kill()
  process.wait()
  assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0
  (result,) = execute.read_all(str(tmp_path / 'out'))
  # The first had saved and was gone, else it would hold its lock.
  assert result['status'] == 'done', result


def test_a_grid_may_grow_and_other_bindings_are_another_sweep(tmp_path):
  output = str(tmp_path / 'out')
  sweep.run(make((0.1,)), output)
  sweep.run(make((0.1, 0.2)), output)
  assert launches(tmp_path / 'out')['LEARNING_RATE=0.1/seed_0'] == 1
  with pytest.raises(UserError, match='holds a sweep with other .*--output'):
    sweep.run(
      make(bindings={'TEXT_FILES': 'python_documentation', 'LENGTH': 64}),
      output,
    )
  with pytest.raises(UserError, match='holds a sweep with other'):
    sweep.run(
      make(
        then=sweep.Stage(
          FILES, {'TEXT_FILES': 'python_documentation'}, 'eval/mlm_loss'
        )
      ),
      output,
    )


def test_a_sweep_may_be_of_seeds_alone(tmp_path):
  frame = sweep.run(
    make(
      grid={},
      seeds=(1, 2),
      bindings={'TEXT_FILES': 'python_documentation', 'LEARNING_RATE': 0.1},
    ),
    str(tmp_path / 'out'),
  )
  assert frame['eval/mlm_loss'].tolist() == pytest.approx([0.2, 0.3])
  assert (tmp_path / 'out' / 'results.png').stat().st_size > 1000


def test_minutes_become_steps_once_for_all_seeds(tmp_path):
  made = make(
    (0.1,),
    seeds=(0, 1),
    bindings={
      'TEXT_FILES': 'python_documentation',
      'TRAIN_STEPS': sweep.Minutes(2),
    },
  )
  sweep.run(made, str(tmp_path / 'out'))
  for seed in (0, 1):
    flags = json.loads(
      (
        tmp_path
        / 'out'
        / 'LEARNING_RATE=0.1'
        / f'seed_{seed}'
        / 'run'
        / 'flags'
      ).read_text()
    )
    assert flags['TRAIN_STEPS'] == '240'  # of half a second each
  assert len(list((tmp_path / 'out').rglob('measured'))) == 1


def test_a_second_stage_starts_from_the_first(tmp_path):
  then = sweep.Stage(
    files=('recipes/pretrain_text.gin',),
    metric='eval/mlm_loss',
    bindings={'LEARNING_RATE': 0.7, 'TEXT_FILES': 'python_documentation'},
  )
  frame = sweep.run(make((0.1,), then=then), str(tmp_path / 'out'))
  folder = tmp_path / 'out' / 'LEARNING_RATE=0.1' / 'seed_0'
  flags = json.loads((folder / 'then' / 'flags').read_text())
  assert flags['INIT_FROM'] == repr(str(folder / 'run'))
  assert frame['eval/mlm_loss'].tolist() == [0.1]
  assert frame['then/eval/mlm_loss'].tolist() == [0.7]


@pytest.mark.parametrize(
  'content, words',
  [
    ('', 'expected JSON'),
    ('{"point": {"LEARNING_RATE": 0.1}, "se', 'expected JSON'),
    ('[' * 100_000, 'expected JSON'),
    ('[]', 'expected an object'),
    ('{"status": "done"}', "expected 'point'"),
    ('{"point": {}, "seed": "0"}', "a whole number as 'seed'"),
    (' ' * (5 << 20), 'at most 4 MB'),
  ],
)
def test_a_damaged_result_is_one_line(tmp_path, content, words):
  made = make((0.1,))
  sweep.run(made, str(tmp_path))
  path = tmp_path / 'LEARNING_RATE=0.1' / 'seed_0' / 'result.json'
  path.write_text(content)
  for read in (
    lambda: sweep.run(made, str(tmp_path)),
    lambda: execute.read_all(str(tmp_path)),
  ):
    with pytest.raises(UserError, match=words) as caught:
      read()
    assert str(path) in str(caught.value) and 'remove it' in str(caught.value)
    assert '\n' not in str(caught.value)
  path.unlink()
  assert sweep.run(made, str(tmp_path))['status'].tolist() == ['done']
  (tmp_path / 'sweep.json').write_text(content)
  with pytest.raises(UserError, match='sweep.*set --output') as caught:
    sweep.run(made, str(tmp_path))


@pytest.mark.parametrize(
  'name, content',
  [
    ('results.json', '{"tasks": [{"task": "a"}]}'),
    ('results.json', '{'),
    ('metrics.jsonl', '{"step": 1, "eval/mlm_loss": "low"}\n'),
  ],
)
def test_damaged_files_of_a_run_are_why_it_failed(tmp_path, name, content):
  run_dir = tmp_path / 'LEARNING_RATE=0.1' / 'seed_0' / 'run'
  run_dir.mkdir(parents=True)
  (run_dir / name).write_text(content)
  program = (sys.executable, '-c', 'pass')
  frame = sweep.run(make((0.1,), program=program), str(tmp_path))
  assert frame['status'].tolist() == ['failed']
  (error,) = frame['error']
  assert error.startswith('expected ') and name in error


@pytest.mark.parametrize('content', ['', '{}', '{"TRAIN_STEPS": "many"}'])
def test_damaged_steps_are_why_a_run_failed(tmp_path, content):
  (tmp_path / 'LEARNING_RATE=0.1').mkdir()
  (tmp_path / 'LEARNING_RATE=0.1' / 'steps.json').write_text(content)
  minutes = {'TRAIN_STEPS': sweep.Minutes(2)}
  bindings = {'TEXT_FILES': 'python_documentation', **minutes}
  frame = sweep.run(make((0.1,), bindings=bindings), str(tmp_path))
  (error,) = frame['error']
  assert error.startswith('expected ') and 'steps.json' in error


def test_a_sweep_may_move_and_begin_at_home(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'a.txt').write_text('text')
  made = make((0.1,), bindings={'TEXT_FILES': '~/a.txt'})
  with pytest.raises(UserError, match='on this machine, got .gs://bucket'):
    sweep.run(made, 'gs://bucket/out')
  sweep.run(made, '~/out')
  (tmp_path / 'out').rename(tmp_path / 'moved')
  frame = sweep.run(made, str(tmp_path / 'moved'))
  folder = tmp_path / 'moved' / 'LEARNING_RATE=0.1' / 'seed_0'
  assert frame['folder'].tolist() == [str(folder)]
  assert launches(tmp_path / 'moved') == {'LEARNING_RATE=0.1/seed_0': 1}
  flags = json.loads((folder / 'run' / 'flags').read_text())
  assert flags['TEXT_FILES'] == "'~/a.txt'"  # the run expands it


def test_scores_of_a_task_are_a_metric(tmp_path):
  (tmp_path / 'results.json').write_text(
    json.dumps(
      {
        'tasks': [
          {
            'task': 'SST-2',
            'metrics': ['accuracy'],
            'scores': {'eval/accuracy': [0.5, 0.9, 0.7]},
            'seeds': [0, 1, 2],
            'best_run': 'SST-2/seed_1',
            'published': None,
          }
        ]
      }
    )
  )
  assert execute.value_of(str(tmp_path), 'SST-2/accuracy') == 0.7


def test_a_search_goes_on_where_it_was_and_finds_the_low_end(tmp_path):
  output = str(tmp_path / 'out')

  def searched(trials):
    return make(
      grid=None,
      search=sweep.Search(
        {'LEARNING_RATE': sweep.Range(0.001, 0.9, logarithmic=True)}, trials
      ),
    )

  assert len(sweep.run(searched(3), output)) == 3
  frame = sweep.run(searched(5), output)
  assert len(frame) == len(launches(tmp_path / 'out')) == 5
  assert len(sweep.run(searched(5), output)) == 5
  rows = (tmp_path / 'out' / 'results.jsonl').read_text().splitlines()
  assert len(rows) == 5
  other = make(grid=None, search=sweep.Search({'LEARNING_RATE': (0.1, 0.2)}, 5))
  with pytest.raises(UserError, match='opened with another space'):
    sweep.run(other, output)
  with pytest.raises(UserError, match='opened with another higher_is_better'):
    sweep.run(dataclasses.replace(searched(5), higher_is_better=True), output)
  assert '5 runs, 5 done' in sweep.describe(searched(5), output)


def test_a_bad_run_of_a_search_is_ended_early(tmp_path):
  # That of 0.9 would wait for ten minutes, had it no better ones before it.
  made = make(
    grid=None,
    seeds=(0,),
    bindings={'TEXT_FILES': 'python_documentation', 'LENGTH': 600},
    search=sweep.Search({'LEARNING_RATE': sweep.Range(0.1, 0.3)}, 6),
  )
  output = str(tmp_path / 'out')
  sweep.run(made, output)
  study = optuna.load_study(
    study_name='out', storage=f'sqlite:///{output}/study.db'
  )
  study.set_user_attr('bertjax:sweep', None)
  study.enqueue_trial({'LEARNING_RATE': 0.9})
  frame = sweep.run(
    dataclasses.replace(
      made, search=sweep.Search({'LEARNING_RATE': sweep.Range(0.1, 0.9)}, 7)
    ),
    output,
  )
  worst = frame[frame['LEARNING_RATE'] == 0.9].iloc[0]
  assert worst['status'] == 'stopped'
  assert 'worse at step 10 than the median' in worst['error']


def test_a_point_that_is_asked_for_again_and_again_runs_once(tmp_path):
  made = make(grid=None, search=sweep.Search({'LEARNING_RATE': (0.1,)}, 6))
  frame = sweep.run(made, str(tmp_path / 'out'), at_once=3)
  assert launches(tmp_path / 'out') == {'LEARNING_RATE=0.1/seed_0': 1}
  assert frame['status'].tolist() == ['done']


def test_failed_trials_do_not_count_and_are_tried_again(tmp_path):
  made = make(grid=None, search=sweep.Search({'LEARNING_RATE': (2.0,)}, 2))
  for tried in (2, 4):
    frame = sweep.run(made, str(tmp_path / 'out'))
    assert launches(tmp_path / 'out') == {'LEARNING_RATE=2/seed_0': tried}
    assert frame['status'].tolist() == ['failed']
  study = optuna.load_study(
    study_name='out', storage=f'sqlite:///{tmp_path}/out/study.db'
  )
  assert [trial.state.name for trial in study.trials] == 4 * ['FAIL']


def test_a_sweep_under_way_shows_what_was_there_before(tmp_path, monkeypatch):
  output = tmp_path / 'out'
  sweep.run(make((0.1, 0.2, 0.3)), str(output))
  seen = []
  write = gather.write
  monkeypatch.setattr(
    gather,
    'write',
    lambda sweep, results, output: (
      seen.append(len(results)),
      write(sweep, results, output),
    ),
  )
  sweep.run(make((0.1, 0.2, 0.3, 0.4)), str(output))
  assert min(seen) == 3 and seen[-1] == 4
  assert len((output / 'results.jsonl').read_text().splitlines()) == 4


@pytest.mark.parametrize('storage', [None, 'journal.log'])
def test_two_share_a_study(tmp_path, monkeypatch, storage):
  monkeypatch.chdir(tmp_path)
  made = make(
    grid=None,
    search=sweep.Search(
      {'LEARNING_RATE': sweep.Range(0.001, 0.3)}, 8, storage=storage
    ),
  )
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    frames = [*pool.map(lambda _: sweep.run(made, 'out', at_once=2), range(2))]
  # Each may have begun one more before it heard of the last.
  assert 8 <= len(launches(tmp_path / 'out')) <= 12
  assert max(len(frame) for frame in frames) >= 8


def test_two_never_open_their_study_at_once(tmp_path, monkeypatch):
  open_study, inside, seen = search._create, [], []

  def watched(*arguments):
    inside.append(1)
    seen.append(len(inside))
    time.sleep(0.2)
    try:
      return open_study(*arguments)
    finally:
      inside.pop()

  monkeypatch.setattr(search, '_create', watched)
  made = make(grid=None, search=sweep.Search({'LEARNING_RATE': (0.1, 0.2)}, 1))

  def run_one(run, _):
    return {'status': 'failed', 'error': '', 'folder': run.folder, 'values': {}}

  def start(_):
    return search.run(
      made, str(tmp_path / 'out'), 'out', 1, run_one, threading.Event()
    )

  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    [*pool.map(start, range(3))]
  assert seen == [1, 1, 1]


def test_runs_are_submitted_and_waited_for(tmp_path):
  frame = sweep.run(
    make(), str(tmp_path / 'out'), cluster='local', slurm={'timeout_min': 1}
  )
  assert frame['status'].tolist() == ['done', 'done']


@pytest.mark.parametrize(
  'settings, words',
  [
    ({'grid': {'LEARNIG_RATE': (1,)}}, 'did you mean LEARNING_RATE'),
    ({'grid': {'SEED_': (1,)}, 'files': ('nowhere.gin',)}, 'no gin file'),
    ({'rates': (0.1, 0.10)}, 'two runs would share the folder'),
    ({'points': [{}]}, 'one of grid, points and search, got 2'),
    ({'bindings': {}}, 'TEXT_FILES has no value'),
    ({'bindings': {'TEXT_FILES': '/nowhere/*.txt'}}, 'TEXT_FILES: /nowhere'),
    ({'bindings': {'TEXT_FILES': '$UNSET_HERE/a'}}, 'variable UNSET_HERE is'),
    ({'seeds': (0, 0)}, 'two runs would share a folder'),
    ({'grid': {'SEED': (0, 1)}}, 'SEED is set by the sweep'),
    ({'grid': {'LEARNING_RATE': 0.1}}, 'lists of anything or None, got .*0.1'),
    ({'grid': {'LEARNING_RATE': ()}}, r'expected values in a tuple, got \(\)'),
    (
      {'files': 'recipes/pretrain_text.gin'},
      'a list of texts .*; set Sweep.files',
    ),
  ],
)
def test_a_mistake_is_one_line_before_anything_runs(tmp_path, settings, words):
  with pytest.raises(UserError, match=words) as raised:
    sweep.run(make(**settings), str(tmp_path / 'out'))
  assert '\n' not in str(raised.value)
  assert not (tmp_path / 'out').exists()


def test_a_search_whose_storage_cannot_be_opened_says_so(tmp_path):
  for storage in ('nodb://x', f'sqlite:///{tmp_path}/no/study.db'):
    made = make(
      grid=None,
      search=sweep.Search({'LEARNING_RATE': (0.1, 0.2)}, 2, storage=storage),
    )
    with pytest.raises(UserError, match='cannot be kept in .*mend') as raised:
      sweep.run(made, str(tmp_path / 'out'))
    assert '\n' not in str(raised.value)
  for ends in ((0.3, 0.2), (math.nan, 1.0), (0.1, math.inf)):
    with pytest.raises(UserError, match='finite low <= high'):
      sweep.Range(*ends)


@pytest.mark.parametrize(
  'settings, words',
  [
    ({'grid': {'MASK_RATE': (0.15, 15)}}, 'MASK_RATE=15/seed_0: .*MASK_RATE'),
    ({'grid': {'MASK_UNIT': ('word', 'wrod')}}, 'MASK_UNIT=wrod.*MASK_UNIT'),
    (
      {'grid': None, 'search': sweep.Search({'DROPOUT': sweep.Range(0, 2)}, 3)},
      'DROPOUT=2/seed_0: .*DROPOUT',
    ),
    ({'files': (*FILES, 'recipes/quickstart.gin')}, 'quickstart'),
    ({'bindings': {'TRAIN_STEPS': sweep.Minutes(1)}}, 'TEXT_FILES is required'),
  ],
)
def test_values_of_all_points_are_checked(settings, words):
  plan.check_values(make(), 'out')
  with pytest.raises(UserError, match=words) as raised:
    plan.check_values(make(**settings), 'out')
  assert '\n' not in str(raised.value) and not gin.config_str().strip()


def test_a_wrong_point_is_told_before_the_first_run_begins(tmp_path):
  wrong = make(
    program=sweep.Sweep.program, grid={'MASK_RATE': (0.15, 0.2, 1.5)}
  )
  with pytest.raises(UserError, match='MASK_RATE=1.5/seed_0: .*MASK_RATE'):
    sweep.run(wrong, str(tmp_path / 'out'))
  assert not (tmp_path / 'out').exists()


def test_gin_files_may_be_named_as_in_a_command(tmp_path):
  named = make(files=('pretrain_text', 'bert_tiny'), bindings={})
  assert plan.missing(named) == plan.missing(make(bindings={}))
  with pytest.raises(UserError, match='no gin file bert_tinny'):
    plan.check(make(files=('pretrain_text', 'bert_tinny')))


def test_a_flag_that_is_none_is_one_line(monkeypatch, capsys):
  for flags in ([], ['x.py', '--at_once=two'], ['x.py', '--nowhere']):
    monkeypatch.setattr(sys, 'argv', ['sweep', *flags])
    assert sweep.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('sweep: ') and line.endswith('; see --help')


@pytest.mark.parametrize(
  'text, words',
  [
    ("import os\n\nDATA = os.environ['NOWHERE_AT_ALL']", 'line 3: KeyError'),
    ('SWEEP = 3 3', 'line 1: SyntaxError'),
    ('x = 1\nx / 0', 'line 2: ZeroDivisionError'),
    ('import sys\nsys.exit(3)', 'line 2: SystemExit: 3'),
    ('x = 1', 'sets no SWEEP'),
  ],
)
def test_a_file_that_is_no_sweep_is_one_line(
  tmp_path, monkeypatch, text, words
):
  (tmp_path / 'mine.py').write_text(text)
  monkeypatch.chdir(tmp_path)
  for path in (str(tmp_path / 'mine.py'), 'mine.py'):
    with pytest.raises(UserError, match=words):
      sweep.load(path)


def test_slurm_where_there_is_none_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(UserError, match='--slurm: '):
    sweep.run(make(), str(tmp_path / 'out'), slurm={'timeout_min': 1})


def test_files_are_an_axis_too():
  made = make(grid={'size': ('models/bert_tiny.gin', 'models/bert_mini.gin')})
  assert [run.name for run in plan.runs_of(made, 'out')] == [
    'size=bert_tiny/seed_0',
    'size=bert_mini/seed_0',
  ]
  ((stage, _),) = plan.runs_of(made, 'out')[0].stages()
  assert stage.files == (*FILES, 'models/bert_tiny.gin')
  assert 'size' not in stage.bindings


def test_a_table_without_results_says_so():
  row = {
    'point': {'A': 1},
    'seed': 0,
    'status': 'failed',
    'values': {},
    'error': 'a | b',
    'seconds': 1,
    'bytes': 0,
    'folder': 'x',
  }
  table = gather.markdown(make(grid={'A': (1,)}), [row])
  assert '| 1 | - | 0 of 1 | - | failed: a / b |' in table


SWEEPS = sorted(
  path
  for path in (ROOT / 'experiments' / 'sweeps').glob('*.py')
  if path.stem != '__init__'
)


@pytest.mark.parametrize('path', SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_that_is_shipped_has_a_plan_without_its_data(
  path, tmp_path
):
  code = (
    "import sys; sys.modules['tensorflow'] = sys.modules['gin'] = None; "
    'from experiments import sweep; sys.exit(sweep.main())'
  )
  done = subprocess.run(
    [sys.executable, '-c', code, str(path), '--dry_run'],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    env={'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(ROOT)},
  )
  assert done.returncode == 0, done.stderr
  assert ' runs, 0 done' in done.stdout
  needs_nothing = path.stem == 'masking_rate'
  assert ('missing: ' in done.stdout) != needs_nothing


def test_names_are_folders():
  assert spec.name_of({'A': 0.30000000000000004, 'B': 'x/y z'}) == (
    'A=0.3,B=x_y_z'
  )
