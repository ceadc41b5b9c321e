"""The page of one run and of several."""

import html.parser
import json
import os
import re

import pytest

from bertjax.errors import UserError
from bertjax.reporting import report
from bertjax.runs import model_file
from bertjax.runs.metrics_file import Writer
from tests.reporting.test_run_reader import write_run


class Balance(html.parser.HTMLParser):
  """Raises where a tag is not closed, or loads something."""

  def __init__(self):
    super().__init__()
    self.open = []

  def handle_starttag(self, tag, attrs):
    assert not {'src', 'href'} & {name for name, _ in attrs}, tag
    if tag != 'meta':
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag, tag

  def handle_startendtag(self, tag, attrs):
    pass


def page(tmp_path, *directories):
  output = tmp_path / 'out' / 'report.html'
  report.write(runs=list(directories), output=str(output))
  text = output.read_text()
  parser = Balance()
  parser.feed(text)
  assert not parser.open
  return text


def test_runs_are_overlaid_and_told_apart(tmp_path):
  text = page(
    tmp_path,
    write_run(tmp_path / 'a', LEARNING_RATE=0.1, SEED=0),
    write_run(tmp_path / 'b', LEARNING_RATE=0.2, SEED=0),
  )
  assert text.count('>a</text>') == text.count('>b</text>') == 1
  assert '<td>LEARNING_RATE</td><td>0.1</td><td>0.2</td>' in text
  assert '<td>SEED</td>' not in text


def test_one_run_shows_its_macros(tmp_path):
  text = page(tmp_path, write_run(tmp_path / 'a', SEED=3))
  assert '<td>SEED</td><td>3</td>' in text


def test_masks_are_shown_as_they_were_filled_in(tmp_path):
  directory = write_run(tmp_path / 'a')
  with Writer(directory) as writer:
    for step in range(1, 14):
      examples = [f'[CLS] a < [b] [x≠y] {step}.', '[CLS] [z≠w]']
      writer.write(step, {'eval/loss': 1.0}, examples)
  text = page(tmp_path, directory)
  assert (
    '[CLS] a &lt; <b class="right">b</b> <b class="wrong">x<i>y</i></b> 13.'
  ) in text
  steps = re.findall(r'(\d+)\.</span>', text)
  assert steps == ['1', '4', '7', '10', '13']


@pytest.mark.parametrize(
  'text, shown',
  [
    ('a list [ int ] [SEP]', 'a list [ int ] [SEP]'),
    (
      '[[UNK]≠dog] [a≠[UNK]]',
      '<b class="wrong">[UNK]<i>dog</i></b> <b class="wrong">a<i>[UNK]</i></b>',
    ),
    ('[##s]x', '<b class="right">##s</b>x'),
  ],
)
def test_brackets_of_the_text_are_no_guesses(text, shown):
  assert report._filled(text) == f'<span class="text">{shown}</span>'


def test_speed_lost_time_and_checkpoints_are_told(tmp_path):
  directory = tmp_path / 'a'
  write_run(directory)
  (directory / 'metrics.jsonl').write_text(
    ''.join(
      json.dumps(
        {
          'step': step,
          'train/loss': 9.0 - step,
          'speed/step_seconds': 0.25,
          'speed/tokens_per_second': 4096,
          'speed/data_wait_fraction': wait,
          'speed/evaluation_fraction': 0.5,
          'speed/checkpoint_fraction': 0.0,
        }
      )
      + '\n'
      for step, wait in ((1, 0.1), (2, 0.3))
    )
  )
  for step, size in ((1, 1_000_000), (2, 500_000)):
    (directory / 'checkpoints' / str(step)).mkdir(parents=True)
    (directory / 'checkpoints' / str(step) / 'x').write_bytes(bytes(size))
  text = page(tmp_path, str(directory))
  assert (
    '<td>a</td><td>0.25</td><td>4,096</td><td></td><td>20.0%</td>'
    '<td>50.0%</td><td>0.0%</td>'
  ) in text
  assert '<td>a</td><td>1, 2</td><td>1.5 MB</td>' in text


