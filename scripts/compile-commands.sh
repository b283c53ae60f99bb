#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compile_commands.json from what make would run (clangd, clang-tidy).
set -euo pipefail
cd "$(dirname "$0")/.."
make -Bnk V=1 O=build/compdb all unit-bins 2>/dev/null | awk -v dir="$PWD" '
	BEGIN { print "[" }
	/ -c [^ ]+\.c -o / {
		file = $0; sub(/.* -c /, "", file); sub(/ -o .*/, "", file)
		cmd = $0; gsub(/\\/, "\\\\", cmd); gsub(/"/, "\\\"", cmd)
		printf "%s{\"directory\": \"%s\", \"file\": \"%s\", \"command\": \"%s\"}", sep, dir, file, cmd
		sep = ",\n"
	}
	END { print "\n]" }'
