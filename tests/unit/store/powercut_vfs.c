// SPDX-License-Identifier: Apache-2.0
#include "powercut_vfs.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define SECTOR 512

struct sector {
	sqlite3_int64 number;
	unsigned char data[SECTOR];
};

// A file as the programs see it: the real one up to real_valid, over it the unsynced sectors. Shared by all handles.
struct node {
	struct node *next;
	char *path;
	struct fl_map sectors; // by number
	sqlite3_int64 size, real_valid;
	bool changed;
	unsigned handles;
};

struct file {
	sqlite3_file base;
	struct node *node;
	sqlite3_file *real; // behind this struct
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // the store has two threads
static sqlite3_vfs *real_vfs;
static struct node *nodes;
static struct {
	bool off, lie, weak;
	long operations, cut_at; // 0: never
	bool in_sync;            // not before the next sync, whose work is done
	long syncs, fail_from, fail_n;
	int64_t room;
	unsigned seed;
	uint64_t lost;
} disk;

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct file *)f)->real;
}

// One write or sync; false: there is no power (any more).
static bool powered(bool sync)
{
	if (!disk.off && disk.cut_at && ++disk.operations >= disk.cut_at && (sync || !disk.in_sync))
		disk.off = true;
	return !disk.off;
}

static struct sector *sector_get(struct node *n, sqlite3_int64 number)
{
	return fl_map_get_n(&n->sectors, &number, sizeof(number));
}

static void forget_sectors(struct node *n)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&n->sectors, &it);)
		free(it.value);
	fl_map_deinit(&n->sectors);
}

// The part of the real file that is still valid, zeros beyond.
static int read_real(struct node *n, sqlite3_file *real, unsigned char *p, int len, sqlite3_int64 at)
{
	memset(p, 0, (size_t)len);
	if (at >= n->real_valid)
		return SQLITE_OK;
	int have = n->real_valid - at < len ? (int)(n->real_valid - at) : len;
	int rc = real->pMethods->xRead(real, p, have, at);
	return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : rc;
}

static int x_read(sqlite3_file *f, void *p, int len, sqlite3_int64 at)
{
	struct node *n = ((struct file *)f)->node;
	pthread_mutex_lock(&lock);
	int rc = disk.off ? SQLITE_IOERR_READ : read_real(n, real_of(f), p, len, at);
	for (sqlite3_int64 s = at / SECTOR; rc == SQLITE_OK && s * SECTOR < at + len; s++) {
		struct sector *sec = sector_get(n, s);
		for (sqlite3_int64 i = 0; sec && i < SECTOR; i++) {
			sqlite3_int64 to = s * SECTOR + i - at;
			if (to >= 0 && to < len)
				((unsigned char *)p)[to] = sec->data[i];
		}
	}
	if (rc == SQLITE_OK && at + len > n->size)
		rc = SQLITE_IOERR_SHORT_READ;
	pthread_mutex_unlock(&lock);
	return rc;
}

static int write_sector(struct node *n, sqlite3_file *real, sqlite3_int64 number, const unsigned char *p, int len,
			sqlite3_int64 at)
{
	struct sector *sec = sector_get(n, number);
	if (!sec) {
		sec = FL_NEW(struct sector);
		sec->number = number;
		int rc = read_real(n, real, sec->data, SECTOR, number * SECTOR);
		if (rc != SQLITE_OK) {
			free(sec);
			return rc;
		}
		fl_map_set_n(&n->sectors, &number, sizeof(number), sec);
	}
	for (sqlite3_int64 i = 0; i < SECTOR; i++) {
		sqlite3_int64 from = number * SECTOR + i - at;
		if (from >= 0 && from < len)
			sec->data[i] = p[from];
	}
	return SQLITE_OK;
}

