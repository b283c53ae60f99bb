#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# House rules as checks. Prints "ok <name>" or "not ok <name>" for each (TAP), with what was found.
# lint.sh [--slow-too]: clang-tidy and gcc -fanalyzer look at every file and take minutes.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
flags=(-std=gnu17 -D_GNU_SOURCE -Isrc -I. -I/usr/share/include)
# shellcheck disable=SC2207
flags+=($(pkg-config --cflags libuv libnghttp2 openssl sqlite3 yaml-0.1 libmnl))
mapfile -t sources < <(git ls-files 'src/*.c' 'cmd/*.c' 'images/*.c')
mapfile -t headers < <(git ls-files 'src/*.h')
mapfile -t formatted < <(git ls-files '*.c' '*.h')
mapfile -t shells < <(git ls-files '*.sh' '*.bash' '.ci/run')
failed=0

check() { # check NAME COMMAND...: ok when the command is silent and succeeds
	local name=$1 out
	shift
	if out=$("$@" 2>&1) && [[ -z $out ]]; then
		echo "ok lint: $name"
	else
		echo "not ok lint: $name"
		sed 's/^/# /' <<<"$out" | head -n 60
		failed=1
	fi
}

each() { printf '%s\0' "$@" | xargs -0 -n 1 -P "$jobs" "${each_cmd[@]}"; }

spdx() { grep -L 'SPDX-License-Identifier' "${formatted[@]}" "${shells[@]}" Makefile | grep -v '^\.ci/run$'; return 0; }
long() { wc -l "${sources[@]}" "${headers[@]}" | awk '$2 != "total" && $1 > 800 { print $2 ": " $1 " lines" }'; }
format() { clang-format --dry-run -Werror "${formatted[@]}"; }
alone() {
	local each_cmd=(gcc "${flags[@]}" -Wall -Wextra -Wno-unused-parameter -fsyntax-only -x c -include)
	printf '%s\0' "${headers[@]}" | xargs -0 -P "$jobs" -I{} "${each_cmd[@]}" {} /dev/null
}
tidy() {
	# shellcheck disable=SC2016 # the inner shell expands it
	local each_cmd=(sh -c 'clang-tidy --quiet "$1" -- '"${flags[*]}"' 2>/dev/null' tidy)
	each "${sources[@]}" | grep -E '(error|warning):'
	return 0
}
analyzer() {
	local each_cmd=(gcc "${flags[@]}" -O1 -fanalyzer -Wno-analyzer-too-complex -o /dev/null -c)
	each "${sources[@]}" 2>&1 | grep -E '(error|warning):'
	return 0
}

# Documents name files that exist: `x.c` or `folder/x.c`, relative to any folder.
documents() {
	local doc name all
	all=$(git ls-files --cached --others --exclude-standard)
	# shellcheck disable=SC2016 # backquotes are meant
	while IFS=: read -r doc name; do
		name=${name//\`/}
		name=${name//./\\.}
		grep -qE "(^|/)${name//\*/[^/]*}\$" <<<"$all" || echo "$doc names $name, which is not there"
	done < <(git grep -oE '`[A-Za-z0-9_/*.-]+[.](c|h|sh|bash|bats)`' -- '*.md' | sort -u)
}

check "every file names its licence" spdx
check "documents name files that exist" documents
check "no file is longer than 800 lines" long
check "clang-format" format
check "layers" scripts/check-layers.sh
check "each header compiles alone" alone
check "shellcheck" shellcheck -x "${shells[@]}"
if [[ ${1:-} == --slow-too ]]; then
	check "clang-tidy" tidy
	check "gcc -fanalyzer" analyzer
fi
exit $failed
