#!/usr/bin/env bash
# Puts the report card into the job summary and into RUNNER_TEMP/job-api/card.txt and card.xml, and stops the server.
#
# FAIL_ON: the findings that make it exit with 1. The rest is what start.sh set.
set -euo pipefail

folder=$RUNNER_TEMP/job-api
set -a
# shellcheck source=/dev/null
. "$folder/env"
set +a
cd "$folder" # no .env of the project counts here

stop() {
  kill "$(<pid)" 2>/dev/null || return 0
  while kill -0 "$(<pid)" 2>/dev/null; do sleep 0.1; done
}
trap stop EXIT

venv/bin/translation-client report --format junit >card.xml
echo "junit=$folder/card.xml" >>"${GITHUB_OUTPUT:-/dev/null}"
status=0
venv/bin/translation-client report --fail-on "${FAIL_ON:-warnings}" >card.txt || status=$?
{
  echo "### Report card"
  echo '```text'
  cat card.txt
  echo '```'
} >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
cat card.txt
exit "$status"
