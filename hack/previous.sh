#!/usr/bin/env bash
# Prints the commit that the working tree has to work with and to be upgraded
# from: the release before, which is the newest tag v* below HEAD; where there is
# none yet, the newest commit on HEAD's first-parent line whose programs or API
# differ from the tree's. SKEW_BASE names another. It fails, and says why, in a clone
# whose history does not go back that far.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
	echo "previous: $*" >&2
	exit 1
}

programs=(api cmd controllers dataplane)

git rev-parse --quiet --verify HEAD >/dev/null 2>&1 || die "no git history here; clone the repository"
if [ -n "${SKEW_BASE:-}" ]; then
	git rev-parse --quiet --verify "$SKEW_BASE^{commit}" || die "SKEW_BASE=$SKEW_BASE is no commit that is known here"
	exit
fi
if git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ >/dev/null 2>&1; then
	git rev-parse "$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^)^{commit}"
	exit
fi
while read -r commit; do
	if ! git diff --quiet "$commit" -- "${programs[@]}"; then
		echo "$commit"
		exit
	fi
done < <(git rev-list --first-parent HEAD)
die "no commit with other programs is known here; fetch the history (git fetch --unshallow --tags)"