static int write_locked(struct node *n, sqlite3_file *real, const void *p, int len, sqlite3_int64 at)
{
	if (!powered(false))
		return SQLITE_IOERR_WRITE;
	if (at + len > n->size && disk.room >= 0) {
		if (at + len - n->size > disk.room)
			return SQLITE_FULL;
		disk.room -= at + len - n->size;
	}
	n->changed = true;
	for (sqlite3_int64 s = at / SECTOR; s * SECTOR < at + len; s++) {
		int rc = write_sector(n, real, s, p, len, at);
		if (rc != SQLITE_OK)
			return rc;
	}
	if (at + len > n->size)
		n->size = at + len;
	return SQLITE_OK;
}

static int x_write(sqlite3_file *f, const void *p, int len, sqlite3_int64 at)
{
	pthread_mutex_lock(&lock);
	int rc = write_locked(((struct file *)f)->node, real_of(f), p, len, at);
	pthread_mutex_unlock(&lock);
	return rc;
}

static int x_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct node *n = ((struct file *)f)->node;
	pthread_mutex_lock(&lock);
	int rc = powered(false) ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
	if (rc == SQLITE_OK && size < n->size) {
		n->changed = true;
		if (disk.room >= 0)
			disk.room += n->size - size;
		for (sqlite3_int64 s = (size + SECTOR - 1) / SECTOR; s * SECTOR < n->size; s++)
			free(fl_map_del_n(&n->sectors, &s, sizeof(s)));
		struct sector *last = sector_get(n, size / SECTOR);
		if (last)
			memset(last->data + size % SECTOR, 0, SECTOR - size % SECTOR);
		n->size = size;
		if (n->real_valid > size)
			n->real_valid = size;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

// How much of an unsynced sector reaches the disk, from its start.
static size_t arriving(enum powercut_loss loss)
{
	switch (loss) {
	case POWERCUT_RANDOM:
		return rand_r(&disk.seed) % 2 ? SECTOR : 0;
	case POWERCUT_TORN:
		return rand_r(&disk.seed) % 3 ? rand_r(&disk.seed) % 2 ? SECTOR : 0
					      : (size_t)rand_r(&disk.seed) % SECTOR;
	default:
		return 0;
	}
}

// Brings a file to the real one: everything, or what `loss` lets through (a pointer, since syncs have none).
static int settle(struct node *n, sqlite3_file *real, const enum powercut_loss *loss)
{
	int rc = SQLITE_OK;
	bool whole = !loss;
	sqlite3_int64 real_size = 0;
	real->pMethods->xFileSize(real, &real_size);
	if (n->real_valid < real_size && (whole || rand_r(&disk.seed) % 2))
		rc = real->pMethods->xTruncate(real, n->real_valid);
	for (struct fl_map_iter it = {0}; rc == SQLITE_OK && fl_map_next(&n->sectors, &it);) {
		const struct sector *s = it.value;
		sqlite3_int64 at = s->number * SECTOR;
		size_t len = whole ? SECTOR : arriving(*loss);
		disk.lost += !whole && len < SECTOR;
		if (at + (sqlite3_int64)len > n->size)
			len = (size_t)(n->size - at);
		if (len)
			rc = real->pMethods->xWrite(real, s->data, (int)len, at);
	}
	if (rc == SQLITE_OK && whole) {
		real->pMethods->xFileSize(real, &real_size);
		if (real_size < n->size) { // a hole at the end
			unsigned char zero = 0;
			rc = real->pMethods->xWrite(real, &zero, 1, n->size - 1);
		}
	}
	forget_sectors(n);
	n->real_valid = n->size;
	n->changed = false;
	return rc;
}

static int x_sync(sqlite3_file *f, int flags)
{
	struct node *n = ((struct file *)f)->node;
	pthread_mutex_lock(&lock);
	bool was_on = !disk.off;
	int rc = powered(true) ? SQLITE_OK : SQLITE_IOERR_FSYNC;
	// All has arrived when the power goes, and nobody can be told.
	if (was_on && disk.off && disk.in_sync && settle(n, real_of(f), NULL) != SQLITE_OK)
		abort();
	disk.syncs++;
	if (disk.fail_n && disk.syncs >= disk.fail_from && disk.syncs < disk.fail_from + disk.fail_n)
		rc = SQLITE_IOERR_FSYNC;
	if (rc == SQLITE_OK && !disk.lie)
		rc = settle(n, real_of(f), NULL);
	pthread_mutex_unlock(&lock);
	return rc;
}

static int x_file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	pthread_mutex_lock(&lock);
	*ret = ((struct file *)f)->node->size;
	pthread_mutex_unlock(&lock);
	return SQLITE_OK;
}

