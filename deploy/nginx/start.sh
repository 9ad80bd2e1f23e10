#!/bin/sh
# Runs nginx, and reloads it when a server has started or stopped: nginx resolves names only when it reads its configuration.

folder=$(dirname "$0")
sed "s/8000/$PORT/; s/104857600/$MAX_UPLOAD/" "$folder/nginx.conf" >/tmp/nginx.conf

servers() { getent ahostsv4 server | cut -d ' ' -f 1 | sort -u; }

known=$(servers)
while sleep 0.5; do
    found=$(servers)
    [ "$found" = "$known" ] || nginx -e stderr -c /tmp/nginx.conf -s reload
    known=$found
done &

exec nginx -e stderr -c /tmp/nginx.conf
