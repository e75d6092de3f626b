#!/usr/bin/env bash
# Prints the path of an nginx that was fetched, and not installed, with apt-get.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/slipway/bench/nginx
binary=$cache/root/usr/sbin/nginx
if [ ! -x "$binary" ]; then
	command -v apt-get >/dev/null || {
		echo "nginx.sh: nginx is not in PATH and there is no apt-get to fetch it with" >&2
		exit 1
	}
	mkdir -p "$cache"
	cd "$cache"
	apt-get download nginx >&2
	dpkg -x nginx_*.deb root
fi
echo "$binary"
