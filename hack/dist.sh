#!/usr/bin/env bash
# Makes what strangers install from, of the folders of config/: dist/install.yaml,
# which is config/default as one file, and charts/slipway/files, where each folder
# that the Helm chart can install is a file. `make generate` runs it with the
# development images, and `make dist` with those of a release:
#
#   hack/dist.sh MANAGER-IMAGE DATAPLANE-IMAGE
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

manager=${1:-slipway-manager:dev} dataplane=${2:-slipway-dataplane:dev}
chart=charts/slipway/files

# The chart has the parts of config/default, and these, which are off by default there.
optional=(network-policy prometheus)

kustomize() { go tool -modfile=hack/tools/go.mod kustomize build "$1"; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/files"

{
	echo "# All of Slipway: kubectl apply -f install.yaml. Made of config/default by make dist."
	kustomize config/default |
		sed -e "s|slipway-manager:dev|$manager|" -e "s|slipway-dataplane:dev|$dataplane|"
} >"$scratch/install.yaml"

# The resources that config/default lists are folders beside it.
parts=$(sed -n 's|^- \.\./||p' config/default/kustomization.yaml)
for part in "${optional[@]}"; do
	if [ -f "config/$part/kustomization.yaml" ]; then parts+=" $part"; fi
done
for part in $parts; do
	{
		echo "# Made of config/$part by make dist."
		kustomize "config/$part"
	} >"$scratch/files/$part.yaml"
done

# Moved at the end, so that a failure leaves what was there.
rm -rf "$chart"
mkdir -p dist
mv "$scratch/files" "$chart"
mv "$scratch/install.yaml" dist/install.yaml
chmod 755 "$chart"
