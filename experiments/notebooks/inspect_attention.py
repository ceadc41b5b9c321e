# %% [markdown]
# # What the heads attend to
#
# Of any run, or any Hugging Face directory of a BERT: maps of each head in each
# layer, how spread they are, how much each matters, and every other
# intermediate by its name.

# %% tags=["parameters"]
REPOSITORY = None  # 'https://...', where this is not in a checkout
MODEL = 'runs/quickstart'  # a run, or a Hugging Face directory
TEXTS = [
    'Return a new list with the items of the old one in reverse.',
    ('If the file is not there, an error is raised.', 'It can be caught.'),
]

# %% [markdown]
# The checkout is where this notebook lies, or is cloned from `REPOSITORY`.
# `requirements.txt` leaves a jax that is there, such as Colab's, as it is.

# %%
import os
import pathlib
import subprocess
import sys

here = pathlib.Path.cwd()
found = [p for p in (here, *here.parents) if (p / 'gin_configs').is_dir()]
if not found and not os.path.exists('bertjax'):
  if not REPOSITORY:
    sys.exit('this notebook is not in a checkout of bertjax; set REPOSITORY')
  subprocess.run(['git', 'clone', '-q', REPOSITORY, 'bertjax'], check=True)
os.chdir(found[0] if found else 'bertjax')
sys.path.insert(0, os.getcwd())
# %pip install -q -r requirements.txt

# %%
from IPython.display import HTML, display

from bertjax.inference.predictor import Predictor
from bertjax.inspection import attention_maps, figure, page, taps

predictor = Predictor.load(MODEL)
maps = attention_maps.compute(
    predictor, TEXTS, importance='mlm_head' in predictor.params)

# %% [markdown]
# ## Every head
#
# Rows are layers, columns heads; a row of a map is the token that attends.

# %%
for one in maps:
  display(figure.draw(one, predictor.origin))

# %% [markdown]
# ## To click through
#
# The same as a page: choose a head, a token, a text.

# %%
import base64

document = base64.b64encode(page.render(maps, predictor.origin).encode())
HTML('<iframe width="100%" height="760" src="data:text/html;base64,'
     f'{document.decode()}"></iframe>')

# %% [markdown]
# ## As numbers
#
# The entropy of each head's attention, in nats, mean over the text, [layer,
# head]: 0 where all goes to one token. And the importance, where the model has
# the masked-LM head: how much the loss depends on a head (Michel et al. 2019).

# %%
maps[0].entropies.round(2), maps[0].importance

# %% [markdown]
# ## Anything else
#
# All intermediates that have a name; `taps.collect` gives their values.

# %%
from bertjax import batch
from bertjax.models import bert

taps.names(bert.Bert(predictor.config), batch.task_shapes(1, 16))
