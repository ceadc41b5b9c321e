# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the heads of a BERT attend to
#
# Attention maps, their entropies, and the importance of each head, for a run of
# your own or for any Hugging Face directory of a BERT.

# %% tags=["parameters"]
REPOSITORY = None  # where to clone bertjax from if this is not a checkout
MODEL = 'runs/notebook/pretrained'  # a run, or a Hugging Face directory
TEXTS = [  # texts, or pairs of texts in parentheses
  'If the file does not exist, an exception is raised.',
  ('Open the file for reading.', 'The file must exist.'),
]

# %%
# The checkout that holds this notebook, or else a clone of REPOSITORY.
import os
import pathlib
import subprocess
import sys

here = pathlib.Path.cwd()
checkout = next(
  (
    folder
    for folder in (here, here / 'bertjax', *here.parents)
    if (folder / 'bertjax' / 'main.py').is_file()
  ),
  None,
)
if checkout is None and not REPOSITORY:
  raise FileNotFoundError(
    f'there is no checkout of bertjax in {here} or above it; set REPOSITORY '
    'to the address to clone it from'
  )
if checkout is None:
  checkout = here / 'bertjax'
  subprocess.run(
    ['git', 'clone', '--depth=1', REPOSITORY, checkout], check=True
  )
os.chdir(checkout)
sys.path.insert(0, str(checkout))

from experiments.notebooks import runtime

runtime.install()

# %% [markdown]
# `MODEL` can also come from the Hugging Face Hub:
#
# ```python
# from huggingface_hub import snapshot_download
# MODEL = snapshot_download('google-bert/bert-base-uncased', allow_patterns=[
#     'config.json', 'model.safetensors', 'vocab.txt', 'tokenizer_config.json'])
# ```

# %%
from bertjax.inference.predictor import Predictor

model = Predictor.load(MODEL)
print(
  f'{model.config.layers} layers of {model.config.heads} heads; masked-LM '
  f'head: {"mlm_head" in model.parameters}'
)

# %% [markdown]
# ## Maps
#
# A row is a token that attends, a column a token that is attended to. Beside
# the maps stand the entropy of each head, averaged over the text, and its
# importance.

# %%
from bertjax.inspection import attention_maps, figure

found = attention_maps.compute(
  model, TEXTS, importance='mlm_head' in model.parameters
)

# %%
# %matplotlib inline
from IPython.display import HTML, display

for maps in found:
  display(figure.draw(maps, MODEL))

# %% [markdown]
# ## Numbers
#
# Layers are rows and heads are columns. The entropy is in nats: 0 if a head
# attends to one token, log(number of tokens) if it attends to all equally.
# The importance is how fast the masked-LM loss changes as a head is turned
# down (Michel et al. 2019), with each token masked in turn; it is None for
# a model without a masked-LM head.

# %%
import numpy as np

np.set_printoptions(precision=3, suppress=True)
for maps in found:
  print(*maps.tokens)
  print('weights [layers, heads, tokens, tokens]:', maps.weights.shape)
  print('entropy:', maps.entropies, sep='\n')
  print('importance:', maps.importance, '', sep='\n')

# %% [markdown]
# ## The page
#
# Choose a head, then point at a token. The recipe `attention_maps.gin` writes
# the same page, and the pictures, as files.

# %%
from bertjax.inspection import page

HTML(page.frame(found, MODEL))

# %% [markdown]
# Every other intermediate, such as hidden states, can be read as well: see
# `bertjax/inspection/taps.py`.