def test_every_metric_has_its_diagram_and_each_accuracy_its_baseline(tmp_path):
  directory = tmp_path / 'a'
  write_run(directory)
  names = ('eval/mlm_accuracy', 'eval/mlm_baseline', 'train/x', 'speed/y')
  (directory / 'metrics.jsonl').write_text(
    json.dumps({'step': 1} | dict.fromkeys(names, 0.5)) + '\n'
  )
  text = page(tmp_path, str(directory))
  titles = re.findall('>([^<]+, (?:held out|in training))</text>', text)
  assert titles == ['Masked-LM accuracy, held out', 'X, in training']
  assert 'reached without reading</text>' in text


def test_evaluations_have_their_last_and_their_best(tmp_path):
  directory = tmp_path / 'a'
  write_run(directory)
  (directory / 'metrics.jsonl').write_text(
    '{"step": 1, "eval/mlm_accuracy": 0.25, "eval/mlm_baseline": 0.05}\n'
    '{"step": 2, "eval/mlm_accuracy": 0.5, "eval/mlm_baseline": 0.05}\n'
    '{"step": 3, "eval/mlm_accuracy": 0.375, "eval/mlm_baseline": 0.05}\n'
    '{"step": 3, "eval/loss": 2.5}\n{"step": 4, "eval/loss": null}\n'
  )
  text = page(tmp_path, str(directory))
  assert (
    '<td>Masked-LM accuracy, held out</td><td>higher</td><td>a</td>'
    '<td>0.375</td><td>0.5</td><td>2</td><td>0.05</td>'
  ) in text
  assert (
    '<td>Total loss, held out</td><td>lower</td><td>a</td>'
    '<td>not finite</td><td>2.5</td><td>3</td><td></td>'
  ) in text


def test_fine_tuning_has_its_scores(tmp_path):
  run = write_run(tmp_path / 'f' / 'CoLA' / 'seed_0')
  model_file.write_task(run, {'kind': 'classes'})
  (tmp_path / 'f' / 'results.json').write_text(
    json.dumps(
      {
        'tasks': [
          {
            'task': 'CoLA',
            'metrics': ['matthews'],
            'scores': {
              'eval/matthews': [0.5, 0.25, 0.75],
              'eval/loss': [1, 1, 1],
            },
            'seeds': [0, 1, 2],
            'best_run': 'CoLA/seed_2',
            'published': None,
          }
        ]
      }
    )
  )
  text = page(tmp_path, str(tmp_path / 'f'))
  assert (
    '<td>CoLA</td><td>Matthews correlation, held out</td>'
    '<td>0.5</td><td>0.25 to 0.75</td><td>3</td>'
  ) in text
  assert '<td>Total loss, held out</td>' not in text


def test_texts_of_a_run_are_not_taken_for_html(tmp_path):
  text = page(tmp_path, write_run(tmp_path / 'a', NAME='<script>x</script>'))
  assert '<script>' not in text and '&lt;script&gt;' in text


def test_a_dry_run_checks_and_writes_nothing(tmp_path):
  output = tmp_path / 'report.html'
  with pytest.raises(UserError, match='no metrics.jsonl'):
    report.write(runs=str(tmp_path), output=str(output), dry_run=True)
  report.write(runs=write_run(tmp_path / 'a'), output=str(output), dry_run=True)
  assert not output.exists()


def test_only_an_earlier_report_is_replaced_without_asking(tmp_path, full_disk):
  run = write_run(tmp_path / 'a')
  metrics, output = tmp_path / 'a' / 'metrics.jsonl', tmp_path / 'mine.html'
  before = metrics.read_bytes()
  with pytest.raises(UserError, match='ends in .html.*set OUTPUT'):
    report.write(runs=run, output=str(metrics))
  assert metrics.read_bytes() == before
  output.write_text('<meta name="generator" content="my own report">')
  with pytest.raises(UserError, match='mine.html is there.*OVERWRITE=True'):
    report.write(runs=run, output=str(output))
  report.write(runs=run, output=str(output), overwrite=True)
  other = write_run(tmp_path / 'b')
  with full_disk(), pytest.raises(UserError, match='mine.html: File too large'):
    report.write(runs=other, output=str(output))
  assert '<title>a</title>' in output.read_text()
  report.write(runs=other, output=str(output))
  assert '<title>b</title>' in output.read_text()
  assert sorted(os.listdir(tmp_path)) == ['a', 'b', 'mine.html']
