"""What is said of a model that is not on disk.

    raise absent_model.refusal('bert-base-uncased')

It imports nothing slow, so that the command line can say it at once.
"""

import os
import re

from bertjax.errors import UserError


def refusal(path: str) -> UserError:
  """Returns the error for a model that is not on disk.

  The name of such a model on the Hub gets the command that downloads it.
  """
  owner, _, name = path.rpartition('/')
  if not owner and re.fullmatch(r'bert-(base|large)-[\w.-]+', name):
    owner = 'google-bert'  # these had no owner once
  if not owner and re.fullmatch(r'roberta-(base|large)', name):
    owner = 'FacebookAI'
  fix = 'point MODEL or INIT_FROM to one'
  on_hub = re.fullmatch(r'[\w-]+/[\w.-]*bert[\w.-]*', f'{owner}/{name}', re.I)
  if on_hub and not os.path.isdir(owner):
    fix = (
      'nothing is downloaded here: for the model of that name on the Hub, run '
      f'hf download {owner}/{name} --local-dir {name} and point MODEL or '
      f'INIT_FROM to {name}'
    )
  return UserError(
    'expected a run or a Hugging Face directory, but there is no directory '
    f'{path}; {fix}'
  )
