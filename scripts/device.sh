#!/bin/sh
# What needs a GPU, in order of value: tests, speed, a whole audit, trainings. One command, for a machine without a network.
#
#   scripts/device.sh --prepare --data DIR        here, beforehand: images (52 MB) and missing wheels, into device/
#   scripts/device.sh                             on the GPU machine, from the repository's root; again to go on
#   scripts/device.sh --device cpu --small        the same parts on small models anywhere: tries the script itself
#   scripts/device.sh --collect DIR               afterwards: rows that came back, beside those in benchmarks/results
#
# Options: --device cuda, --seconds 570 for all parts together, --only "tests audit", --data DIR with cifar10/.
# A part has a time cap of its own, and one that is finished is not run again: device/state says so, and holds rows and
# logs. What is worth keeping is copied to $OUT (device/out where that is not set): at most seven small files.
set -u
cd "$(dirname "$0")/.." || exit 1
device=cuda seconds=570 small="" only="" data=device/data task=run from=""
while [ $# -gt 0 ]; do
    case $1 in
        --prepare) task=prepare ;;
        --small) small=--small ;;
        --collect) task=collect from=$2; shift ;;
        --device) device=$2; shift ;;
        --seconds) seconds=$2; shift ;;
        --only) only=$2; shift ;;
        --data) data=$2; shift ;;
        *) echo "unknown option $1: see the head of $0" >&2; exit 2 ;;
    esac
    shift
done
python=${PYTHON:-python3}
state=${DEVICE_STATE:-device/state} out=${OUT:-device/out}

if [ "$task" = prepare ]; then
    "$python" benchmarks/pack_images.py --data "$data" --to device/data || exit 1
    # What the GPU machine's Python lacks, by name, such as WHEELS="typer rich": pure-Python packages, without what they need.
    mkdir -p device/wheels
    for name in ${WHEELS:-}; do
        "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest device/wheels "$name" || exit 1
    done
    du -sh device/data device/wheels
    exit
fi
if [ "$task" = collect ]; then
    exec "$python" scripts/collect_rows.py "$from"
fi

mkdir -p "$state/rows" "$out"
site=$state/site
"$python" scripts/offline_packages.py "$site" device/wheels || exit 1
export PYTHONPATH="$PWD/src:$PWD/$site" HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 GRADSIFT_RESULTS="$PWD/$state/rows"
case $state in /*) export PYTHONPATH="$PWD/src:$site" GRADSIFT_RESULTS="$state/rows" ;; esac
began=$(date +%s)

# part NAME SECONDS COMMAND...: runs a part that is not finished, within its own cap and what is left of the whole time.
part() {
    name=$1 cap=$2
    shift 2
    case " $only " in "  " | *" $name "*) ;; *) return ;; esac
    if [ -e "$state/$name.done" ]; then
        echo "$name: finished before"
        return
    fi
    left=$((seconds - $(date +%s) + began))
    if [ "$left" -lt 15 ]; then
        echo "$name: no time left"
        return
    fi
    [ "$cap" -lt "$left" ] || cap=$left
    started=$(date +%s)
    timeout --kill-after=5 "$cap" "$@" > "$state/$name.log" 2>&1
    code=$?
    took=$(($(date +%s) - started))
    [ $code -eq 0 ] && touch "$state/$name.done"
    case $code in 0) how=done ;; 124 | 137) how="stopped after its $cap s" ;; *) how="failed with $code" ;; esac
    echo "$name: $how, $took s"
    echo "$name $code $took" >> "$state/parts.txt"
    [ $code -eq 0 ] || { tail -n 15 "$state/$name.log"; failed=$code; }
    keep
}

# keep: what is worth keeping, as few small files; a part that is killed later takes nothing away.
keep() {
    cp "$state/parts.txt" "$out/"
    tail -n 200 "$state"/*.log > "$out/logs.txt" 2> /dev/null
    cp "$state"/rows/*.jsonl "$state"/rows/*.parquet "$out/" 2> /dev/null
    return 0
}

speed() {
    part "speed-$1" "$2" "$python" benchmarks/speed --device "$device" --models "$1" --peers 'loop,vmap(grad)' --together \
        --measure time --rounds "$rounds" --seconds 20 --threads "$threads" $small
}

failed=0 rounds=7 threads=4 regime=cifar10n-worst-50k
if [ -n "$small" ]; then
    rounds=1 threads=1 data=$state/made-up
    [ -d "$data" ] || "$python" benchmarks/pack_images.py --to "$data" --small || exit 1
fi
"$python" - "$device" <<'PY' || exit 1
import sys, torch
print(torch.cuda.get_device_name() if sys.argv[1].startswith("cuda") else "CPU", "torch", torch.__version__)
PY
part tests 150 "$python" -m pytest tests/gradients/test_device.py -q --device "$device" -p no:cacheprovider --maxfail=20
speed resnet34 60
speed minilm 60
speed llama-1b-lora 100
speed roberta-large-lora 90
speed gpt2 60
part audit 120 "$python" benchmarks/whole_audit.py --case images --device "$device" --data "$data" --threads "$threads" $small
part cifar10n 400 "$python" benchmarks/gain --data "$data" --cache "$state/gain" --regimes $regime --seeds 1 \
    --threads "$threads" $small --arms 'no change' 'oracle drop' 'final model, drop' 'random drop, as many' \
    'cross-fitted, drop' 'cross-fitted, relabel' 'oracle relabel'
speed resnet18 60
speed encoder 60
speed lstm 60
exit $failed
