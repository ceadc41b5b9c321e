# ---
# jupyter:
#   accelerator: TPU
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pretraining on a TPU, on Colab or Kaggle
#
# Choose a TPU as accelerator (Colab: *Runtime, Change runtime type*; Kaggle:
# *Settings, Accelerator*) and run all cells. If the machine goes away, connect
# to a new one and run all cells again: the run is on permanent storage and
# continues from its last checkpoint.
#
# Without a TPU the same cells run on GPUs or on the CPU.

# %% tags=["parameters"]
REPOSITORY = None  # where to clone bertjax from if this is not a checkout
STORAGE = None  # a folder; None: Google Drive, /kaggle/working, or runs
NAME = 'tpu_pretraining'  # of the run's folder there
TEXT_FILES = 'python_documentation'  # or files and globs
VOCAB_SIZE = 4096  # 16384 and more for larger text
SIZE = 'small'  # tiny, mini, small, medium, base, large
TRAIN_STEPS = 2000  # for 2 MB of text; 100,000 and more for a large one
BATCH_SIZE = 128  # of all cores together: a multiple of their number
LENGTH = 128
LEARNING_RATE = 5e-4
CHECKPOINT_STEPS = 200  # as many steps as a disconnection may cost
EVAL_STEPS = 500
SENTENCES = ['If the file does not exist, an [MASK] is raised.']

# %% [markdown]
# ## Setting up
#
# The runtime's jax is built for its accelerator and is kept: pip is told its
# version, and stops if it would have to replace it.

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
# ## Storage
#
# - Colab: Google Drive, which asks for permission.
# - Kaggle: `/kaggle/working`. Set *Session options, Persistence* to *Files
#   only*, as otherwise it ends with the session.
# - Elsewhere: `runs` in the checkout.

# %%
RUN_DIR = f'{runtime.storage(STORAGE)}/{NAME}'
print(RUN_DIR)

# %% [markdown]
# ## Devices
#
# A TPU belongs to one process at a time. So this notebook itself computes on
# the CPU, and a process of its own looks for devices, as the one that trains
# will.

# %%
import jax

jax.config.update('jax_platforms', 'cpu')
runtime.devices()

# %% [markdown]
# ## Training
#
# `meshes/data.gin` divides each batch over all devices; with `meshes/fsdp.gin`
# they divide the parameters and the optimizer's state as well.
#
# **After a disconnection run this notebook again.** If the run has a
# checkpoint, the output says `continuing from step`. The interrupt button saves
# a checkpoint before it stops. A larger `TRAIN_STEPS` prolongs a run; with most
# other changes it is another run, which needs another `NAME`.

# %%
from bertjax.reporting import run_reader

began = max(run_reader.read(RUN_DIR).checkpoints, default=0)
runtime.run(
  'recipes/pretrain_text.gin',
  f'models/bert_{SIZE}.gin',
  'meshes/data.gin',
  RUN_DIR=RUN_DIR,
  TEXT_FILES=TEXT_FILES,
  VOCAB_SIZE=VOCAB_SIZE,
  TRAIN_STEPS=TRAIN_STEPS,
  BATCH_SIZE=BATCH_SIZE,
  LENGTH=LENGTH,
  LEARNING_RATE=LEARNING_RATE,
  CHECKPOINT_STEPS=CHECKPOINT_STEPS,
  EVAL_STEPS=EVAL_STEPS,
)

# %%
from IPython.display import Image, display

print(
  f'this session began at step {began} and ended at step',
  max(run_reader.read(RUN_DIR).checkpoints),
)
display(Image(f'{RUN_DIR}/curves.png'))

# %% [markdown]
# ## What it has learned

# %%
from bertjax.inference.predictor import Predictor

model = Predictor.load(RUN_DIR)
for sentence, masks in zip(SENTENCES, model.fill_mask(SENTENCES), strict=True):
  print(sentence)
  for guesses in masks:
    print(
      '   ', *(f'{token} {share:.2f}' for token, share in guesses), sep='   '
    )

# %% [markdown]
# Fine-tuning takes the run as `INIT_FROM`, as in `quickstart.ipynb`. As a
# directory for `transformers`, beside the run:

# %%
EXPORTED = f'{RUN_DIR}_step_{model.step}'
if not os.path.exists(EXPORTED):
  runtime.run('recipes/export.gin', MODEL=RUN_DIR, OUTPUT=EXPORTED)
