#!/usr/bin/env bash
# build.sh FOLDER: builds what is uploaded, with the tools of `make packages`: for each side a source distribution, and from it the wheel.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
target=$(realpath "$1")
python=${PYTHON:-$PWD/.venv-packages/bin/python}
unpacked=$(mktemp -d)
trap 'rm -r "$unpacked"' EXIT

for side in server client; do
  (cd "$side" && "$python" -m hatchling build --target sdist --directory "$target")
  tar -xzf "$target/translation_$side-"*.tar.gz -C "$unpacked"
  (cd "$unpacked/translation_$side-"* && "$python" -m hatchling build --target wheel --directory "$target")
done
