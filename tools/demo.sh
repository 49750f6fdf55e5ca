#!/usr/bin/env bash
# The whole journey on made-up machines: recordings -> log-mels -> training -> AUC -> scores of new recordings.
# Usage: bash tools/demo.sh [FOLDER]; writes to demo/ by default.
set -euo pipefail
folder=$(realpath -m "${1:-demo}")
source "$(dirname "$0")/setup.sh" ""
python=.venv/bin/python
type=belt id=00

step() { printf '\n== %s\n' "$1"; }

step "1. Synthetic recordings of two machine types, three IDs each"
$python tools/make_synthetic.py --out="$folder/raw" --machine_types=belt,rotor --machine_ids=00,01,02 \
  --train_clips=60 --test_clips=20 --seconds=6

step "2. Log-mels as TFRecords"
$python tools/prepare.py --dataset=dcase2020 --raw_dir="$folder/raw" --data_dir="$folder/data" --features=paper1

step "3. Training: $type $id against the other machines"
$python tools/train.py --config=configs/proxy_outlier.py:quicktest --workdir="$folder/run" \
  --config.data_dir="$folder/data" --config.machine_type=$type --config.machine_id=$id

step "4. Test clips: AUC and pAUC"
$python tools/evaluate.py --workdir="$folder/run"

step "5. Recordings the training never saw, without labels"
mkdir -p "$folder/new"
n=0
for clip in "$folder/raw/dev_data/$type/test/"*_id_${id}_*.wav; do
  cp "$clip" "$folder/new/recording_$(printf %02d $n).wav"
  n=$((n + 1))
done
$python tools/score.py --workdir="$folder/run" --input="$folder/new" --output="$folder/scores.csv"

step "6. A page to show"
$python tools/report.py --workdir="$folder/run" --raw_dir="$folder/raw" --out="$folder/report.html"

printf '\n== What was written\n'
printf '%-16s %s\n' recordings "$folder/raw" log-mels "$folder/data" training "$folder/run" \
  'test scores' "$folder/run/scores" measures "$folder/run/metrics.json" 'new recordings' "$folder/scores.csv" 'to show' "$folder/report.html"
