"""What the notebooks need from their machine: Colab, Kaggle, or your own.

    runtime.install()   # requirements.txt, but no other jax
    runtime.storage()   # a folder that survives the machine
    runtime.run('recipes/quickstart.gin', TRAIN_STEPS=100)

Imports nothing that has to be installed first.
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
# Built for the runtime's accelerator, and for each other.
KEPT = ('jax', 'jaxlib', 'libtpu')


def install() -> None:
  """Installs requirements.txt, but keeps an installed jax as it is.

  Raises:
    UserError: pip failed, for example because that jax is out of range.
  """
  kept = [
    f'{name}=={version}'
    for name in KEPT
    if (version := version_of(name)) is not None
  ]
  # What is installed already is not looked up on the network.
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
  """Returns a folder that survives the machine.

  Args:
    folder: your own; None: on Colab one in your Google Drive, which asks for
      permission, on Kaggle /kaggle/working, elsewhere `runs` in the checkout.
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
  """Runs `python -m bertjax.main` and shows its output line by line.

  It runs in its own process: an accelerator belongs to one process at a time,
  and is free again afterwards. If interrupted, the command saves its state
  first; a second interruption does not wait for that.

  Args:
    files: gin files, later ones win.
    macros: what would be --gin.NAME=VALUE.

  Raises:
    UserError: it failed; with the command's own message if it has one.
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
  """Returns the version of a package, or None if it is not installed."""
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
  """Returns a value in gin's syntax, with double quotes: easier in a shell."""
  if isinstance(value, list | tuple):
    return f'[{", ".join(map(_literal, value))}]'
  if isinstance(value, str):
    return json.dumps(value, ensure_ascii=False)
  return repr(value)


def _show(command, lines: list[str] | None = None) -> int:
  """Runs a command in the checkout, prints its lines, returns its status.

  `!` would continue with the next cell if a command fails, and kill the command
  if it is interrupted.
  """
  environment = dict(os.environ)
  if (
    'jax' in sys.modules
  ):  # importing jax sets it to 1, also for child processes
    environment.pop('TF_CPP_MIN_LOG_LEVEL', None)
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
      # SIGTERM, because many frontends send the command SIGINT too, and a
      # second SIGINT means that there is no time to save.
      process.terminate()
      _print(process.stdout, lines)
      raise
  return process.returncode


def _print(stream, lines: list[str] | None) -> None:
  for line in stream:
    print(line, end='', flush=True)
    if lines is not None:
      lines.append(line)
