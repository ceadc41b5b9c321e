"""What a person sees: words, plain numbers, and a legend for all that is drawn.

The same is asked of every picture of runs: curves.png, the doctor's, the
report's and a sweep's.
"""

import itertools
import json
import math
import re

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bertjax.reporting import doctor, references, report, run_reader
from bertjax.runs import curves, diagrams, model_file
from bertjax.training import objectives, task_objective
from experiments import sweep
from experiments.sweeping import gather
from tests.reporting.test_run_reader import write_model

LONG = 'novels_with_a_very_long_name_and_a_warmup_of_10000_steps'
PRETRAINING = objectives.MaskedLanguageModel(None)
TASK = task_objective.TaskObjective(None, None, metrics=('accuracy', 'f1'))


def write_run(folder, reference='quickstart', until=None, longer=1):
  """Writes the curves of a real run, up to a step, stretched over more."""
  folder.mkdir(parents=True)
  rows = {}
  for name, (steps, values) in references.read(reference).curves.items():
    for step, value in zip(steps, values[0], strict=True):
      if until is None or step <= until:
        rows.setdefault(int(step * longer), {})[name] = value
  for row in rows.values():
    row |= {'speed/tokens_per_second': 25180}
  (folder / 'metrics.jsonl').write_text(
    ''.join(json.dumps({'step': x, **rows[x]}) + '\n' for x in sorted(rows))
  )
  is_task = reference == 'quickstart_finetune'
  write_model(folder, (TASK if is_task else PRETRAINING).facts())
  return str(folder)


def one_run(folder):
  curves.draw(write_run(folder / 'a'), PRETRAINING.panels)


def long_run(folder):
  curves.draw(write_run(folder / 'a', longer=1000), PRETRAINING.panels)


def one_step(folder):
  curves.draw(write_run(folder / 'a', until=100), PRETRAINING.panels)


def one_evaluation(folder):
  curves.draw(write_run(folder / 'a', until=500), PRETRAINING.panels)


def fine_tuning(folder):
  run = write_run(folder / 'a', 'quickstart_finetune')
  curves.draw(run, TASK.panels)


def health(folder):
  run = run_reader.read(write_run(folder / LONG, until=1500))
  doctor.draw([(run, references.read('quickstart'))], str(folder / 'x.png'))


def report_of_three(folder):
  runs = [write_run(folder / f'{LONG}_{n}', longer=n) for n in (0.1, 1, 12)]
  report.render(run_reader.find(runs))


def report_of_many_steps(folder):
  run = write_run(folder / 'a')
  lines = (
    json.dumps({'step': n, 'train/loss': 9 - n / 100, 'train/grad_norm': n})
    for n in range(1, 100)
  )
  (folder / 'a' / 'metrics.jsonl').write_text('\n'.join(lines) + '\n')
  report.render(run_reader.find(run))


def swept(points, seeds=3, failed=(), metrics=('eval/mlm_loss',), space=None):
  def draw(folder):
    then = sweep.Stage(('b.gin',), {}, metrics[1]) if metrics[1:] else None
    made = sweep.Sweep(
      files=('a.gin',),
      bindings={},
      metric=metrics[0],
      then=then,
      seeds=range(seeds),
      points=None if space else points,
      search=sweep.Search(space, len(points)) if space else None,
    )
    results = [
      {
        'point': point,
        'seed': seed,
        'status': 'failed' if number in failed else 'done',
        'values': {}
        if number in failed
        else {x: 3 + math.sin(number) + seed / 10 for x in made.metrics},
        'error': None,
        'seconds': 60,
        'bytes': 1,
        'folder': str(folder / f'{number}'),
      }
      for number, point in enumerate(points)
      for seed in range(seeds)
    ]
    gather.write(made, results, str(folder))

  return draw


def grid(**axes):
  return [
    dict(zip(axes, values, strict=True))
    for values in itertools.product(*axes.values())
  ]


RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01)
SIZES = tuple(f'models/bert_{x}.gin' for x in ('tiny', 'mini', 'small', 'base'))
RANDOM = np.random.default_rng(0).uniform(-5, -2, size=12).tolist()
PICTURES = {
  'a run': one_run,
  'a long run': long_run,
  'a run of one step': one_step,
  'a run of one evaluation': one_evaluation,
  'a fine-tuning': fine_tuning,
  'health': health,
  'a report of three': report_of_three,
  'a report of many steps': report_of_many_steps,
  'rates': swept(grid(LEARNING_RATE=RATES)),
  'rates and batches': swept(
    grid(LEARNING_RATE=RATES, BATCH_SIZE=(16, 32, 128)), failed=(1, 7)
  ),
  'steps': swept(grid(TRAIN_STEPS=(1000, 2000, 500_000)), seeds=1),
  'words': swept(grid(SIZE=SIZES, NSP=(True, False)), failed=(6, 7)),
  'two stages': swept(grid(X=(1, 2)), metrics=('eval/mlm_loss', 'T/f1_macro')),
  'seeds': swept([{}]),
  'a search': swept(
    [
      {'LEARNING_RATE': 10**x, 'NSP': x > -3, 'LENGTH': int(-x)} for x in RANDOM
    ],
    1,
    (3,),
    space={'LEARNING_RATE': (1,), 'NSP': (1,), 'LENGTH': (1,)},
  ),
}