static int x_close(sqlite3_file *f)
{
	struct file *file = (struct file *)f;
	pthread_mutex_lock(&lock);
	file->node->handles--;
	pthread_mutex_unlock(&lock);
	int rc = file->real->pMethods->xClose(file->real);
	f->pMethods = NULL;
	return rc;
}

static int x_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int x_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int x_check_reserved(sqlite3_file *f, int *ret)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

// Before SQLite reads a pragma it shows it to the VFS: {error, name, value}.
static void weaken(char *const *pragma)
{
	if (disk.weak && pragma[2] && !sqlite3_stricmp(pragma[1], "synchronous"))
		memcpy(pragma[2], "1", sizeof("1")); // NORMAL; every value that is asked for has room for it
}

static int x_file_control(sqlite3_file *f, int op, void *arg)
{
	switch (op) {
	case SQLITE_FCNTL_PRAGMA:
		weaken(arg);
		return SQLITE_NOTFOUND; // go on with it
	case SQLITE_FCNTL_SIZE_HINT:
	case SQLITE_FCNTL_CHUNK_SIZE:
	case SQLITE_FCNTL_MMAP_SIZE: // would write beside us
		return SQLITE_NOTFOUND;
	}
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int x_sector_size(sqlite3_file *f)
{
	return SECTOR;
}

static int x_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)) & SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int x_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}

static int x_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void x_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int x_shm_unmap(sqlite3_file *f, int delete)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), delete);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_file_size,
    .xLock = x_lock,
    .xUnlock = x_unlock,
    .xCheckReservedLock = x_check_reserved,
    .xFileControl = x_file_control,
    .xSectorSize = x_sector_size,
    .xDeviceCharacteristics = x_device,
    .xShmMap = x_shm_map,
    .xShmLock = x_shm_lock,
    .xShmBarrier = x_shm_barrier,
    .xShmUnmap = x_shm_unmap,
};

static struct node **find(const char *path)
{
	struct node **n = &nodes;
	while (*n && strcmp((*n)->path, path) != 0)
		n = &(*n)->next;
	return n;
}

static struct node *node_get(const char *path, sqlite3_file *real)
{
	struct node **at = find(path);
	if (!*at) {
		struct node *n = *at = FL_NEW(struct node);
		n->path = fl_strdup(path);
		real->pMethods->xFileSize(real, &n->size);
		n->real_valid = n->size;
	}
	(*at)->handles++;
	return *at;
}

static void drop(struct node **at)
{
	struct node *n = *at;
	assert(!n->handles);
	*at = n->next;
	forget_sectors(n);
	free(n->path);
	free(n);
}

