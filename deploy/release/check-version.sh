#!/usr/bin/env bash
# check-version.sh TAG: fails unless the tag is that of the version in the code, which the tests compare with all other places.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' server/translation_server/version.py)
if [[ $1 != "v$version" ]]; then
  echo "The tag is $1, and the version is $version: tag v$version, or change server/translation_server/version.py." >&2
  exit 1
fi
