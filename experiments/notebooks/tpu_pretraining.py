# %% [markdown]
# # Pretraining on the TPU of Colab or Kaggle
#
# On all cores of the machine, into storage that outlives it. After a disconnect
# run all cells again: the run goes on from its last checkpoint, with the data
# where they stood, and its curves have no gap. On a machine without a TPU the
# same cells use what is there.

# %% tags=["parameters"]
REPOSITORY = None  # 'https://...', where this is not in a checkout
STORAGE = None  # a folder; None: Google Drive on Colab, Kaggle's, else runs
NAME = 'tpu'  # of the run, a folder in STORAGE
TEXT_FILES = 'python_documentation'  # 'books/*.txt.gz', or a list
SIZE = 'models/bert_small.gin'
TRAIN_STEPS = 20_000
BATCH_SIZE = 256  # over all cores
LENGTH = 128
CHECKPOINT_STEPS = 500  # a disconnect costs the steps since the last

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
# ## Storage
#
# On Kaggle the folder is kept with a saved version of the notebook.

# %%
if STORAGE is None and 'COLAB_RELEASE_TAG' in os.environ:
  from google.colab import drive

  drive.mount('/content/drive')
  STORAGE = '/content/drive/MyDrive/bertjax'
elif STORAGE is None:
  kaggle = pathlib.Path('/kaggle/working')
  STORAGE = str(kaggle if kaggle.is_dir() else 'runs')
RUN_DIR = f'{STORAGE}/{NAME}'

# %% [markdown]
# ## The devices
#
# The batch is divided over all of them. A model that does not fit one takes
# `meshes/fsdp.gin` as one more file, which divides the parameters as well.

# %%
import jax

jax.devices()

# %% [markdown]
# ## Training
#
# Products in bfloat16 on a TPU, parameters in float32. Progress, loss and time
# left stand in the lines below.

# %%
from bertjax import main

main.start(
    'recipes/pretrain_text.gin', SIZE, TEXT_FILES=TEXT_FILES, RUN_DIR=RUN_DIR,
    TRAIN_STEPS=TRAIN_STEPS, BATCH_SIZE=BATCH_SIZE, LENGTH=LENGTH,
    CHECKPOINT_STEPS=CHECKPOINT_STEPS)

# %%
from IPython.display import Image

Image(f'{RUN_DIR}/curves.png', width=900)

# %% [markdown]
# ## Handing it on
#
# As a directory that `transformers.AutoModel` and `AutoTokenizer` load.

# %%
if not os.path.exists(f'{RUN_DIR}-bert'):
  main.start('recipes/export.gin', RUN_DIR=RUN_DIR, OUTPUT=f'{RUN_DIR}-bert')
sorted(os.listdir(f'{RUN_DIR}-bert'))
