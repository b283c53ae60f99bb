#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The layer rule of docs/architecture.md, read from the #include lines: a component includes itself and what stands beside its name here.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A may=(
	[base]=""
	[json]="base"
	[io]="base"
	[api]="base json"
	[store]="base json io api"
	[apiserver]="base json io api store"
	[client]="base json io api"
	[controller]="base json io api client"
	[proxy]="base json io api client"
	[dns]="base json io api client"
	[node]="base json io api client"
	[supervisor]="base json io api client"
	[cli]="base json io api store apiserver client controller proxy dns node supervisor"
)

bad=0
while IFS=: read -r file line text; do
	from=${file#src/}
	from=${from%%/*}
	to=$(sed -n 's/^#include "\([a-z_]*\)\/.*/\1/p' <<<"$text")
	[[ -n $to && -d src/$to && $to != "$from" ]] || continue
	if [[ " ${may[$from]-} " != *" $to "* ]]; then
		echo "$file:$line: $from must not include $to ($text)"
		bad=1
	fi
done < <(grep -rn --include='*.[ch]' '^#include "' src)

# A proxy backend knows backend.h and the layers below, not its siblings.
while IFS=: read -r file line text; do
	own=$(cut -d/ -f3 <<<"$file")
	other=$(sed -n 's/^#include "proxy\/\([a-z_]*\)\/.*/\1/p' <<<"$text")
	if [[ -n $other && $other != "$own" ]]; then
		echo "$file:$line: backend $own must not include backend $other"
		bad=1
	fi
done < <(grep -rn --include='*.[ch]' '^#include "proxy/' src/proxy/*/ 2>/dev/null || true)
exit $bad
