#!/usr/bin/env bash
# check-urls.sh [FOLDER]: fails unless both packages in the folder of the project say where the project is to be found.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

needed=(Homepage Documentation Source Issues Changelog)
for side in server client; do
  urls=$(sed -n '/^\[project\.urls\]$/,/^\[/p' "$side/pyproject.toml")
  for name in "${needed[@]}"; do
    if ! grep -qE "^$name = \"https://[^\"]+\"$" <<<"$urls"; then
      echo "$side/pyproject.toml does not say the project's $name: add to its table [project.urls] the line" >&2
      echo "$name = \"https://...\"" >&2
      exit 1
    fi
  done
done
