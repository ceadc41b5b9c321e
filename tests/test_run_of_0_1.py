"""A run that bertjax 0.1 left is still of use: it predicts, exports, starts.

Made by experiments/golden/run_of_0_1.sh, with the code of then.
"""

import json
import pathlib
import shutil

import gin
import numpy as np
import pytest
from safetensors import numpy as safetensors

from bertjax import main
from bertjax.errors import UserError
from bertjax.finetuning import initial_model
from bertjax.inference import export
from bertjax.inference.predictor import Predictor
from bertjax.interop import names
from bertjax.launch import configuration
from bertjax.runs import run_directory, trained_model

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'run_of_0_1'
PRETRAINED, FINE_TUNED = str(GOLDEN / 'pretrained'), str(GOLDEN / 'fine_tuned')
TEXTS = (GOLDEN / 'in.txt').read_text().splitlines()


def lines(name):
  return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


def test_it_predicts_what_it_predicted_then():
  # Not to the last digit: another processor adds in another order.
  predictor = Predictor.load(PRETRAINED)
  np.testing.assert_allclose(
    predictor.embed(TEXTS), np.load(GOLDEN / 'vectors.npy'), rtol=1e-5
  )
  for then, now in zip(
    lines('filled.jsonl'), predictor.fill_mask(TEXTS), strict=True
  ):
    tokens = [[one['token'] for one in mask] for mask in then['masks']]
    assert [[token for token, _ in mask] for mask in now] == tokens
  said = Predictor.load(FINE_TUNED).classify(TEXTS)
  for then, now in zip(lines('predicted.jsonl'), said, strict=True):
    assert now['label'] == then['label']
    assert now['scores'] == pytest.approx(then['scores'], 1e-5)


def test_its_export_is_what_it_was_then(tmp_path):
  export.export(model=PRETRAINED, output=str(tmp_path / 'new'))
  for path in (GOLDEN / 'exported').iterdir():
    then, now = path.read_bytes(), (tmp_path / 'new' / path.name).read_bytes()
    if path.suffix == '.json':  # in any order
      assert json.loads(now) == json.loads(then)
    elif path.name != 'README.md':  # which names the folder
      assert now == then


def test_training_starts_from_it():
  tensors = safetensors.load_file(GOLDEN / 'exported' / 'model.safetensors')
  found = trained_model.read(PRETRAINED)
  loaded = trained_model.parameters(
    PRETRAINED, found.config, str(GOLDEN / 'pretrained' / 'vocab.txt')
  )
  for name, array in names.to_huggingface(loaded, found.config).items():
    np.testing.assert_array_equal(array, tensors[name])
  start = initial_model.read(FINE_TUNED)
  assert start.task.labels == ('cat', 'dog') and start.parameters


def test_a_hugging_face_directory_that_it_wrote_loads():
  exported = str(GOLDEN / 'exported')
  np.testing.assert_allclose(
    Predictor.load(exported).embed(TEXTS),
    np.load(GOLDEN / 'vectors.npy'),
    rtol=1e-5,
  )


def test_it_does_not_go_on_by_itself_and_says_how_in_one_line(tmp_path):
  run = shutil.copytree(PRETRAINED, tmp_path / 'run')
  gin.clear_config()
  configuration.parse(
    ['recipes/pretrain_text.gin'], ["TEXT_FILES='x'", f"RUN_DIR='{run}'"]
  )
  with pytest.raises(UserError, match='bertjax 0.1.*ALLOW_DIFFERENCE=True'):
    with run_directory.claim(str(run), gin.config_str()):
      pass


def test_its_configuration_is_no_recipe_and_says_so_in_one_line(capfd, errors):
  config = str(GOLDEN / 'pretrained' / 'config.gin')
  assert main.main(['main', f'--gin_file={config}']) == 2
  (line,) = errors(capfd.readouterr().err)
  assert 'moved since bertjax 0.1' in line
