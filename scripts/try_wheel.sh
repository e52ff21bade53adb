#!/bin/sh
# Installs the built wheel in a fresh environment, with the newest or the lowest versions allowed, uses it in an empty folder, and
# runs the fast core of the tests on it.
set -eu
which=$1
here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
bin="$place/venv/bin"
cp "$here/constraints.txt" "$place/constraints.txt"
if [ "$which" = lowest ]; then
    "${PYTHON:-python3}" "$here/scripts/lowest_versions.py" | sort > "$place/constraints.txt"
fi
"$bin/python" -m pip install --quiet --disable-pip-version-check -c "$place/constraints.txt" torch
"$bin/python" -m pip install --quiet --disable-pip-version-check -c "$place/constraints.txt" "$(ls "$here"/dist/*.whl)[image,hf]"
cd "$place"
"$bin/python" -c 'import gradsift, sys; print("gradsift from", gradsift.__file__)'
"$bin/gradsift" demo --seeds 2 --json > demo.json
"$bin/gradsift" trim runs/demo/run -o clean.npz
"$bin/python" -m gradsift report runs/demo/run -o page.html
"$bin/python" - <<'PY'
import json, pathlib
found = json.loads(pathlib.Path("demo.json").read_text())
if found["precision"] < 0.8 or not pathlib.Path("page.html").stat().st_size:
    raise SystemExit(f"the demo found too little: {found['precision']}")
print("flagged precision", found["precision"])
PY
HF_HUB_OFFLINE=1 "$bin/python" -W ignore "$here/scripts/try_transformers.py"
echo "wheel with the $which versions: works"
