#!/usr/bin/env bash
# Starts a server on a free port, and gives SERVER_URL, API_USERNAME and API_PASSWORD to the steps that follow.
#
# PACKAGES: what pip installs. SETTINGS: lines of NAME=VALUE. PYTHON: the Python to use. RUNNER_TEMP, GITHUB_ENV and
# GITHUB_OUTPUT are GitHub's; outside GitHub, RUNNER_TEMP alone is needed, and the file RUNNER_TEMP/job-api/env can be sourced.
set -euo pipefail

folder=$RUNNER_TEMP/job-api
mkdir -p "$folder"
cd "$folder" # no .env of the project counts here, and jobs are stored in this folder

"${PYTHON:-python3}" -m venv venv
# shellcheck disable=SC2086 # several packages, and folders of the user's
(cd "${GITHUB_WORKSPACE:-$OLDPWD}" && "$folder/venv/bin/python" -m pip install --quiet ${PACKAGES:-translation-server translation-client})

password=$(venv/bin/python -c 'import secrets; print(secrets.token_urlsafe())')
[[ -z ${GITHUB_ENV:-} ]] || echo "::add-mask::$password"
settings=()
while IFS= read -r line; do
  [[ -z $line ]] || settings+=("$line")
done <<<"${SETTINGS:-}"

env -u API_PASSWORD_FILE -u USERS_FILE "API_USERNAME=ci" "API_PASSWORD=$password" "${settings[@]}" \
  nohup venv/bin/translation-server --host 127.0.0.1 --port 0 >log 2>&1 </dev/null &
echo $! >pid

until url=$(sed -n 's/.* listening on //p' log) && [[ -n $url ]]; do
  kill -0 "$(<pid)" 2>/dev/null || { echo "The server did not start:" >&2; cat log >&2; exit 1; }
  sleep 0.1
done

printf '%s\n' "SERVER_URL=$url" "API_USERNAME=ci" "API_PASSWORD=$password" | tee -a "${GITHUB_ENV:-/dev/null}" >env
echo "url=$url" >>"${GITHUB_OUTPUT:-/dev/null}"
echo "A server listens on $url"
