"""Compares the compiled pretraining step of two checkouts.

    git worktree add /tmp/before HEAD~1
    python experiments/golden/compiled_step.py /tmp/before . \\
        --programs /tmp/programs

For each of `CASES` it starts a run in each checkout and waits for XLA to write
the optimised program of its training step. It prints 'same program' with a
hash, or the first lines that differ, and then exits with status 1. What says
where the code stood in the sources does not count. It uses no code of the
checkouts, so any two will do. Takes about a minute per run on 2 CPU cores.
"""

import argparse
import difflib
import hashlib
import itertools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

# The optimised programs of the training step, which is compiled before that of
# the evaluation, which has its name.
PATTERN = '*.jit_placed_step.*after_optimizations.txt'
SHORT = ('TRAIN_STEPS=1', 'BATCH_SIZE=8', 'VOCAB_SIZE=4096')
TEXT = ("TEXT_FILES='python_documentation'", 'LENGTH=128', *SHORT)
# Name -> gin files; what is bound to --gin; what is bound to --gin_bindings.
CASES = {
  'quickstart': (('recipes/quickstart.gin',), ('TRAIN_STEPS=1',), ()),
  'base': (
    ('recipes/pretrain_text.gin', 'models/bert_base.gin'),
    TEXT,
    (),
  ),
  'loop over layers in bfloat16': (
    ('recipes/pretrain_text.gin',),
    (*TEXT, "DTYPE='bfloat16'"),
    (
      'config.EncoderConfig.scan_layers = True',
      "config.EncoderConfig.recompute = 'products'",
    ),
  ),
}


def program(checkout: pathlib.Path, case: str, bindings: list[str]) -> str:
  """Returns the optimised HLO of a case's step, without places in sources.

  Args:
    checkout: a folder with `bertjax/` and `gin_configs/`.
    case: a name in `CASES`.
    bindings: further ones, for --gin_bindings.
  """
  files, macros, own = CASES[case]
  with tempfile.TemporaryDirectory() as folder:
    dump = pathlib.Path(folder, 'dump')
    command = [
      sys.executable,
      *('-m', 'bertjax.main'),
      *(f'--gin_file=gin_configs/{name}' for name in files),
      *(f'--gin.{macro}' for macro in macros),
      f"--gin.RUN_DIR='{folder}/run'",
      *(f'--gin_bindings={text}' for text in (*own, *bindings)),
    ]
    environment = os.environ | {
      'JAX_PLATFORMS': 'cpu',
      'JAX_ENABLE_COMPILATION_CACHE': 'false',
      'PYTHONPATH': str(checkout),
      'XLA_FLAGS': (
        f'--xla_dump_to={dump} --xla_dump_hlo_as_text '
        '--xla_dump_hlo_module_re=jit_placed_step'
      ),
    }
    log = pathlib.Path(folder, 'log')
    with open(log, 'w') as file:
      run = subprocess.Popen(
        command,
        cwd=checkout,
        env=environment,
        stdout=file,
        stderr=subprocess.STDOUT,
      )
      text = ''
      try:
        # Compiling on and training would only take time.
        while run.poll() is None and not _is_complete(text):
          time.sleep(0.5)
          text = _read(dump)
      finally:
        run.kill()
        run.wait()
    if not (text := text or _read(dump)):
      raise SystemExit(f'{case} in {checkout}:\n{log.read_text()[-2000:]}')
  return _without_places(text)


def _read(folder: pathlib.Path) -> str:
  found = sorted(folder.glob(PATTERN))
  return found[0].read_text() if found else ''


def _is_complete(text: str) -> bool:
  return '\nENTRY ' in text and text.endswith('}\n\n')


def _without_places(text: str) -> str:
  # Tables of file names, functions and stack frames stand before the program.
  text = re.sub(
    r'^(FileNames|FunctionNames|FileLocations|StackFrames)\n(.+\n)*\n?',
    '',
    text,
    flags=re.M,
  )
  text = re.sub(r',? metadata=\{(?:"(?:\\.|[^"])*"|[^}"])*\}', '', text)
  return re.sub(r',? stack_frame_id=\d+', '', text)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('before', type=pathlib.Path)
  parser.add_argument('after', type=pathlib.Path)
  parser.add_argument('--cases', nargs='+', choices=CASES, default=CASES)
  parser.add_argument(
    '--programs',
    type=pathlib.Path,
    help='keep the programs in this folder, and use those of BEFORE that are '
    'there already',
  )
  parser.add_argument(
    '--change',
    nargs='+',
    default=[],
    metavar='BINDING',
    help='bind this in AFTER, to see that a difference is found',
  )
  options = parser.parse_args()
  differs = False
  for case in options.cases:
    programs = []
    for name, checkout, bindings in (
      ('before', options.before, []),
      ('after', options.after, options.change),
    ):
      kept = options.programs and (
        options.programs / f'{case.replace(" ", "_")}.{name}.txt'
      )
      if kept and name == 'before' and kept.exists():
        programs.append(kept.read_text())
        continue
      programs.append(program(checkout.resolve(), case, bindings))
      if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(programs[-1])
    before, after = programs
    if before == after:
      digest = hashlib.sha256(after.encode()).hexdigest()[:16]
      print(f'{case}: same program, {digest}', flush=True)
      continue
    differs = True
    lines = difflib.unified_diff(
      before.splitlines(), after.splitlines(), 'before', 'after', '', '', 0, ''
    )
    print(f'{case}: other programs', flush=True)
    for line in itertools.islice(lines, 20):
      print(f'  {line[:300]}')
  sys.exit(differs)


if __name__ == '__main__':
  main()
