// SPDX-License-Identifier: Apache-2.0
// What is done to a store's file from outside the API server: a backup while it is in use, putting a backup in its
// place, and making one of what can still be read of a damaged one.
//
//   <dir>/fairlead.db --backup--> FILE --restore--+
//          |                                      v
//          +---------------repair--------> <dir>/fairlead.db, the former one as <dir>/fairlead.db.replaced
//
// Each gives a file with the newest state of every object and without history. All block; none needs a loop.
#pragma once

#include <stdint.h>

#include "base/err.h"

// Revisions between the newest one known and the first one after a restore or repair. Clients have seen revisions that
// were given after the backup was taken, or that the damaged file has lost, and no such revision may come again with
// another meaning. At 50,000 writes a second this is used up after eight months. 2^63 has room for nine million
// restores, 2^53 (clients that take a revision for a number) for nine thousand.
// Where the file that a restore replaces is missing or cannot be read, nobody knows how far its revisions went, and a
// backup that is restored twice would leap twice to the same place. Then it goes on at the microseconds since 1970, if
// that is further: no store writes one a microsecond, so a later restore is further still. Until the year 2255 that is
// less than 2^53.
#define FL_STORE_REVISION_LEAP 1000000000000ULL

struct fl_store_copied {
	uint64_t revision; // of the copy
	uint64_t objects, bytes;
	uint64_t dropped; // repair: rows
};

// Copies the store in `dir` into `file`: mode 0600, on the disk and under its name only when whole; replaces what was
// there. A snapshot of one moment; every row's checksum is verified. The store may be in use, by whatever process, and
// is not held up. -ENOENT: no store. -EBADMSG: it is damaged. -EINVAL: `file` is the store itself.
FL_WUR int fl_store_backup(const char *dir, const char *file, struct fl_store_copied *ret, struct fl_err *err);

// Puts a backup into `dir`, which is created if it is not there. Power cut anywhere, it is the former store or the
// restored one. Watches and lists from before get 410. -EBUSY: a process has the store open. -EBADMSG: `file` is
// damaged, of a newer format, or no backup; the store is as it was.
FL_WUR int fl_store_restore(const char *dir, const char *file, struct fl_store_copied *ret, struct fl_err *err);

// Reads every page and row of the store in `dir`. Nothing damaged, or no store: 0, and nothing is changed. Otherwise
// what is whole is kept, each row that is not is reported, and 1 is returned. An object whose newest row is lost is
// back at the newest state that is left of it. -EBADMSG: nothing can be kept, the file is as it was. -EBUSY as above.
// `report` gets one line a finding, valid during the call.
FL_WUR int fl_store_repair(const char *dir, void (*report)(void *arg, const char *line), void *arg,
			   struct fl_store_copied *ret, struct fl_err *err);
