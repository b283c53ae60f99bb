// SPDX-License-Identifier: Apache-2.0
// A disk for SQLite whose power can go: what was written and not synced is kept in memory and reaches the real file
// only at xSync, or never.
//
//   xWrite -> sectors in memory ---xSync---> real file         reads see both
//                    |
//                 the power goes: all of them are lost, or a random part arrives, some only half (torn); or it
//                 goes at the end of a sync, which has done its work and says that it has not
//
// It can also be full, fail a sync, or lie (say that it synced and not do it), which shows that a test would notice.
// Beyond its model: directory entries and deletions are durable at once.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define POWERCUT_VFS "powercut"

enum powercut_loss { POWERCUT_DROP_ALL, POWERCUT_RANDOM, POWERCUT_TORN, POWERCUT_LOSS_COUNT };

void powercut_register(void);       // once a process
void powercut_reset(unsigned seed); // power on, nothing pending, no fault planned

void powercut_cut_after(long operations);    // the power goes at the n-th write or sync from now
void powercut_cut_in_sync(long operations);  // at the end of the first sync that is the n-th operation or a later one
void powercut_lie(bool lie);                 // syncs do nothing
void powercut_weaken(bool weak);             // PRAGMA synchronous is NORMAL, whatever is asked for
void powercut_room(int64_t bytes);           // by which the files may still grow; < 0: any
void powercut_fail_syncs(long from, long n); // the syncs from..from+n-1 from now fail with an I/O error
bool powercut_is_off(void);

// After the store is closed: decides what of the unsynced survives, then the power is back.
void powercut_restore(enum powercut_loss loss);
uint64_t powercut_lost_sectors(void); // by the last restore
