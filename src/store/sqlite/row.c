// SPDX-License-Identifier: Apache-2.0
// A row of the log and the object it holds. SQLite does not notice a flipped bit in a value, so each row carries a
// checksum over all of its columns: SipHash-1-3 with a fixed key (it guards against accidents, not against forgery)
// over the hashes of the strings and the numbers, little-endian.
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "store/sqlite/internal.h"

static const uint8_t sum_key[16] = "fairlead log row";

static uint64_t hash(const char *s, size_t n)
{
	return htole64(fl_siphash13(sum_key, s, n));
}

uint64_t fl_sqlite_row_sum(const struct fl_sqlite_row *r)
{
	uint64_t f[] = {
	    hash(r->value, r->len),
	    hash(r->resource, strlen(r->resource)),
	    hash(r->ns, strlen(r->ns)),
	    hash(r->name, strlen(r->name)),
	    hash(r->uid, strlen(r->uid)),
	    htole64(r->rev),
	    htole64(r->create_rev),
	    htole64(r->prev),
	    htole64((uint64_t)r->expires_ns),
	    htole64((uint64_t)r->live),
	    htole64(r->deleted),
	};
	return fl_siphash13(sum_key, f, sizeof(f));
}

void fl_sqlite_row_bind(sqlite3_stmt *st, const struct fl_sqlite_row *r)
{
	sqlite3_bind_int64(st, 1, (sqlite3_int64)r->rev);
	sqlite3_bind_text(st, 2, r->resource, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, r->ns, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 4, r->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 5, r->uid, -1, SQLITE_STATIC);
	sqlite3_bind_int(st, 6, r->deleted);
	sqlite3_bind_int64(st, 7, (sqlite3_int64)r->create_rev);
	sqlite3_bind_int64(st, 8, (sqlite3_int64)r->prev);
	sqlite3_bind_int64(st, 9, r->expires_ns);
	sqlite3_bind_int64(st, 10, r->live);
	sqlite3_bind_int64(st, 11, (sqlite3_int64)r->sum);
	sqlite3_bind_blob(st, 12, r->value, (int)r->len, SQLITE_STATIC);
}

static const char *text(sqlite3_stmt *st, int column)
{
	const unsigned char *p = sqlite3_column_text(st, column);
	return p ? (const char *)p : "";
}

int fl_sqlite_row_read(sqlite3_stmt *st, struct fl_sqlite_row *ret, struct fl_err *err)
{
	struct fl_sqlite_row r = {
	    .rev = (uint64_t)sqlite3_column_int64(st, 0),
	    .resource = text(st, 1),
	    .ns = text(st, 2),
	    .name = text(st, 3),
	    .uid = text(st, 4),
	    .deleted = sqlite3_column_int(st, 5) != 0,
	    .create_rev = (uint64_t)sqlite3_column_int64(st, 6),
	    .prev = (uint64_t)sqlite3_column_int64(st, 7),
	    .expires_ns = sqlite3_column_int64(st, 8),
	    .live = sqlite3_column_int64(st, 9),
	    .sum = (uint64_t)sqlite3_column_int64(st, 10),
	    .value = sqlite3_column_blob(st, 11),
	    .len = (size_t)sqlite3_column_bytes(st, 11),
	};
	if (!r.value)
		r.value = "";
	if (fl_sqlite_row_sum(&r) != r.sum)
		return fl_err_set(err, -EBADMSG,
				  "the row of revision %" PRIu64 " (%s %s/%s) is damaged: its checksum differs", r.rev,
				  r.resource, r.ns, r.name);
	*ret = r;
	return 0;
}

const char *fl_sqlite_intern(const char *resource)
{
	const char *slash = strchr(resource, '/');
	if (!slash)
		return fl_resource_intern("", resource);
	AUTO_FREE char *group = fl_strndup(resource, (size_t)(slash - resource));
	return fl_resource_intern(group, slash + 1);
}

struct fl_sqlite_row fl_sqlite_row_of(const struct fl_object *o)
{
	return (struct fl_sqlite_row){
	    .rev = o->rv,
	    .create_rev = o->create_rv,
	    .resource = o->resource,
	    .ns = o->ns,
	    .name = o->name,
	    .uid = o->uid,
	    .expires_ns = o->expires_ns,
	    .value = o->json,
	    .len = o->len,
	};
}

struct fl_object *fl_sqlite_row_object(const struct fl_sqlite_row *r)
{
	struct fl_object *o =
	    fl_object_new(fl_sqlite_intern(r->resource), r->ns, r->name, r->uid, r->value, r->len, -1, r->rev);
	o->create_rv = r->create_rev;
	o->expires_ns = r->expires_ns;
	return o;
}
