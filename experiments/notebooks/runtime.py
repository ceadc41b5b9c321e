"""What the notebooks need of the machine they run on: Colab, Kaggle, or yours.

    runtime.install()   # requirements.txt, but no other jax
    runtime.storage()   # a folder that outlives the machine
    runtime.run('recipes/quickstart.gin', TRAIN_STEPS=100)

Imports nothing that is to be installed. Source: ours.
"""

import importlib.metadata
import json
import os
import pathlib
import shlex
import subprocess
import sys

from bertjax.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements.txt'
KAGGLE = '/kaggle/working'
DRIVE = '/content/drive'
# Built for the accelerator of the runtime, and for each other.
KEPT = ('jax', 'jaxlib', 'libtpu')


def install() -> None:
  """Installs requirements.txt and leaves the jax that is there as it is.

  Raises:
    UserError: pip failed, as it does where that jax is out of range.
  """
  kept = [
    f'{name}=={version}'
    for name in KEPT
    if (version := version_of(name)) is not None
  ]
  # What is there already is not looked for on the network.
  status = _show(
    [
      sys.executable,
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '-r',
      REQUIREMENTS,
      *kept,
    ]
  )
  if status:
    raise UserError(
      f'pip could not install {REQUIREMENTS} beside {" ".join(kept) or "pip"}'
      f' (see above); its jax is {_range_of("jax")}: choose a runtime that '
      'has such a one'
    )
  print(
    'bertjax is ready, with',
    ' '.join(f'{name} {version_of(name)}' for name in ('jax', 'jaxlib')),
  )


def storage(folder: str | None = None) -> str:
  """Returns a folder that outlives the machine.

  Args:
    folder: your own; None: of your Google Drive on Colab, which asks you to
      allow it, /kaggle/working on Kaggle, elsewhere `runs` of the checkout.
  """
  if folder is not None:
    return folder
  if os.path.isdir(KAGGLE):  # first, as Kaggle's images have Colab's package
    return os.path.join(KAGGLE, 'runs')
  try:
    from google.colab import drive
  except ImportError:
    return str(ROOT / 'runs')
  drive.mount(DRIVE)
  return os.path.join(DRIVE, 'MyDrive', 'bertjax')


def devices() -> None:
  """Prints jax's version and the devices that `run` will train on."""
  code = (
    'import jax; print(f"jax {jax.__version__}, {jax.device_count()} '
    'device(s):", *jax.devices(), sep="\\n")'
  )
  if _show([sys.executable, '-c', code]):
    raise UserError(
      'jax found no devices, see above; where another notebook '
      'or process uses them, end that'
    )


def run(*files: str, **macros) -> None:
  """Runs `python -m bertjax.main`, and shows what it says as it says it.

  In a process of its own: an accelerator belongs to one process at a time, and
  what it used is free again afterwards. Interrupted, it saves its state first;
  a second interruption does not wait for that.

  Args:
    files: of gin, later ones win.
    macros: what would be --gin.NAME=VALUE.

  Raises:
    UserError: it failed; with its own line where it has one.
  """
  flags = [f'--gin_file={file}' for file in files] + [
    f'--gin.{name}={_literal(value)}' for name, value in macros.items()
  ]
  print('$ python -m bertjax.main', shlex.join(flags))
  lines = []
  status = _show([sys.executable, '-m', 'bertjax.main', *flags], lines)
  if status:
    said = [
      line.removeprefix('bertjax: ').strip()
      for line in lines
      if line.startswith('bertjax: ')
    ]
    raise UserError(
      said[-1] if said else f'the command ended with status {status}, see above'
    )


def version_of(name: str) -> str | None:
  """Returns the version of a package, None where it is not installed."""
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None


def _range_of(name: str) -> str:
  """Returns what requirements.txt allows of a package: '>=0.10,<0.13'."""
  lines = REQUIREMENTS.read_text(encoding='utf-8').splitlines()
  (line,) = [line for line in lines if line.startswith(f'{name}>')]
  return line.removeprefix(name)


def _literal(value) -> str:
  """Returns a value as gin reads it, with double quotes: easier in a shell."""
  if isinstance(value, list | tuple):
    return f'[{", ".join(map(_literal, value))}]'
  if isinstance(value, str):
    return json.dumps(value, ensure_ascii=False)
  return repr(value)


def _show(command, lines: list[str] | None = None) -> int:
  """Runs a command in the checkout, prints its lines, returns its status.

  Not by `!`: that would go on with the next cell where a command fails, and
  kill it where it is interrupted.
  """
  environment = dict(os.environ)
  if 'jax' in sys.modules:  # which sets it to 1 where it is imported, and so
    environment.pop('TF_CPP_MIN_LOG_LEVEL', None)  # for what is started there
  with subprocess.Popen(
    [str(word) for word in command],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    encoding='utf-8',
    errors='replace',
  ) as process:
    try:
      _print(process.stdout, lines)
    except KeyboardInterrupt:
      # SIGTERM, since many frontends have sent it SIGINT as well, and a second
      # SIGINT means that there is no time to save.
      process.terminate()
      _print(process.stdout, lines)
      raise
  return process.returncode


def _print(stream, lines: list[str] | None) -> None:
  for line in stream:
    print(line, end='', flush=True)
    if lines is not None:
      lines.append(line)
