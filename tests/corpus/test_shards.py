import os
import resource

import numpy as np
import pytest

from bertjax.corpus import shards


@pytest.fixture
def most_files():
  """Allows few open files, and says how many."""
  limits = resource.getrlimit(resource.RLIMIT_NOFILE)
  opened = max(map(int, os.listdir('/dev/fd')))
  most = max(256, opened + 1)
  resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
  yield most
  resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_split_has_more_files_than_may_be_open(tmp_path, most_files):
  files = []
  for number in range(most_files):
    name = f'train-{number:05d}'
    with shards.Writer(str(tmp_path), name, np.uint16) as writer:
      for place in range(2):
        tokens = np.array([number, place, 7], np.uint16)
        writer.add(number, tokens, np.array([3]))
    files += writer.files
  split = shards.Split(str(tmp_path), files)
  found = [split.piece(i) for i in range(len(split))]
  # All are still mapped.
  for number, piece in enumerate(found):
    assert piece.tokens.tolist() == [number // 2, number % 2, 7]
