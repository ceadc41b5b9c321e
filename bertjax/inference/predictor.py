"""A trained model at work: embeds, fills masks, classifies, tags, answers.

    predictor = Predictor.load('runs/books')            # or a Hugging Face
    predictor.embed(['Hello!', 'Good day.'])            # float32 [2, D]
    predictor.fill_mask(['The [MASK] sat.'])  # [[[('cat', 0.31), ...]]]
    Predictor.load('runs/sst2').classify(['Fun!'])  # [{'label': ...}]

Source: ours; pooling as in Reimers and Gurevych 2019 (sentence-transformers).
"""

import functools
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bertjax.errors import UserError
from bertjax.inference import batching, task_heads, windows, word_rows
from bertjax.inference.tokenize import Tokenizer
from bertjax.interop import names, source
from bertjax.models import bert
from bertjax.models.config import EncoderConfig, choose


def _mean(hidden_BLD: jax.Array, real_BL1: jax.Array) -> jax.Array:
  total_BD = jnp.sum(hidden_BLD * real_BL1, axis=1)
  return total_BD / jnp.maximum(jnp.sum(real_BL1, axis=1), 1)


# Of hidden states, float32, and whether a position is real, to float32[B, D].
# [CLS] and [SEP] count, as in sentence-transformers.
POOLINGS = {
    'cls': lambda hidden_BLD, real_BL1: hidden_BLD[:, 0],
    'mean': _mean,
    'max': lambda hidden_BLD, real_BL1: jnp.max(
        jnp.where(real_BL1 > 0, hidden_BLD, -jnp.inf), axis=1),
}