static int v_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *ret_flags)
{
	struct file *file = (struct file *)f;
	file->base.pMethods = NULL;
	file->real = (sqlite3_file *)(file + 1);
	if (!path)
		return SQLITE_CANTOPEN; // no temporary files here
	pthread_mutex_lock(&lock);
	int rc = disk.off ? SQLITE_CANTOPEN : real_vfs->xOpen(real_vfs, path, file->real, flags, ret_flags);
	if (rc == SQLITE_OK) {
		file->base.pMethods = &methods;
		file->node = node_get(path, file->real);
	} else if (file->real->pMethods) {
		file->real->pMethods->xClose(file->real);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static int v_delete(sqlite3_vfs *v, const char *path, int sync_dir)
{
	pthread_mutex_lock(&lock);
	int rc = powered(false) ? real_vfs->xDelete(real_vfs, path, sync_dir) : SQLITE_IOERR_DELETE;
	struct node **n = find(path);
	if (rc == SQLITE_OK && *n) {
		if (disk.room >= 0)
			disk.room += (*n)->size;
		forget_sectors(*n);
		(*n)->size = (*n)->real_valid = 0;
		(*n)->changed = false;
		if (!(*n)->handles)
			drop(n);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static int v_access(sqlite3_vfs *v, const char *path, int flags, int *ret)
{
	return real_vfs->xAccess(real_vfs, path, flags, ret);
}

static int v_full_pathname(sqlite3_vfs *v, const char *path, int n, char *ret)
{
	return real_vfs->xFullPathname(real_vfs, path, n, ret);
}

void powercut_register(void)
{
	static sqlite3_vfs vfs;
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs;
	vfs.iVersion = 1;
	vfs.pNext = NULL;
	vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
	vfs.zName = POWERCUT_VFS;
	vfs.xOpen = v_open;
	vfs.xDelete = v_delete;
	vfs.xAccess = v_access;
	vfs.xFullPathname = v_full_pathname;
	sqlite3_vfs_register(&vfs, 0);
}

void powercut_reset(unsigned seed)
{
	pthread_mutex_lock(&lock);
	while (nodes)
		drop(&nodes);
	memset(&disk, 0, sizeof(disk));
	disk.room = -1;
	disk.seed = seed;
	pthread_mutex_unlock(&lock);
}

static void cut(long operations, bool in_sync)
{
	pthread_mutex_lock(&lock);
	disk.operations = 0;
	disk.cut_at = operations;
	disk.in_sync = in_sync;
	pthread_mutex_unlock(&lock);
}

void powercut_cut_after(long operations)
{
	cut(operations, false);
}

void powercut_cut_in_sync(long operations)
{
	cut(operations, true);
}

void powercut_lie(bool lie)
{
	pthread_mutex_lock(&lock);
	disk.lie = lie;
	pthread_mutex_unlock(&lock);
}

void powercut_weaken(bool weak)
{
	pthread_mutex_lock(&lock);
	disk.weak = weak;
	pthread_mutex_unlock(&lock);
}

void powercut_room(int64_t bytes)
{
	pthread_mutex_lock(&lock);
	disk.room = bytes;
	pthread_mutex_unlock(&lock);
}

void powercut_fail_syncs(long from, long n)
{
	pthread_mutex_lock(&lock);
	disk.syncs = 0;
	disk.fail_from = from;
	disk.fail_n = n;
	pthread_mutex_unlock(&lock);
}

bool powercut_is_off(void)
{
	pthread_mutex_lock(&lock);
	bool off = disk.off;
	pthread_mutex_unlock(&lock);
	return off;
}

void powercut_restore(enum powercut_loss loss)
{
	pthread_mutex_lock(&lock);
	disk.lost = 0;
	sqlite3_file *real = fl_calloc(1, (size_t)real_vfs->szOsFile);
	while (nodes) {
		struct node *n = nodes;
		if (n->changed) {
			int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_MAIN_DB;
			memset(real, 0, (size_t)real_vfs->szOsFile);
			if (real_vfs->xOpen(real_vfs, n->path, real, flags, &flags) == SQLITE_OK) {
				if (settle(n, real, &loss) != SQLITE_OK)
					abort();
				real->pMethods->xClose(real);
			}
		}
		drop(&nodes);
	}
	free(real);
	disk.off = false;
	disk.cut_at = 0;
	disk.lie = disk.weak = false;
	pthread_mutex_unlock(&lock);
}

uint64_t powercut_lost_sectors(void)
{
	return disk.lost;
}
