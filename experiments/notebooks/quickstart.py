# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart: from text to a fine-tuned BERT
#
# This notebook trains a WordPiece vocabulary and a small BERT on the English
# documentation that comes with Python, fills in masked words, and fine-tunes
# the model on a classification task. Only packages are downloaded. It takes
# about ten minutes on two CPU cores, less on a GPU or TPU.
#
# Training runs as commands, the same as in a shell; each is printed before its
# output. A cell that was interrupted continues where it stopped.

# %% tags=["parameters"]
REPOSITORY = None  # where to clone bertjax from if this is not a checkout
FOLDER = 'runs/notebook'  # for everything that this notebook writes
TRAIN_STEPS = 2000  # of pretraining
SEEDS = [0, 1, 2]  # of fine-tuning, a run each
EPOCHS = 3  # of fine-tuning
SENTENCES = [  # for the pretrained model to fill in
  'A list (or a tuple [MASK] of strings.',
  'A widget has a parent. The [MASK] of a widget is a window.',
  'If the file does not exist, an [MASK] is raised.',
]
DOCSTRINGS = [  # for the fine-tuned model to classify
  'Wait until the task is done, or cancel it after a timeout.',
  'Parse the header of a message and decode its address.',
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
# This notebook itself computes on the CPU, so that the accelerator is free for
# the commands: a TPU belongs to one process at a time.

# %%
import jax
from IPython.display import Image, Markdown, display

jax.config.update('jax_platforms', 'cpu')

# %% [markdown]
# ## Text
#
# A document is a list of lines. Each line is a paragraph. It is split
# into sentences, of which next-sentence prediction makes its pairs. For text of
# your own, use the recipe `pretrain_text.gin` and its `TEXT_FILES`.

# %%
from bertjax.corpus import cleaning, python_documentation

text = python_documentation.PythonDocumentation()
first = next(text.documents(cleaning.Counts()))
print(f'{text}: {text.size() / 1e6:.0f} MB of source files\n')
print(*first[:4], sep='\n')

# %% [markdown]
# ## Vocabulary and pretraining
#
# One recipe does both: masked language modelling and next-sentence prediction,
# with an evaluation on held-out documents. Other macros can be set in the same
# way, `LEARNING_RATE=1e-3` for example.

# %%
PRETRAINED = f'{FOLDER}/pretrained'
runtime.run(
  'recipes/quickstart.gin', RUN_DIR=PRETRAINED, TRAIN_STEPS=TRAIN_STEPS
)

# %%
display(Image(f'{PRETRAINED}/curves.png'))

# %% [markdown]
# On held-out documents, compared with always giving the most frequent answer:

# %%
from bertjax.reporting import run_reader

run = run_reader.read(PRETRAINED)
display(
  Markdown(
    '\n'.join(
      [
        '| held out | accuracy | most frequent answer |',
        '|---|---|---|',
        *(
          f'| {name} | {run.last(f"eval/{key}_accuracy"):.3f} '
          f'| {run.last(f"eval/{key}_baseline"):.3f} |'
          for name, key in (('masked LM', 'mlm'), ('next sentence', 'nsp'))
        ),
      ]
    )
  )
)

# %% [markdown]
# The vocabulary is a text file. A word that it lacks becomes several pieces.

# %%
from bertjax.inference.predictor import Predictor

model = Predictor.load(PRETRAINED)
print(
  len(model.tokenizer.tokens),
  'tokens, among them',
  *model.tokenizer.tokens[2000:2008],
)
(pieces,) = model.tokenizer.pieces(['The unpicklable generators'])
print(*(model.tokenizer.tokens[i] for i in pieces.ids))

# %% [markdown]
# ## Fill in masked words
#
# A million parameters, trained for minutes on 2 MB of text, know which words
# are frequent, that brackets close and that words recur, and little more. It is
# enough to help with the task below.

# %%
for sentence, masks in zip(
  SENTENCES, model.fill_mask(SENTENCES, top_k=4), strict=True
):
  print(sentence)
  for guesses in masks:
    print(
      '   ', *(f'{token} {share:.2f}' for token, share in guesses), sep='   '
    )

# %% [markdown]
# ## Fine-tuning
#
# The task: from which package of the standard library is a docstring? Modules
# are either for training or for evaluation. The same again from randomly
# initialized parameters shows what pretraining is worth.

# %%
FINETUNED = f'{FOLDER}/finetuned'
runtime.run(
  'recipes/quickstart_finetune.gin',
  RUN_DIR=FINETUNED,
  INIT_FROM=PRETRAINED,
  SEEDS=SEEDS,
  EPOCHS=EPOCHS,
  VOCAB_FILE=f'{PRETRAINED}/vocab.txt',
)

# %%
FROM_NOTHING = f'{FOLDER}/from_nothing'
runtime.run(
  'recipes/quickstart_finetune.gin',
  RUN_DIR=FROM_NOTHING,
  INIT_FROM=None,
  SEEDS=SEEDS,
  EPOCHS=EPOCHS,
  VOCAB_FILE=f'{PRETRAINED}/vocab.txt',
)

# %%
for title, folder in (
  ('From the pretrained model', FINETUNED),
  ('From random parameters', FROM_NOTHING),
):
  display(
    Markdown(
      f'**{title}**\n\n' + pathlib.Path(folder, 'results.md').read_text()
    )
  )

# %% [markdown]
# ## Use the fine-tuned model

# %%
classifier = Predictor.load(FINETUNED)
for docstring, found in zip(
  DOCSTRINGS, classifier.classify(DOCSTRINGS), strict=True
):
  print(docstring)
  print(f'    {found["label"]} {found["scores"][found["label"]]:.2f}')

# %% [markdown]
# What the heads of this model attend to: `inspect_attention.ipynb`. A larger
# run, which survives the end of the machine: `tpu_pretraining.ipynb`.
