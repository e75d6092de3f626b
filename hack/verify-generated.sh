#!/usr/bin/env bash
# Generates everything anew and fails if that changes, adds or removes a file.
#
# In a tree with work in progress it compares the tree with itself, before and
# after. In CI (CI=true) the tree must be clean, before and after: there, an
# untracked file is one that somebody forgot to commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
	echo "verify-generated: $*" >&2
	exit 1
}

# The snapshots go to an index and an object store of their own, so that the
# developer's are left alone.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
objects=$(cd "$(git rev-parse --git-path objects)" && pwd)
mkdir "$scratch/objects"

git_aside() {
	GIT_INDEX_FILE=$scratch/index GIT_OBJECT_DIRECTORY=$scratch/objects \
		GIT_ALTERNATE_OBJECT_DIRECTORIES=$objects git "$@"
}

# snapshot: the tree of every file that git does not ignore.
snapshot() {
	rm -f "$scratch/index"
	git_aside add --all
	git_aside write-tree
}

require_clean() {
	local status
	status=$(git status --porcelain)
	[ -z "$status" ] || die "the tree is not clean $1:"$'\n'"$status"
}

strict=false
[ "${CI:-}" != true ] || strict=true

if $strict; then require_clean "before generating"; fi
before=$(snapshot)
make --no-print-directory generate
after=$(snapshot)
if [ "$before" != "$after" ]; then
	git_aside --no-pager diff "$before" "$after"
	die "generating changed the files above; run make generate and commit what it did"
fi
if $strict; then require_clean "after generating"; fi
echo "verify-generated: nothing changed"
