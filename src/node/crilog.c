// SPDX-License-Identifier: Apache-2.0
// The log line of crilog.h. No allocation, no stdio.
#include "node/crilog.h"

#include <string.h>
#include <time.h>

static void put_digits(char *p, unsigned long v, int width)
{
	while (width-- > 0) {
		p[width] = (char)('0' + v % 10);
		v /= 10;
	}
}

void fl_crilog_prefix(char buf[static FL_CRILOG_PREFIX_LEN], int64_t real_ns, bool is_stderr, bool partial)
{
	time_t seconds = (time_t)(real_ns / 1000000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	memcpy(buf, "0000-00-00T00:00:00.000000000Z stdout F ", FL_CRILOG_PREFIX_LEN);
	put_digits(buf, (unsigned long)tm.tm_year + 1900, 4);
	put_digits(buf + 5, (unsigned long)tm.tm_mon + 1, 2);
	put_digits(buf + 8, (unsigned long)tm.tm_mday, 2);
	put_digits(buf + 11, (unsigned long)tm.tm_hour, 2);
	put_digits(buf + 14, (unsigned long)tm.tm_min, 2);
	put_digits(buf + 17, (unsigned long)tm.tm_sec, 2);
	put_digits(buf + 20, (unsigned long)(real_ns % 1000000000), 9);
	if (is_stderr)
		memcpy(buf + 31, "stderr", 6);
	if (partial)
		buf[38] = 'P';
}

bool fl_crilog_parse(const char *line, size_t len, struct fl_crilog_line *ret)
{
	const char *end = line + len, *stream = memchr(line, ' ', len), *tag, *text;

	if (!stream || stream - line < 20)
		return false;
	stream++;
	tag = memchr(stream, ' ', (size_t)(end - stream));
	if (!tag || tag - stream != 6 || (memcmp(stream, "stdout", 6) != 0 && memcmp(stream, "stderr", 6) != 0))
		return false;
	tag++;
	text = memchr(tag, ' ', (size_t)(end - tag));
	if (!text || text == tag || (*tag != 'F' && *tag != 'P'))
		return false;
	text++;
	*ret = (struct fl_crilog_line){
	    .time = line,
	    .time_len = (size_t)(stream - 1 - line),
	    .is_stderr = stream[3] == 'e',
	    .partial = *tag == 'P',
	    .text = text,
	    .text_len = (size_t)(end - text),
	};
	return true;
}