class Predictor:
  """Parameters, tokenizer, and one compiled function for each use.

  Attributes:
    config: the architecture.
    params: nested by name, with the heads that the checkpoint has.
    tokenizer: see `tokenize`.
    origin: where it came from, for messages.
    step: of a run's checkpoint, else None.
    task: of a fine-tuned model, see `interop.source`; None of others.
    cut: texts that were longer than asked for, so far.
  """

  def __init__(
      self,
      config: EncoderConfig,
      params: names.Params,
      tokenizer: Tokenizer,
      origin: str = 'the model',
      step: int | None = None,
      task: dict | None = None,
  ):
    """Raises UserError where the vocabulary does not fit the token table."""
    rows = params['embeddings']['token']['embedding'].shape[0]
    if len(tokenizer.tokens) > rows:
      raise UserError(
          f'{origin} has a vocabulary of {len(tokenizer.tokens)} entries and a '
          f'token table of {rows} rows; put the vocab.txt there that it was '
          'trained with')
    self.config = config
    self.params = jax.tree.map(jnp.asarray, params)
    self.tokenizer = tokenizer
    self.origin = origin
    self.step = step
    self.task = task
    self.cut = 0

  @classmethod
  def load(cls, path: str, step: int | None = None) -> 'Predictor':
    """Reads the folder of a run, or a Hugging Face directory.

    Args:
      path: the folder.
      step: of a run's checkpoint; None: its latest.

    Raises:
      UserError: neither of the two, no checkpoint, or a damaged one.
    """
    found = source.read(path, step)
    return cls(found.config, found.params, Tokenizer.load(found.path), path,
               found.step, found.task)

  def embed(
      self,
      texts: Sequence[str],
      pooling: str = 'mean',
      normalize: bool = False,
      length: int = 128,
      batch_size: int = 32,
  ) -> np.ndarray:
    """Returns a vector for each text.

    Args:
      texts: any; one that is too long is cut.
      pooling: a name in `POOLINGS`.
      normalize: whether each vector is scaled to length 1.
      length: the most tokens of a text, [CLS] and [SEP] included.
      batch_size: texts that are worked on at a time.

    Returns:
      float32[n, D], in the order of the texts.

    Raises:
      UserError: no such pooling; a length beyond the model's positions.
    """
    parts = list(self.embed_stream(
        texts, pooling, normalize, length, batch_size))
    if not parts:
      return np.zeros((0, self.config.width), np.float32)
    return np.concatenate(parts)

  def embed_stream(
      self,
      texts: Iterable[str],
      pooling: str = 'mean',
      normalize: bool = False,
      length: int = 128,
      batch_size: int = 32,
  ) -> Iterator[np.ndarray]:
    """Yields what `embed` returns in parts, so that memory stays flat."""
    choose(POOLINGS, pooling, 'POOLING')
    self.check_length(length)
    function = functools.partial(self._embed(pooling, normalize), self.params)
    for part in batching.run(
        function, self._rows(texts, length), length, batch_size):
      yield np.stack(part)

  def fill_mask(
      self,
      texts: Sequence[str],
      top_k: int = 5,
      length: int = 128,
      batch_size: int = 32,
  ) -> list[list[list[tuple[str, float]]]]:
    """Returns the likeliest tokens for each [MASK] of each text.

    Args:
      texts: with '[MASK]' in them, within `length` tokens.
      top_k: how many tokens.
      length: the most tokens of a text, [CLS] and [SEP] included.
      batch_size: texts that are worked on at a time.

    Returns:
      For each text, for each [MASK] in it, (token, probability), likeliest
      first; nothing where a text has none.

    Raises:
      UserError: no masked-LM head.
    """
    self.check_fills_masks()
    self.check_length(length)
    mask = self.tokenizer.ids['[MASK]']
    if isinstance(texts, str):
      raise UserError(f'expected a list of texts, got {texts[:40]!r}')
    rows, counts = [], []  # a row for each mask
    for row in self._rows(texts, length, masks=True):
      places = [i for i, token in enumerate(row.ids) if token == mask]
      rows += [row._replace(position=place) for place in places]
      counts.append(len(places))
    function = functools.partial(
        self._fill(min(top_k, len(self.tokenizer.tokens))), self.params)
    answers = iter([
        [(self.tokenizer.tokens[i], float(p))
         for i, p in zip(ids, probabilities, strict=True)]
        for part in batching.run(function, rows, length, batch_size)
        for probabilities, ids in part
    ])
    return [[next(answers) for _ in range(count)] for count in counts]

  def classify(
      self,
      texts: Sequence[str | Sequence[str]],
      length: int = 128,
      batch_size: int = 32,
  ) -> list[dict]:
    """Returns what a classifier says of each text, or pair of texts.

    Args:
      texts: any; one that is too long is cut.
      length: the most tokens of a text, [CLS] and [SEP] included.
      batch_size: texts that are worked on at a time.

    Returns:
      See `task_heads.describe`.

    Raises:
      UserError: no classifier; a length beyond the model's positions.
    """
    task_heads.check(self.task, ('classes', 'number', 'labels'), self.origin)
    logits = list(self.logits(self._rows(texts, length), length, batch_size))
    if not logits:
      return []
    return list(task_heads.describe(self.task, task_heads.probabilities(
        self.task['kind'], np.stack(logits))))

  def tag(
      self,
      sentences: Sequence[Sequence[str]],
      length: int = 128,
      batch_size: int = 32,
  ) -> list[list[str]]:
    """Returns a tag for each word of each sentence.

    Args:
      sentences: each a list of words; a long one is divided, none is cut.
      length: the most tokens that are looked at together.
      batch_size: rows that are worked on at a time.

    Raises:
      UserError: no head for tags; a length beyond the model's positions.
    """
    task_heads.check(self.task, ('tags',), self.origin)
    if any(isinstance(sentence, str) for sentence in sentences):
      raise UserError('expected lists of words, got a text; split it')
    parts = word_rows.make(self.tokenizer, sentences, length)
    logits = self.logits(
        (piece.row for pieces in parts for piece in pieces), length, batch_size)
    return [
        [self.task['labels'][i] for i in word_rows.join(pieces, [
            next(logits)[list(piece.first)].argmax(-1) for piece in pieces])]
        for pieces in parts
    ]

  def answer(
      self,
      question: str,
      context: str,
      length: int = 384,
      stride: int = 128,
      batch_size: int = 32,
  ) -> windows.Answers:
    """Returns the parts of a context that answer a question, best first.

    Args:
      question: the text.
      context: any length; it is looked at in windows.
      length: the most tokens of a window.
      stride: tokens from one window to the next.
      batch_size: windows that are worked on at a time.

    Raises:
      UserError: no head for spans; a length beyond the model's positions.
    """
    task_heads.check(self.task, ('spans',), self.origin)
    length = min(length, self.config.positions)
    parts = windows.make(self.tokenizer, question, context, length, stride)
    return windows.best_answers(context, parts, list(self.logits(
        [part.row for part in parts], length, batch_size)))

  def logits(
      self, rows: Iterable[batching.Row], length: int, batch_size: int
  ) -> Iterator[np.ndarray]:
    """Yields the logits of the task's head for each row: [C], or [L, C]."""
    self.check_length(length)
    function = functools.partial(self._logits(), self.params)
    for part in batching.run(function, rows, length, batch_size):
      yield from part

  def _rows(
      self, texts: Iterable[str], length: int, masks: bool = False
  ) -> Iterator[batching.Row]:
    """Tokenizes a few hundred texts at a time."""
    if isinstance(texts, str):
      raise UserError(f'expected a list of texts, got {texts[:40]!r}')
    texts = iter(texts)
    while True:
      some = [text for _, text in zip(range(512), texts, strict=False)]
      if not some:
        return
      rows, cut = self.tokenizer.rows(some, length, masks)
      self.cut += cut
      yield from rows

  def check_fills_masks(self) -> None:
    """Raises UserError where there is no masked-LM head."""
    if 'mlm_head' not in self.params:
      raise UserError(
          f'{self.origin} has no masked-LM head, which filling masks needs; '
          'choose a checkpoint of pretraining')

  def check_length(self, length: int) -> None:
    """Raises UserError where the model has no such positions."""
    if not 3 <= length <= self.config.positions:
      raise UserError(f'LENGTH {length} is not between 3 and the '
                      f'{self.config.positions} positions of {self.origin}; '
                      'set LENGTH')

  @functools.cache  # noqa: B019  a predictor lives as long as its functions
  def _embed(self, pooling: str, normalize: bool):
    model = bert.Bert(self.config)

    def embed(params, batch):
      hidden_BLD = model.apply({'params': params}, batch, train=False)['hidden']
      real_BL1 = (batch['segments'] > 0).astype(jnp.float32)[..., None]
      pooled_BD = POOLINGS[pooling](hidden_BLD.astype(jnp.float32), real_BL1)
      if normalize:
        norm_B1 = jnp.linalg.norm(pooled_BD, axis=-1, keepdims=True)
        pooled_BD /= jnp.maximum(norm_B1, 1e-12)
      return pooled_BD

    return jax.jit(embed)

  @functools.cache  # noqa: B019
  def _logits(self):
    kind, labels = self.task['kind'], self.task['labels']
    head = task_heads.HEADS[kind]
    model = bert.BertForTask(
        self.config, head, task_heads.outputs(kind, labels))

    def logits(params, batch):
      found = model.apply({'params': params}, batch, train=False)['logits']
      return found[:, 0] if head == 'classifier' else found

    return jax.jit(logits)

  @functools.cache  # noqa: B019
  def _fill(self, top_k: int):
    model = bert.BertForPreTraining(self.config, next_sentence=False)
    known = len(self.tokenizer.tokens)  # rows beyond are padding of the table

    def fill(params, batch):
      logits_BPV = model.apply(
          {'params': params}, batch, train=False)['mlm_logits']
      probabilities_BV = jax.nn.softmax(logits_BPV[:, 0, :known])
      return tuple(jax.lax.top_k(probabilities_BV, top_k))

    return jax.jit(fill)
