"""Held-out text with its masks filled in, evaluation by evaluation.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run_dir:
    ...   filled = FilledMasks(run_dir)
    ...   filled.resume(0)
    ...   filled.write(100, ['the [cat≠dog] sat'])
    ...   read(run_dir)
    {100: ['the [cat≠dog] sat']}

examples.jsonl has one line per evaluation.
"""

import json
import os
from collections.abc import Sequence

from bertjax.parallel import processes
from bertjax.runs import layout, metrics_file, output_files


class FilledMasks:
  """Appends to examples.jsonl; only the first of several processes writes."""

  def __init__(self, directory: str):
    self._path = os.path.join(directory, layout.FILLED_MASKS)

  def resume(self, step: int) -> None:
    """Drops what was written after `step`, the step of a checkpoint."""
    if not processes.is_first() or not os.path.exists(self._path):
      return
    kept = [
      line
      for line, record in metrics_file.read_lines(self._path)
      if record['step'] <= step
    ]
    output_files.write_text(self._path, ''.join(kept), 'RUN_DIR')

  def write(self, step: int, lines: Sequence[str]) -> None:
    """Writes the texts of a step, if any."""
    if lines and processes.is_first():
      with (
        output_files.explain_failure(self._path),
        open(self._path, 'a', encoding='utf-8') as file,
      ):
        file.write(
          json.dumps({'step': step, 'texts': list(lines)}, ensure_ascii=False)
          + '\n'
        )


def read(directory: str) -> dict[int, list[str]]:
  """Returns step -> texts of a run, up to the first incomplete line."""
  lines = metrics_file.read_lines(os.path.join(directory, layout.FILLED_MASKS))
  return {record['step']: record['texts'] for _, record in lines}
