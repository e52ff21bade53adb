#!/bin/sh
# Builds wheel and sdist twice from two copies of the committed files, and refuses to go on where a byte differs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$here" && command -v "${PYTHON:-python3}")
case $python in /*) ;; *) python="$here/$python" ;; esac
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
SOURCE_DATE_EPOCH=$(git -C "$here" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
for which in first second; do
    mkdir "$place/$which"
    git -C "$here" archive HEAD | tar -x -C "$place/$which"
    (cd "$place/$which" && "$python" -m build --outdir "$place/dist-$which" > /dev/null)
done
(cd "$place/dist-first" && sha256sum -- *) > "$place/sums"
(cd "$place/dist-second" && sha256sum --check --quiet "$place/sums")
rm -rf "$here/dist"
mv "$place/dist-first" "$here/dist"
cat "$place/sums"
echo "two builds are equal"
