#!/bin/sh
# Runs Prometheus, which reads the metrics of all servers: with METRICS_TOKEN, or else as the user.
set -eu

folder=$(dirname "$0")
umask 077
if [ -n "${METRICS_TOKEN:-}" ]; then
    printf %s "$METRICS_TOKEN" >/tmp/secret
    login='authorization: { credentials_file: /tmp/secret }'
else
    printf %s "$API_PASSWORD" >/tmp/secret
    user=$(printf %s "$API_USERNAME" | sed "s/'/''/g; s/[\\\\&|]/\\\\&/g")
    login="basic_auth: { username: '$user', password_file: /tmp/secret }"
fi
sed "s|8000|$PORT|; s|^    # login|    $login|; s|rules.yml|$folder/rules.yml|" "$folder/prometheus.yml" >/tmp/prometheus.yml

exec "${PROMETHEUS:-/bin/prometheus}" --config.file=/tmp/prometheus.yml --storage.tsdb.path=/prometheus
