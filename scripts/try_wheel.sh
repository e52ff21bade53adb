#!/bin/sh
# Installs the built wheel in a fresh environment, with the newest or the lowest versions allowed, uses it in an empty folder, and
# runs the core of the tests on it. With the newest ones it writes dist/gradsift.cdx.json: the bill of materials (CycloneDX) of the
# wheel with its extras image and hf.
set -eu
which=$1
here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
bin="$place/venv/bin"
touch "$place/constraints.txt"
if [ "$which" = lowest ]; then
    "${PYTHON:-python3}" "$here/scripts/lowest_versions.py" | sort > "$place/constraints.txt"
fi
install() {
    "$bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir -c "$place/constraints.txt" "$@"
}
install torch
install "$(ls "$here"/dist/*.whl)[image,hf]"
if [ "$which" = newest ]; then  # what a user gets, before the tests bring theirs
    "$here/.venv/bin/cyclonedx-py" environment "$bin/python" --pyproject "$here/pyproject.toml" --mc-type library \
        --output-reproducible --output-format JSON --output-file "$here/dist/gradsift.cdx.json"
fi
install pytest pytest-xdist hypothesis pyod
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
export HF_HUB_OFFLINE=1
"$bin/python" -W ignore "$here/scripts/try_transformers.py"

# The tests import the wheel, for src/ is not on their path.
cd "$here"
unset GRADSIFT_DATA
OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 "$bin/python" -m pytest -n 2 -p no:cacheprovider -m 'not slow' \
    tests/gradients/test_oracle.py tests/gradients/test_families.py tests/detectors/test_detectors.py tests/test_audit.py \
    tests/test_audit_predictions.py tests/data tests/evidence tests/trajectory tests/integrations/test_prompts.py \
    tests/integrations/test_text.py tests/integrations/test_trainer.py
"$bin/python" -m pip list --disable-pip-version-check | grep -iE '^(torch|transformers|peft|datasets|scikit-learn|numpy|pyarrow) '
echo "wheel with the $which versions: works"
