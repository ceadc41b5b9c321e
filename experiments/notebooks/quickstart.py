# %% [markdown]
# # From raw text to a fine-tuned BERT, in ten minutes
#
# Text, vocabulary, pretraining on masked words and next sentences, filled
# masks, fine-tuning. Nothing is downloaded: the text is the documentation that
# every CPython carries. On 2 CPU cores 5 minutes, on a GPU or TPU less.

# %% tags=["parameters"]
REPOSITORY = None  # 'https://...', where this is not in a checkout
RUN_DIR = 'runs/quickstart'
TRAIN_STEPS = 2800
EPOCHS = 3
SEEDS = (0, 1, 2)

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

# %% [markdown]
# ## Pretraining
#
# Reads the text, trains a WordPiece vocabulary on it, then the model. Run the
# cell again and it goes on from its last checkpoint.

# %%
from IPython.display import Image, Markdown, display

from bertjax import main

main.start('recipes/quickstart.gin', RUN_DIR=RUN_DIR, TRAIN_STEPS=TRAIN_STEPS)

# %%
Image(f'{RUN_DIR}/curves.png', width=900)

# %% [markdown]
# ## What it has learnt: masks filled in
#
# Held-out text at each evaluation, [right] or [said≠hidden], and a sentence of
# yours. The model has seen
# 1.8 MB of text, so expect the frequent words.

# %%
from bertjax.inference.predictor import Predictor
from bertjax.training import examples

for step, texts in examples.read(RUN_DIR).items():
  print(f'step {step}: {texts[0]}')

# %%
predictor = Predictor.load(RUN_DIR)
predictor.fill_mask(['Return the [MASK] of the list.'], top_k=5)

# %% [markdown]
# ## Fine-tuning
#
# From which package of Python's library is a docstring? Three seeds, beside the
# answer that is always the most frequent package.

# %%
FINE_TUNED = f'{RUN_DIR}_finetune'
main.start('recipes/quickstart_finetune.gin', INIT_FROM=RUN_DIR,
           RUN_DIR=FINE_TUNED, EPOCHS=EPOCHS, SEEDS=SEEDS)
display(Markdown(pathlib.Path(f'{FINE_TUNED}/results.md').read_text()))

# %%
Predictor.load(FINE_TUNED).classify(
    ['Return the logarithm of x to the given base.',
     'Run the event loop until the future is done.'])