@pytest.fixture(scope='module', params=PICTURES)
def figure(request, tmp_path_factory):
  """A picture as it was saved, with all its texts in place."""
  figures, save = [], Figure.savefig

  def keep(figure, *arguments, **settings):
    figures.append(figure)
    save(figure, *arguments, **settings)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Figure, 'savefig', keep)
    PICTURES[request.param](tmp_path_factory.mktemp('pictures'))
  return figures[0]


def told(figure):
  (legend,) = figure.legends
  return [text.get_text() for text in legend.get_texts()]


def test_a_picture_explains_itself(figure):
  names = told(figure)
  assert all(names) and len(set(names)) == len(names)
  for axes in figure.axes:
    title, vertical = axes.get_title(loc='left'), axes.get_ylabel()
    assert not axes.spines['top'].get_visible()  # as the style says
    assert title and vertical and axes.get_xlabel()
    assert not re.search(r'[a-z]_[a-z]|/|mlm|nsp', title + vertical), title
    if re.search('loss|accuracy|F1|speed', title, re.I):
      better = 'lower' if 'loss' in title else 'higher'
      assert f'{better} is better' in ' '.join(vertical.split())
    for axis in (axes.xaxis, axes.yaxis):
      assert not [x for x in axis.get_ticklabels(minor=True) if x.get_text()]
      for label in axis.get_ticklabels():
        text = label.get_text()
        if '_' not in text and text not in ('', 'True', 'False', 'all'):
          assert re.fullmatch(r'[-−]?\d{1,3}(,\d{3})*(\.\d+)?', text), text
      assert not axis.get_offset_text().get_text()


def test_all_that_is_drawn_is_in_the_legend(figure):
  (legend,) = figure.legends
  known = {colors.to_hex(x.get_color()) for x in legend.findobj(Line2D)}
  dashes = {x.get_linestyle() for x in legend.findobj(Line2D)}
  for axes in figure.axes:
    for line in axes.lines:
      colour = colors.to_hex(line.get_color())
      assert colour in known
      assert line.get_linestyle() != '--' or '--' in dashes
  names = ' '.join(told(figure))
  # What has a height of its own says what it is.
  if any(axes.collections for axes in figure.axes):
    assert 'least to greatest' in names or 'one seed' in names
  crosses = [
    line
    for axes in figure.axes
    for line in axes.lines
    if line.get_marker() == 'x' and len(line.get_xdata())
  ]
  assert bool(crosses) == ('no result' in names)


def test_nothing_is_cut_off_or_on_top_of_another(figure):
  whole, renderer = figure.bbox, figure._get_renderer()
  (legend,) = figure.legends
  box = legend.get_window_extent(renderer)
  assert box.x0 >= 0 and box.x1 <= whole.x1 + 1
  assert box.y1 <= whole.y1 + 1
  for axes in figure.axes:
    around = axes.get_tightbbox(renderer)
    assert around.x0 >= -1 and around.x1 <= whole.x1 + 1
    assert around.y0 >= -1 and around.y1 <= box.y0 + 1
    assert axes.bbox.height > 100 and axes.bbox.width > 150
    for axis, side in ((axes.xaxis, 'x'), (axes.yaxis, 'y')):
      low, high = sorted(axis.get_view_interval())
      ticks = [x for x in axis.get_major_ticks() if low <= x.get_loc() <= high]
      labels = [tick.label1 for tick in ticks]
      if any(label.get_rotation() for label in labels):
        continue
      ends = sorted(
        (getattr(extent, f'{side}0'), getattr(extent, f'{side}1'))
        for extent in (x.get_window_extent(renderer) for x in labels)
      )
      for (_, end), (start, _) in itertools.pairwise(ends):
        assert start > end, [label.get_text() for label in labels]
  for one, other in itertools.combinations(figure.axes, 2):
    boxes = one.get_tightbbox(renderer), other.get_tightbbox(renderer)
    assert not boxes[0].overlaps(boxes[1])


def test_a_page_has_words_for_metrics_and_its_tables_scroll(tmp_path):
  run = write_run(tmp_path / 'a')
  page = report.render(run_reader.find(run))
  texts = re.sub('<style>.*?</style>|<[^>]*>', ' ', page, flags=re.S)
  assert not re.search(r'\b(eval|train|speed)/', texts)
  assert 'Masked-LM accuracy, held out' in texts
  assert re.search(r'\.wide \{[^}]*overflow-x: auto', page)
  tables = page.count('<table')
  assert tables and page.count('<div class="wide"><table') == tables


def test_a_metric_has_its_name_its_place_and_its_direction():
  titles = model_file.read_objective('nowhere').titles

  def words(metric, titles=titles):
    found = diagrams.describe(metric, titles)
    return found.title, found.axis

  assert words('eval/mlm_loss') == (
    'Masked-LM loss, held out',
    'nats (lower is better)',
  )
  assert words('eval_mismatched/accuracy') == (
    'Accuracy, held out, mismatched',
    'Accuracy (higher is better)',
  )
  assert words('train/nsp_accuracy') == (
    'Next-sentence accuracy, in training',
    'Next-sentence accuracy (higher is better)',
  )
  assert words('docstrings/f1_macro', TASK.titles) == (
    'Macro F1, docstrings',
    'Macro F1 (higher is better)',
  )
  assert words('train/masked_fraction') == (
    'Masked tokens, in training',
    'share of all',
  )
  assert words('train/my_number') == ('My number, in training', 'My number')
