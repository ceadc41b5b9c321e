"""What several tests of data need."""

import pytest


@pytest.fixture(scope='session')
def store_in_tfds():
  """Returns a function that builds a TFDS data set and stores it on disk."""
  import tensorflow_datasets as tfds

  def store(
    folder, name, features, splits, config=None, version='1.0.0', shards=1
  ):
    """`splits`: name -> examples, dicts of `features`."""
    configs = [tfds.core.BuilderConfig(name=config)] if config else []

    def generate(self, manager):
      return {
        split: iter(enumerate(examples)) for split, examples in splits.items()
      }

    builder = type(
      name.title(),
      (tfds.core.GeneratorBasedBuilder,),
      {
        'VERSION': tfds.core.Version(version),
        'RELEASE_NOTES': {version: 'the first'},
        'BUILDER_CONFIGS': configs,
        'pkg_dir_path': folder,
        # TFDS looks for the file of a module whose name has two parts, and
        # needs the package importlib_resources for it.
        '__module__': name,
        '_info': lambda self: tfds.core.DatasetInfo(
          builder=self, features=tfds.features.FeaturesDict(features)
        ),
        '_split_generators': generate,
        '_generate_examples': None,
      },
    )
    builder(data_dir=str(folder)).download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        num_shards=shards, try_download_gcs=False
      )
    )

  return store
