#!/usr/bin/env bash
# Measures ttsi on a machine that has a GPU, torch and no network, within a few minutes.
#
#   python -m perf.pack DIR --python 3.12 --there torch,transformers   # where there is a network
#   perf/gpu.sh DIR [OUT]                                              # there, in a checkout
#
# First it runs every stage once in float32, which compares with transformers, PEFT and the Trainer
# to a thousandth and keeps nothing; then the table in the device's own dtype. OUT (perf/results by
# default) gets the results and gpu.log. Set PYTHON, DEVICE, MODEL, CHECK_MINUTES and TABLE_MINUTES
# for others than python3, cuda, smollm2-135m, 3 and 6.
set -euo pipefail

if [ $# -lt 1 ] || [ ! -d "$1" ]; then
  sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2
  exit 2
fi
packed=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
out=${2:-perf/results}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
model=${MODEL:-smollm2-135m}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

main() {
  nvidia-smi || echo "no nvidia-smi"
  cp "$packed"/*.whl "$packed"/*.gz "$work" 2>/dev/null || true
  for first in "$packed"/*.part-00; do
    [ -e "$first" ] || continue
    whole=$(basename "${first%.part-00}")
    cat "$packed/$whole".part-* >"$work/$whole"
  done
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" "$work"/*.whl
  mkdir "$work/data"
  tar -xzf "$work/data.tar.gz" -C "$work/data"
  export PYTHONPATH=$PWD:$PWD/plugins:$PWD/benchmarks:$work/site TTSI_DATA_DIR=$work/data TTSI_CACHE_DIR=$work/cache
  "$python" -c 'import torch; print("torch", torch.__version__, "sees a GPU:", torch.cuda.is_available())'

  echo; echo "== Correctness, float32"
  failed=0
  "$python" -m perf --device "$device" --model "$model" --dtype float32 --pairs 1 \
    --minutes "${CHECK_MINUTES:-3}" --out "$out" || failed=1
  echo; echo "== The table"
  "$python" -m perf --device "$device" --model "$model" \
    --minutes "${TABLE_MINUTES:-6}" --out "$out" || failed=1
  return $failed
}

main 2>&1 | tee "$out/gpu.log"
