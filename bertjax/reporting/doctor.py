"""Checks whether a run is healthy by comparing it with runs that were.

    >>> doctor.diagnose(run_dir='runs/quickstart')  # doctest: +SKIP
    runs/quickstart at step 2000, beside quickstart (3 seeds)
      ok   learning rate   0.00199 at step 200, expected 0.00199
      OFF  masking         masked 0.380, reference 0.143 (!); ...

The run may still be in progress.
"""

import sysconfig
from collections.abc import Sequence

from bertjax.errors import RunStopped, UserError
from bertjax.reporting import health_checks, lengths, references, run_reader
from bertjax.reporting.health_checks import Finding
from bertjax.reporting.references import Reference
from bertjax.reporting.run_reader import Run
from bertjax.runs import diagrams, differences, output_files, plotter
from bertjax.runs.plotter import Line
from bertjax.values import Path, checked

_MAKER = 'doctor'


@checked
def diagnose(
  *,
  run_dir: Path,
  reference: Path | None = None,
  output: Path | None = None,
  overwrite: bool = False,
  dry_run: bool = False,
) -> None:
  """Prints what is off in a run, or in each run of a fine-tuning.

  Args:
    run_dir: directory of the run or the fine-tuning.
    reference: see `references.find`.
    output: PNG file for the curves, which replaces an earlier one of the
      doctor's; None: not drawn.
    overwrite: whether to replace any other file.
    dry_run: find the reference but compare nothing.

  Raises:
    UserError: no run there, or no reference for it; see `references.find`.
    RunStopped: something is off; status 1.
  """
  if output is not None:
    output_files.check_output(
      output, ('.png',), overwrite=overwrite, maker=_MAKER
    )
  found = run_reader.find(run_dir, 'RUN_DIR')
  compared = [(one, references.find(one, reference)) for one in found]
  if dry_run:
    return
  off = 0
  for one, healthy in compared:
    findings = examine(one, healthy)
    print(describe(one, healthy, findings), flush=True)
    off += any(not finding.ok for finding in findings.values())
  if output is not None:
    with output_files.writing(output) as path:
      draw(compared, path)
    print(f'curves in {output}')
  if off:
    raise RunStopped(
      f'{run_dir} is not healthy'
      if len(found) == 1
      else f'{off} of {len(found)} runs in {run_dir} are not healthy',
      status=1,
    )


def examine(run: Run, reference: Reference) -> dict[str, Finding]:
  """Returns the findings by check; checks without data have none.

  Raises:
    UserError: the run has no metric of the reference.
  """
  if not any(metric in reference.curves for metric in run.metrics):
    raise UserError(
      f'{run.directory} has no metric of {reference.name}; set '
      'REFERENCE to another'
    )
  return {
    name: finding
    for name, check in health_checks.of(run.objective).items()
    if (finding := check(run, reference)) is not None
  }


def describe(
  run: Run, reference: Reference, findings: dict[str, Finding]
) -> str:
  """Returns a line for each finding, and how the configurations differ."""
  lines = [
    f'{run.directory} at step {run.step}, beside {reference.name} '
    f'({len(reference.seeds)} seeds)'
  ]
  lines += [
    f'  {"ok " if finding.ok else "OFF"}  {name:<15} {finding.text}'
    for name, finding in findings.items()
  ]
  if set(findings) == {'finite'}:
    first = min(int(steps[0]) for steps, _ in reference.curves.values())
    lines.append(
      '  nothing else can be compared: the reference begins at step '
      f'{first}; ask again then'
    )
  lines += [f'  {line}' for line in lengths.told(run, reference)]
  # The quickstart's text is the documentation of the Python that runs it.
  ours, theirs = sysconfig.get_python_version(), reference.python
  text = reference.bindings.get('TEXT_FILES')
  if text == "'python_documentation'" and ours != theirs:
    lines.append(
      f'  this is Python {ours}, the reference of {theirs}: another text'
    )
  if differing := references.different(reference.bindings, run.bindings):
    told = differences.listed(differing)
    lines.append(f'  configured otherwise than the reference: {told}')
  return '\n'.join(lines)


def draw(compared: Sequence[tuple[Run, Reference]], path: str) -> None:
  """Writes a PNG of runs over the range of their reference's runs.

  Args:
    compared: runs, each with the same reference.
    path: of the file.
  """
  first, reference = compared[0]
  shown = []
  for metric, curve in reference.curves.items():
    lines = [
      Line(run.name, *run.metrics[metric])
      for run, _ in compared
      if metric in run.metrics
    ]
    if lines and not metric.endswith('_baseline'):
      lines.insert(0, Line(f'reference {reference.name}', *curve))
      shown.append(diagrams.of_metric(metric, first.objective.titles, lines))
  plotter.draw(shown, path, made_by=output_files.mark(_MAKER))
