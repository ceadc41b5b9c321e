"""Bugs put into the library one at a time, and the test that notices each.

    python experiments/mutants.py --jobs 2     # all of `MUTANTS`
    python experiments/mutants.py 'schedule'   # those with this in their name

The tests in `MUTANTS` belong to the default suite. All of them must pass on the
library as it is. Then each mutant's own tests run on a copy of the checkout and
must fail. If they do not end within 300 s, the mutant counts as caught only if
they pass within 100 s without it. The last line is 'N of N caught', and the
status is 1 if one survives.
"""

import argparse
import concurrent.futures
import functools
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECONDS, QUICK_SECONDS = 300, 100

# What is broken; its file in bertjax/ and the test in tests/; the code, which
# stands once in the file, and what takes its place.
MUTANTS = r"""
a row of 128 has 19 targets
batch.py test_batch.py -k those_of_bert
np.ceil(round(length * highest, 6)) ==> round(length * highest)
attention sees the sequences behind its own
models/attention_mask.py models/test_attention_mask.py -k joins_equal_segments
query_B1L1 == key_B11M ==> query_B1L1 <= key_B11M
a rule of attention lets more through
models/attention_mask.py models/test_attention_mask.py -k rule_forbids_further
mask_B1LM &= allowed_BLM ==> mask_B1LM |= allowed_BLM
layers of a pattern run in another order in the loop
models/encoder.py models/test_tables.py -k loop
for first in range(period): ==> for first in reversed(range(period)):
scores are divided by the root of the heads
models/kernels.py models/test_kernels.py -k written_as_loops
query_BLHK * (query_BLHK.shape[-1] ==> query_BLHK * (query_BLHK.shape[-2]
dropout does not scale what it keeps
models/layers.py models/test_layers.py -k keeps_the_expectation
 * (1.0 / (1.0 - self.rate)) ==>
gelu is the approximation by tanh
models/feed_forward.py models/test_bert.py -k equal_hugging_face
'gelu': gelu, ==> 'gelu': jax.nn.gelu,
the bias of the tied decoder is lost
models/heads.py models/test_bert.py -k equal_hugging_face
logits_BPV += bias_V ==> logits_BPV += 0 * bias_V
layers in a loop all drop the same out
models/encoder.py models/test_bert.py -k layers_in_a_loop_drop
jax.random.fold_in(rng, index) ==> jax.random.fold_in(rng, 0)
[CLS] and [SEP] can be masked
text/masking.py text/test_masking.py -k never_special
 & ~vocabulary.special[tokens_BL] ==>
masks fall on what noise has changed
text/masking.py text/test_noises.py -k never_meet
maskable_BL &= ~spared_BL ==> pass
scores that are equal count as told apart
training/parts.py training/test_objectives.py -k an_auc
(below_BL + up_to_BL) ==> (2 * up_to_BL)
the token behind a gap is not told
text/noises.py text/test_noises.py -k deleted
gap_BL = _shifted(gone_BL) ==> gap_BL = gone_BL
a segment loses its first token
text/noises.py text/test_noises.py -k deleted
among_BL = clean_BL & _shifted(clean_BL) ==> among_BL = clean_BL
the two segments of a pair are never swapped
text/pairs.py text/test_pairs.py -k follow_each_other
(b, a) if is_swapped ==> (a, b) if is_swapped
no masked token stays as it is
text/masking.py text/test_masking.py -k 80_10_10
MASKED, RANDOM = 0.8, 0.1 ==> MASKED, RANDOM = 0.8, 0.2
the first row decides what all rows are masked with
text/masking.py text/test_masking.py -k same_in_any_batch
replacements, seeds_B[:, None] ==> replacements, seeds_B[:1, None]
targets of a packed row are not moved
text/batching.py text/test_batching.py -k one_after_the_other
: end['P']] += first ==> : end['P']] += 0
random pairs have the label of those that follow
text/pairs.py text/test_pairs.py -k half_the_pairs
int(is_random) ==> 0
a pair that is too long loses a token too many
text/pairs.py text/test_tokenizer.py -k pairs_are_those
(room + 1) // 2 ==> room // 2
accents stay on lower-cased text
text/tokenizer.py text/test_tokenizer.py -k ids_are_those
lowercase=not cased) ==> lowercase=not cased, strip_accents=False)
the end of a context stands in no window
text/context_windows.py text/test_context_windows.py -k move_on_by
max(len(ids) - room, 0) + stride, stride ==> max(len(ids) - room, 1), stride
pieces of a document fall on both sides of the split
corpus/spool.py corpus/test_preparation.py -k long_document_is_cut
if piece == 0: ==> if text:
rows of every window have the same seeds of masks
corpus/windows.py corpus/test_pipeline.py -k new_at_every_epoch
self._seed, _MASKS, number, examples ==> self._seed, _MASKS, examples
an evaluation loses its last rows
corpus/pipeline.py corpus/test_pipeline.py -k counts_every_sequence_once
self._epochs * len(windows) ==> self._epochs * len(windows) - 1
targets without weight count in the loss
training/abstract_objective.py training/test_step.py -k cross_entropy_is
(log_normalizer_X - answer_X) * weights_X ==> log_normalizer_X - answer_X
accumulation does not divide what it adds up
training/step.py training/test_step.py -k accumulated_parts
jnp.maximum(weight, 1.0) ==> jnp.maximum(terms[name][1], 1.0)
every step drops the same out
training/step.py training/test_step.py -k each_step_drops
jax.random.fold_in(rng, state.step) ==> jax.random.fold_in(rng, 0)
gradients are clipped one by one
training/optimizer.py training/test_optimizer.py -k formulas_of
optax.clip_by_global_norm(clip_norm) ==> optax.clip(clip_norm)
norms decay as kernels do
training/optimizer.py training/test_optimizer.py -k do_not_decay
 and not any(_NORM.search(name) for name in names) ==>
the first update has a rate of nothing
training/schedules.py training/test_schedules.py -k is_wasted
jnp.asarray(step, jnp.float32) + 1 ==> jnp.asarray(step, jnp.float32)
baselines count targets that pad
training/evaluation.py training/test_evaluation.py -k best_constant
right.ravel(), weights.ravel() ==> right.ravel(), 0 * weights.ravel() + 1
the highest loss is kept as the best
training/selection.py training/test_selection.py -k lowest_loss
-value if ==> value if
a run that goes on begins its data anew
training/loop.py finetuning/test_finetune.py -k goes_on_where_it_stood
iterator.restore(position) ==> del position
the peak of a mesh is that of one device
training/throughput.py training/test_throughput.py -k the_peak_is
mesh.size * device.flops_per_second ==> device.flops_per_second
the last process tells the others what it has
parallel/processes.py parallel/test_processes.py -k do_things_together
if is_first() else None)[0] ==> if is_first() else None)[-1]
a batch need not be divisible by fsdp
parallel/partitioning.py parallel/test_partitioning.py -k cannot_split
 * mesh.shape['fsdp'] ==>
checksums are never compared
runs/checksums.py runs/test_checkpoints.py -k any_damaged_file
if _checksum(path) != checksum: ==> if not checksum:
a checkpoint does not hold the data's position
runs/checkpoints.py runs/test_checkpoints.py -k bit_for_bit
(position or {}).items() ==> {}.items()
a resumed run keeps the metrics of one step too many
runs/metrics_file.py runs/test_metrics_file.py -k rewrites_no_byte
record['step'] <= step ==> record['step'] <= step + 1
two runs can have one directory
runs/run_directory.py runs/test_run_directory.py -k the_lock_names
filelock.FileLock(path, ==> filelock.FileLock(path + os.urandom(4).hex(),
a run goes on with another seed
runs/gin_bindings.py runs/test_run_directory.py -k what_changes_the_result
RUN_DIR|SEEDS| ==> RUN_DIR|SEEDS?|
F1 is that of the first of two classes
tasks/metrics.py tasks/test_metrics.py -k scores_of_classes
pos_label=1 ==> pos_label=0
articles are cut out of words
tasks/squad_metrics.py tasks/test_squad_metrics.py -k normalized
r'\b(a|an|the)\b' ==> r'(a|an|the)'
the end of a chunk does not end it
tasks/tag_metrics.py tasks/test_tag_metrics.py -k as_in_conlleval
before in ('O', 'E', 'S') ==> before in ('O', 'S')
a label that is as likely as not is given
tasks/text_labels.py tasks/test_text_labels.py -k softmax_and_sigmoid
if scores[label] > 0.5] ==> if scores[label] >= 0.5]
the rows of an example are mixed with those of the next
tasks/examples.py tasks/test_kinds.py -k long_sentence
      parts, results = [], [] ==>       parts, results = parts, results
frequent classes weigh most
finetuning/finetune.py finetuning/test_class_weights.py -k balanced
/ (len(counts) * np.maximum(1, counts)) ==> * np.maximum(1, counts)
the worst run of a task is the one to use
finetuning/results.py finetuning/test_results.py -k median_spread_best
max(found, key= ==> min(found, key=
INIT_FROM computes otherwise, and nobody says so
runs/trained_model.py runs/test_trained_model.py -k another_computation
  if other := [name for name ==>   if other := [0 for name
a factor of a loss does not reach the gradient
training/abstract_objective.py training/test_loop.py -k factor_times
else self.losses[name] * value ==> else value
kernels are not transposed when they are read
interop/names.py interop/test_names.py -k there_and_back
part = part.T if row.is_kernel else part ==> part = part
tensors stay in half precision
interop/names.py interop/test_huggingface.py -k half_precision
np.asarray(array[front:], np.float32) ==> array[front:]
a mean is taken over the sequences behind as well
inference/forward.py inference/test_predictor.py -k vectors_are_those
[:, None] == number_S1 ==> [:, None] >= number_S1
a head is important where its parts cancel
inspection/head_importance.py inspection/test_attention_maps.py -k equal_those
jnp.abs(slope_NBSH).sum((1, 2)) ==> jnp.abs(slope_NBSH.sum((1, 2)))
a plan forgets what a step needs meanwhile
plan/compiled.py plan/test_compiled.py -k memory_is_needed
+ parts['temporary'] ==>
fewer masks than in healthy runs are healthy
reporting/health_checks.py reporting/test_doctor.py -k too_little_is_named
abs(ours - usual) > tolerance ==> ours - usual > tolerance
a macro that nothing uses is let pass
launch/configuration.py test_main.py -k only_a_file_sets
macros.check_used(configuration, configuration.macros) ==> pass
a mistake of the user has the status of a broken run
main.py test_main.py -k status_2
error.status ==> 1
"""


