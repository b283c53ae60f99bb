// SPDX-License-Identifier: Apache-2.0
// Clocks and RFC 3339. Calendar arithmetic is the proleptic Gregorian one of H. Hinnant ("chrono-Compatible Low-Level
// Date Algorithms"): no time zone database, no locale, no lock.
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static uint64_t now_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t fl_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

uint64_t fl_mono_ms(void)
{
	return now_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t fl_real_ns(void)
{
	return (int64_t)now_ns(CLOCK_REALTIME);
}

struct civil {
	int year;
	unsigned month, day;
};

static struct civil civil_from_days(int64_t days)
{
	days += 719468; // from 1970-01-01 to 0000-03-01
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned)(days - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	return (struct civil){
	    .year = (int)((int64_t)yoe + era * 400 + (month <= 2)),
	    .month = month,
	    .day = doy - (153 * mp + 2) / 5 + 1,
	};
}

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static char *put_digits(char *p, unsigned v, unsigned width)
{
	for (unsigned i = width; i-- > 0; v /= 10)
		p[i] = (char)('0' + v % 10);
	return p + width;
}

// Up to and without the fraction; returns the nanoseconds within the second.
static unsigned put_seconds(int64_t real_ns, char **p)
{
	int64_t s = real_ns / NS_PER_S, ns = real_ns % NS_PER_S;
	if (ns < 0) {
		ns += NS_PER_S;
		s--;
	}
	int64_t days = s / 86400, in_day = s % 86400;
	if (in_day < 0) {
		in_day += 86400;
		days--;
	}
	struct civil c = civil_from_days(days); // an int64 of nanoseconds spans the years 1677 to 2262
	*p = put_digits(*p, (unsigned)c.year, 4);
	*(*p)++ = '-';
	*p = put_digits(*p, c.month, 2);
	*(*p)++ = '-';
	*p = put_digits(*p, c.day, 2);
	*(*p)++ = 'T';
	*p = put_digits(*p, (unsigned)in_day / 3600, 2);
	*(*p)++ = ':';
	*p = put_digits(*p, (unsigned)in_day / 60 % 60, 2);
	*(*p)++ = ':';
	*p = put_digits(*p, (unsigned)in_day % 60, 2);
	return (unsigned)ns;
}

const char *fl_time_format(int64_t real_ns, char buf[static FL_TIME_STRLEN])
{
	char *p = buf;
	put_seconds(real_ns, &p);
	*p++ = 'Z';
	*p = '\0';
	return buf;
}

const char *fl_time_format_micro(int64_t real_ns, char buf[static FL_TIME_STRLEN])
{
	char *p = buf;
	unsigned ns = put_seconds(real_ns, &p);
	*p++ = '.';
	p = put_digits(p, ns / 1000, 6);
	*p++ = 'Z';
	*p = '\0';
	return buf;
}

const char *fl_time_now(char buf[static FL_TIME_STRLEN])
{
	return fl_time_format(fl_real_ns(), buf);
}

static bool take_digits(const char **s, unsigned width, unsigned *ret)
{
	unsigned v = 0;
	for (unsigned i = 0; i < width; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (unsigned)(**s - '0');
	}
	*ret = v;
	return true;
}

static bool take_char(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return days[month - 1] + (month == 2 && leap);
}

// What Go's time.Parse(time.RFC3339, s) takes, but for times that an int64 of nanoseconds cannot hold.
bool fl_time_parse(const char *s, int64_t *ret_real_ns)
{
	unsigned year, month, day, hour, minute, second, ns = 0;
	if (!take_digits(&s, 4, &year) || !take_char(&s, '-') || !take_digits(&s, 2, &month) || !take_char(&s, '-') ||
	    !take_digits(&s, 2, &day) || !take_char(&s, 'T') || !take_digits(&s, 2, &hour) || !take_char(&s, ':') ||
	    !take_digits(&s, 2, &minute) || !take_char(&s, ':') || !take_digits(&s, 2, &second))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 ||
	    second > 59)
		return false;
	if (take_char(&s, '.')) {
		if (*s < '0' || *s > '9')
			return false;
		for (unsigned unit = NS_PER_S / 10; *s >= '0' && *s <= '9'; s++, unit /= 10)
			ns += (unsigned)(*s - '0') * unit; // digits beyond nanoseconds count nothing
	}
	int64_t offset = 0;
	if (*s == '+' || *s == '-') {
		int sign = *s++ == '-' ? -1 : 1;
		unsigned oh, om;
		if (!take_digits(&s, 2, &oh) || !take_char(&s, ':') || !take_digits(&s, 2, &om) || oh > 24 || om > 60)
			return false;
		offset = sign * (int64_t)(oh * 3600 + om * 60);
	} else if (!take_char(&s, 'Z')) {
		return false;
	}
	if (*s)
		return false;
	int64_t t = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
	if (__builtin_mul_overflow(t, NS_PER_S, &t) || __builtin_add_overflow(t, (int64_t)ns, &t))
		return false;
	*ret_real_ns = t;
	return true;
}
