"""Training needs neither TensorFlow nor seqio: here they cannot be imported."""

import json
import subprocess
import sys

_TRAIN = """
import sys
for name in ('tensorflow', 'tensorflow_text', 'tensorflow_datasets', 'seqio'):
  sys.modules[name] = None
from bertjax import main
text, run, *steps = sys.argv[1:]
for count in steps:
  status = main.main(['bertjax', 'pretrain_text', 'bert_tiny',
    f'--gin.TEXT_FILES={text}', f'--gin.RUN_DIR={run}', '--gin.VOCAB_SIZE=200',
    '--gin.BATCH_SIZE=8', '--gin.LENGTH=32', f'--gin.TRAIN_STEPS={count}',
    '--gin.LOG_STEPS=2', '--gin.CHECKPOINT_STEPS=2', '--gin.EVAL_STEPS=4',
    '--gin.schedules.warmup_linear.total_steps=8', '--gin.PACK=True',
    '--gin.ALLOW_DIFFERENCE=True'])
  assert status == 0
"""


def losses(run):
  lines = (run / 'metrics.jsonl').read_text().splitlines()
  return [
    (x['step'], {k: v for k, v in x.items() if not k.startswith('speed/')})
    for x in map(json.loads, lines)
  ]


def test_a_run_trains_evaluates_and_resumes(tmp_path):
  text = tmp_path / 'text.txt'
  text.write_text(
    '\n\n'.join(f'Cat {i} sat on mat {i % 7}.\nIt was {i}.' for i in range(300))
  )

  def train(name, *steps):
    command = [sys.executable, '-c', _TRAIN, str(text), str(tmp_path / name)]
    done = subprocess.run(
      [*command, *steps], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  told = train('resumed', '4', '8')
  assert 'continuing from step 4 of 8' in told
  train('whole', '8')
  resumed, whole = (losses(tmp_path / name) for name in ('resumed', 'whole'))
  assert [step for step, _ in whole] == [2, 4, 6, 8]
  assert 'eval/mlm_loss' in whole[-1][1]
  assert resumed == whole