class Mutant(NamedTuple):
  """A bug: `old` becomes `new` in `file`, and `test` -k `words` notices."""

  name: str
  file: pathlib.Path
  test: str
  words: str
  old: str
  new: str


def mutants(names: list[str]) -> list[Mutant]:
  """Reads those of `MUTANTS` that have one of the words in their name."""
  found, lines = [], MUTANTS.strip().split('\n')
  for name, place, change in zip(*[iter(lines)] * 3, strict=True):
    file, test, words = re.split(' -k | ', place)
    file, (old, new) = pathlib.Path('bertjax', file), re.split(' ==> ?', change)
    if (count := (ROOT / file).read_text().count(old)) != 1:
      sys.exit(f'{name}: {old!r} stands {count} times in {file}')
    if not names or any(word in name for word in names):
      found.append(Mutant(name, file, f'tests/{test}', words, old, new))
  return found


def copy_checkout(folder: pathlib.Path) -> pathlib.Path:
  """Copies what git has or would add into a folder; returns the folder."""
  command = 'git ls-files -z --cached --others --exclude-standard'.split()
  listed = subprocess.check_output(command, cwd=ROOT, text=True)
  for name in filter(None, listed.split('\0')):
    if (ROOT / name).is_file():
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(ROOT / name, folder / name)
  return folder


