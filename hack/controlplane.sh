#!/usr/bin/env bash
# Prints the folder that holds kube-apiserver, etcd and kubectl, the control
# plane that the tests and the demo run against. It is, in this order:
#
#   1. KUBEBUILDER_ASSETS, where that is set;
#   2. what an earlier run of this script compiled;
#   3. what setup-envtest has, or downloads if its index answers in seconds;
#   4. what this script compiles from the pinned module hack/controlplane.
#
# Only the folder goes to stdout; what happens meanwhile goes to stderr.
#
# With the argument "controllers" it prints the program of hack/controlplane/controllers.go
# instead, Kubernetes' own garbage collector and the like, compiled once in any case: a minute
# or two where the control plane was downloaded, seconds where it was compiled.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$root/hack/controlplane
cache=${XDG_CACHE_HOME:-$HOME/.cache}/slipway/controlplane
binaries=(kube-apiserver etcd kubectl)

# Raise it when what the script compiles changes without a change to the module.
recipe=1

say() { echo "controlplane: $*" >&2; }
die() {
	say "$*"
	exit 1
}

# missing_from DIR: the binaries that DIR lacks, on one line.
missing_from() {
	local name missing=()
	for name in "${binaries[@]}"; do
		[ -x "$1/$name" ] || missing+=("$name")
	done
	echo "${missing[*]}"
}

# ---------------------------------------------------------------- download

# The failure is remembered for a day, so that a machine without that network
# waits for it once and not on every run.
unreachable=$cache/download-unreachable
patience=10

setup_envtest() {
	go tool -modfile="$root/hack/tools/go.mod" setup-envtest "$@"
}

# within SECONDS CMD...: CMD, ended after that time where timeout(1) exists.
within() {
	local seconds=$1
	shift
	if command -v timeout >/dev/null; then
		timeout "$seconds" "$@"
	else
		"$@"
	fi
}

# download MINOR: prints setup-envtest's folder, or fails quickly.
download() {
	local dir tool
	[ -z "$(find "$unreachable" -mtime -1 2>/dev/null)" ] || return 1

	# Compiled by itself first, so that the time limit measures the network only.
	tool=$(go tool -n -modfile="$root/hack/tools/go.mod" setup-envtest 2>/dev/null) || return 1
	if dir=$(setup_envtest use --installed-only "$1.x" -p path 2>/dev/null); then
		echo "$dir"
		return
	fi
	if within "$patience" "$tool" list "$1.x" 2>/dev/null | grep -q .; then
		say "downloading Kubernetes $1 with setup-envtest"
		if dir=$(within 300 "$tool" use "$1.x" -p path 2>/dev/null); then
			echo "$dir"
			return
		fi
	fi
	touch "$unreachable"
	return 1
}

# ---------------------------------------------------------------- compile

# compiled_dir [FILE...]: the folder whose name says all that decides its contents.
compiled_dir() {
	local key
	key=$({
		cat "$module/go.mod" "$module/go.sum" "$@"
		go version
		echo "recipe $recipe"
	} | git hash-object --stdin)
	echo "$cache/${key:0:16}"
}

# compile_one DIR NAME PACKAGE [LDFLAGS]
compile_one() {
	local began=$SECONDS
	say "compiling $2 ..."
	CGO_ENABLED=0 go -C "$module" build -buildvcs=false -ldflags "-s -w ${4:-}" -o "$1/$2" "$3" >&2 9>&- ||
		die "compiling $2 failed; the compiler's words are above"
	say "compiled $2 in $((SECONDS - began)) s"
}

# compile DIR VERSION: fills DIR, all of it or nothing.
compile() {
	local dir=$1 version=$2 tmp began=$SECONDS
	local var=k8s.io/component-base/version stamp
	stamp="-X $var.gitVersion=$version -X $var.gitMajor=1 -X $var.gitMinor=$(minor "$version")"

	say "compiling Kubernetes $version and etcd, once; about 7 minutes on 2 cores"
	begin_compiling
	compile_one "$tmp" etcd go.etcd.io/etcd/server/v3
	compile_one "$tmp" kubectl k8s.io/kubernetes/cmd/kubectl "$stamp"
	compile_one "$tmp" kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$stamp"
	keep_compiled "$dir"
	say "kept in $dir after $((SECONDS - began)) s"
}

# begin_compiling: sets tmp, which is removed where it is not kept.
begin_compiling() {
	tmp=$(mktemp -d "$cache/tmp.XXXXXX")
	# shellcheck disable=SC2064 # the folder's name of now is meant
	trap "rm -rf '$tmp'" EXIT
}

# keep_compiled DIR: tmp becomes DIR.
keep_compiled() {
	chmod 755 "$tmp"
	mv "$tmp" "$1"
	trap - EXIT
}

# minor VERSION: 37 of v1.37.2.
minor() { cut -d. -f2 <<<"$1"; }

# ---------------------------------------------------------------- main

needs_go() { command -v go >/dev/null || die "needs Go in PATH"; }

# one_at_a_time: who comes second finds the work of the first.
one_at_a_time() {
	command -v flock >/dev/null || return 0
	exec 9>"$cache/lock"
	flock -n 9 || {
		say "waiting for another run that prepares the control plane"
		flock 9
	}
}

# controllers: prints the program, which KUBEBUILDER_ASSETS never has.
controllers() {
	local source=$module/controllers.go dir tmp
	dir=$(compiled_dir "$source")
	if [ ! -d "$dir" ]; then
		one_at_a_time
	fi
	if [ ! -d "$dir" ]; then
		begin_compiling
		compile_one "$tmp" controllers "$source"
		keep_compiled "$dir"
	fi
	echo "$dir/controllers"
}

case "$*" in
"" | controllers) ;;
*) die "unknown arguments: $*; the only one there is is controllers" ;;
esac
if [ "$*" = controllers ]; then
	needs_go
	mkdir -p "$cache"
	controllers
	exit
fi
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
	lacks=$(missing_from "$KUBEBUILDER_ASSETS")
	[ -z "$lacks" ] || die "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks $lacks; point it at a folder with all of ${binaries[*]}, or unset it"
	# Absolute, because each test runs in its package's folder.
	cd "$KUBEBUILDER_ASSETS" && pwd
	exit
fi

needs_go
version=$(sed -n 's#.*k8s\.io/kubernetes \(v[0-9.]*\).*#\1#p' "$module/go.mod" | head -n 1)
[ -n "$version" ] || die "hack/controlplane/go.mod names no version of k8s.io/kubernetes"
mkdir -p "$cache"
dir=$(compiled_dir)
if [ -d "$dir" ]; then
	echo "$dir"
	exit
fi

one_at_a_time
if [ ! -d "$dir" ]; then
	if found=$(download "1.$(minor "$version")") && [ -z "$(missing_from "$found")" ]; then
		echo "$found"
		exit
	fi
	compile "$dir" "$version"
fi
echo "$dir"
