# SPDX-License-Identifier: Apache-2.0
# The compiler's dependency files do not name what .incbin embeds.
$(O)/src/api/kinds/embed.o: $(wildcard src/api/kinds/*.json src/api/kinds/definitions/*.json)
