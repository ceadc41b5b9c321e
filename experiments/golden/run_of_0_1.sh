#!/usr/bin/env bash
# Makes tests/golden/run_of_0_1: a tiny run of bertjax 0.1, one that was
# fine-tuned from it, and what 0.1 itself says with them.
#
#   git worktree add /tmp/bertjax_0_1 80b0809
#   experiments/golden/run_of_0_1.sh /tmp/bertjax_0_1 tests/golden/run_of_0_1
#
# The commit is the last one before modules were moved and renamed. What it
# writes must load for ever: tests/test_run_of_0_1.py compares to the last digit.
set -euo pipefail
checkout=$(realpath "$1")
mkdir -p "$2"
cd "$2"
export PYTHONPATH=$checkout
run() { python -m bertjax.main --gin_file="recipes/$1.gin" "${@:2}"; }

for document in 1 2 3 4 5 6 7 8; do
  printf 'the cat sat on mat %s .\nthe dog ran to it .\nthen they slept .\n\n' \
    $document
done > text.txt
printf 'text,label\n' > train.csv
for number in 1 2 3 4 5 6 7 8; do
  printf 'the cat sat %s .,cat\nthe dog ran %s .,dog\n' $number $number
done >> train.csv
printf 'the cat sat on mat .\nthe [MASK] ran .\n' > in.txt

run pretrain_text --gin.TEXT_FILES=text.txt --gin.RUN_DIR=pretrained \
  --gin.VOCAB_SIZE=60 --gin.TRAIN_STEPS=2 --gin.BATCH_SIZE=4 --gin.LENGTH=16 \
  --gin_bindings='config.EncoderConfig.width = 16' \
  --gin_bindings='config.EncoderConfig.layers = 1' \
  --gin_bindings='config.EncoderConfig.heads = 2' \
  --gin_bindings='config.EncoderConfig.feed_forward = 32' \
  --gin_bindings='config.EncoderConfig.vocabulary_multiple = 8' \
  --gin_bindings='loop.train.keep_first = False'
run finetune_text --gin.TRAIN_FILES=train.csv --gin.EVAL_FILES=train.csv \
  --gin.INIT_FROM=pretrained --gin.RUN_DIR=fine_tuned --gin.SEEDS='(0,)' \
  --gin.EPOCHS=1 --gin.BATCH_SIZE=8 --gin.LENGTH=16 --gin.LEARNING_RATE=1e-3
run embed --gin.RUN_DIR=pretrained --gin.INPUT=in.txt --gin.OUTPUT=vectors.npy
run fill_mask --gin.RUN_DIR=pretrained --gin.INPUT=in.txt \
  --gin.OUTPUT=filled.jsonl
run predict --gin.RUN_DIR=fine_tuned --gin.INPUT=in.txt \
  --gin.OUTPUT=predicted.jsonl
run export --gin.RUN_DIR=pretrained --gin.OUTPUT=exported
rm -r pretrained/tensorboard fine_tuned/text/seed_0/tensorboard
find . -name '*.png' -delete
find . -name '*.lock' -delete
# It holds the path of the machine, and only object stores need it.
find . -name commit_success.txt -delete
rm -r fine_tuned/text/seed_0/checkpoints pretrained/corpus