def run(copy, words, files, *options, seconds=None) -> tuple[int | None, str]:
  """Runs tests in a copy; returns pytest's status, None if late, and output."""
  command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider']
  changes = {'PYTHONPATH': str(copy), 'PYTHONDONTWRITEBYTECODE': ''}
  with tempfile.TemporaryFile('w+') as output:
    process = subprocess.Popen(
      [*command, *options, '-k', words, *files],
      cwd=copy,
      env=os.environ | changes,
      stdout=output,
      stderr=output,
      start_new_session=True,  # so that what it starts can be ended with it
    )
    try:
      status = process.wait(seconds)
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      status = process.wait() and None
    output.seek(0)
    return status, output.read()


def attempt(copy: pathlib.Path, mutant: Mutant) -> tuple[bool, str]:
  """Returns whether a mutant is caught, and by which test or why not."""
  path = copy / mutant.file
  before, compiled = path.read_text(), path.parent / '__pycache__'
  run_tests = functools.partial(
    run, copy, mutant.words, [mutant.test], '-x', '-n', '0'
  )

  def forget():  # what Python has compiled; returns whether there was any
    files = list(compiled.glob(f'{path.stem}.*'))
    return [file.unlink() for file in files] != []

  forget()
  path.write_text(before.replace(mutant.old, mutant.new))
  status, output = run_tests(seconds=SECONDS)
  path.write_text(before)
  if not forget():
    return False, f'{mutant.file} of the copy was not imported'
  if status is None:
    status, _ = run_tests(seconds=QUICK_SECONDS)
    return status == 0, f'no end within {SECONDS} s'
  if status == 1:
    return True, re.search(r'^(?:FAILED|ERROR) \S+?::(\w+)', output, re.M)[1]
  return False, output if status else 'all pass'


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('names', nargs='*', help='parts of names; none: all')
  parser.add_argument('--jobs', type=int, default=2, help='at once')
  parser.add_argument('--list', action='store_true', help='names, and stop')
  options = parser.parse_args()
  chosen = mutants(options.names)
  if options.list:
    for mutant in chosen:
      print(f'{mutant.name}: {mutant.file}, {mutant.test} -k {mutant.words}')
    return 0
  with tempfile.TemporaryDirectory() as folder:
    copies = queue.SimpleQueue()
    for i in range(options.jobs):
      copies.put(copy_checkout(pathlib.Path(folder, str(i))))

    def timed(function, *arguments):
      copy, began = copies.get(), time.monotonic()
      result = function(copy, *arguments)
      copies.put(copy)
      return *result, f'{time.monotonic() - began:4.0f} s'

    files = sorted({mutant.test for mutant in chosen})
    words = ' or '.join(dict.fromkeys(mutant.words for mutant in chosen))
    status, output, seconds = timed(run, words, files, f'-n{options.jobs}')
    if status:
      sys.exit(f'{output}\nthe tests do not pass without a mutant')
    print(f'{seconds}  all pass without a mutant', flush=True)

    def report(mutant):
      is_caught, text, seconds = timed(attempt, mutant)
      said = 'caught by' if is_caught else 'SURVIVES:'
      print(f'{seconds}  {mutant.name}: {said} {text}', flush=True)
      return is_caught

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
      caught = sum(pool.map(report, chosen))
  print(f'{caught} of {len(chosen)} caught')
  return int(caught < len(chosen))


if __name__ == '__main__':
  sys.exit(main())
