#!/usr/bin/env bash
# Builds images: images.sh VERSION manager=IMAGE dataplane=IMAGE e2e=IMAGE
#
# ENGINE is docker or podman, which build the Dockerfile's targets, or none: then
# hack/tools/image writes the same images to dist/images/*.tar, for docker load, podman
# load, kind load image-archive or ctr images import; IMAGES names another folder.
# Without ENGINE it is the first that answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# usable_engine: the first of docker and podman whose engine answers, or none.
usable_engine() {
	local name
	for name in docker podman; do
		if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
			echo "$name"
			return
		fi
	done
	echo none
}

# package_of TARGET: what the image runs.
package_of() {
	case $1 in
	e2e) echo ./test/e2e/cmd/e2e ;;
	*) echo "./cmd/$1" ;;
	esac
}

# tarball TARGET IMAGE: what the Dockerfile says, without an engine.
tarball() {
	local target=$1 image=$2 out=$images/$1.tar architecture
	architecture=$(go env GOARCH)
	CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" \
		-o "$scratch/$target" "$(package_of "$target")"
	# The tool runs here, whatever machine the image is for.
	GOOS='' GOARCH='' go -C hack/tools/image run . -name "$image" -binary "$scratch/$target" -out "$out" \
		-architecture "$architecture" -user 65532:65532 \
		-label "org.opencontainers.image.title=slipway-$target" \
		-label "org.opencontainers.image.version=$version" \
		-label org.opencontainers.image.source=https://github.com/slipway-dev/slipway \
		-label org.opencontainers.image.licenses=Apache-2.0
	echo "images: $out is $image for linux/$architecture, $(du -h "$out" | cut -f1)"
}

version=$1
shift
engine=${ENGINE:-$(usable_engine)}
if [ "$engine" = none ]; then
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	mkdir -p "${IMAGES:-dist/images}"
	images=$(cd "${IMAGES:-dist/images}" && pwd)
fi
for pair in "$@"; do
	target=${pair%%=*} image=${pair#*=}
	if [ "$engine" = none ]; then
		tarball "$target" "$image"
	else
		"$engine" build --build-arg "VERSION=$version" --target "$target" --tag "$image" .
	fi
done
