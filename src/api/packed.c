// SPDX-License-Identifier: Apache-2.0
// A value is one byte that says what it is, then what that needs:
//
//   00 null  01 false  02 true  03 double (8 bytes)  04 int (zigzag varint)
//   05..08 the names: name, namespace, uid, resourceVersion
//   09 UUID (16 bytes)  0a time in seconds (zigzag varint)  0b IPv4 (4 bytes)
//   0c string (varint length, bytes)  0d object, 0e array (varint count)  0f string that stood before (varint offset)
//   10..17 int 0..7            18..1f array of 0..7 elements      20..3f string of 0..31 bytes
//   40..4f object of 0..15 members                                50..ff a well-known string
//
// Members are key (a string as above), then value. A string is written in a short form only where it comes out of it
// byte for byte.
#include "api/packed.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
	T_NULL,
	T_FALSE,
	T_TRUE,
	T_DOUBLE,
	T_INT,
	T_NAME,
	T_NS,
	T_UID,
	T_RV,
	T_UUID,
	T_TIME,
	T_IPV4,
	T_STRING,
	T_OBJECT,
	T_ARRAY,
	T_AGAIN,
	T_SMALL_INT = 0x10,
	T_SMALL_ARRAY = 0x18,
	T_SMALL_STRING = 0x20,
	T_SMALL_OBJECT = 0x40,
	T_WORD = 0x50,
};

// clang-format off
static const char *const words[] = {
	// every object
	"kind", "apiVersion", "metadata", "name", "namespace", "uid", "resourceVersion", "creationTimestamp",
	"generation", "labels", "annotations", "ownerReferences", "controller", "blockOwnerDeletion", "generateName",
	"finalizers", "deletionTimestamp", "deletionGracePeriodSeconds", "spec", "status", "conditions", "type",
	"reason", "message", "lastTransitionTime", "lastProbeTime", "observedGeneration", "True", "False", "Unknown",
	"v1", "apps/v1", "default", "app", "",
	// Services
	"Service", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy",
	"externalTrafficPolicy", "sessionAffinity", "ports", "port", "targetPort", "nodePort", "protocol", "selector",
	"loadBalancer", "ClusterIP", "NodePort", "LoadBalancer", "IPv4", "IPv6", "SingleStack", "Cluster", "Local",
	"None", "TCP", "UDP", "ClientIP", "appProtocol", "allocateLoadBalancerNodePorts", "publishNotReadyAddresses",
	"http",
	// Endpoints, EndpointSlices
	"Endpoints", "EndpointSlice", "discovery.k8s.io/v1", "addressType", "endpoints", "addresses", "ready",
	"serving", "terminating", "targetRef", "nodeName", "hostname", "zone", "hints", "subsets", "notReadyAddresses",
	"ip", "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by",
	"endpointslice-controller.k8s.io", "endpoints.kubernetes.io/managed-by", "endpoint-controller",
	"service.kubernetes.io/headless", "endpoints.kubernetes.io/last-change-trigger-time",
	// pods
	"Pod", "containers", "initContainers", "image", "imagePullPolicy", "resources", "terminationMessagePath",
	"terminationMessagePolicy", "/dev/termination-log", "File", "restartPolicy", "Always", "IfNotPresent",
	"terminationGracePeriodSeconds", "dnsPolicy", "ClusterFirst", "securityContext", "schedulerName",
	"default-scheduler", "tolerations", "key", "operator", "effect", "tolerationSeconds", "Exists", "NoExecute",
	"NoSchedule", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "priority",
	"enableServiceLinks", "preemptionPolicy", "PreemptLowerPriority", "phase", "Running", "Pending", "podIP",
	"podIPs", "hostIP", "hostIPs", "startTime", "qosClass", "BestEffort", "containerStatuses", "containerID",
	"imageID", "restartCount", "started", "state", "lastState", "running", "waiting", "terminated", "startedAt",
	"finishedAt", "exitCode", "containerPort", "Ready", "Initialized", "ContainersReady", "PodScheduled",
	"PodReadyToStartContainers", "pod-template-hash", "env", "value", "volumes", "volumeMounts", "mountPath",
	"subdomain",
	// workloads
	"ReplicaSet", "Deployment", "replicas", "template", "matchLabels", "readyReplicas", "availableReplicas",
};
// clang-format on
_Static_assert(FL_COUNT(words) <= 256 - T_WORD, "one byte a word");
_Static_assert(T_NS == T_NAME + 1 && T_UID == T_NAME + 2 && T_RV == T_NAME + 3, "names in their order");

// --- the words by their text ---

#define TABLE 512            // a power of two, well above the number of words, and what 9 bits of a hash reach
static uint8_t table[TABLE]; // 0: free; else index + 1
static uint8_t lengths[FL_COUNT(words)];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static uint64_t load4(const char *s)
{
	uint32_t v;
	memcpy(&v, s, sizeof(v));
	return v;
}

static uint64_t load8(const char *s)
{
	uint64_t v;
	memcpy(&v, s, sizeof(v));
	return v;
}

// Of the length and both ends.
static unsigned hash(const char *s, size_t n)
{
	uint64_t first = 0, last = 0;
	if (n >= 8) {
		first = load8(s);
		last = load8(s + n - 8);
	} else if (n >= 4) {
		first = load4(s);
		last = load4(s + n - 4);
	} else if (n) {
		first = (uint8_t)s[0];
		last = (uint64_t)(uint8_t)s[n / 2] << 8 | (uint8_t)s[n - 1];
	}
	return (unsigned)((first + (last << 1 ^ n)) * UINT64_C(0x9e3779b97f4a7c15) >> 55);
}

static void fill_table(void)
{
	for (size_t i = 0; i < FL_COUNT(words); i++) {
		lengths[i] = (uint8_t)strlen(words[i]);
		unsigned at = hash(words[i], lengths[i]);
		while (table[at])
			at = (at + 1) & (TABLE - 1);
		table[at] = (uint8_t)(i + 1);
	}
}

static int find_word(const char *s, size_t n)
{
	if (n > 64)
		return -1;
	for (unsigned at = hash(s, n); table[at]; at = (at + 1) & (TABLE - 1)) {
		int w = table[at] - 1;
		if (lengths[w] == n && !memcmp(words[w], s, n))
			return w;
	}
	return -1;
}

static size_t format_decimal(char buf[static 24], uint64_t v)
{
	char digits[20], *at = digits + sizeof(digits);
	do
		*--at = (char)('0' + v % 10);
	while (v /= 10);
	size_t n = (size_t)(digits + sizeof(digits) - at);
	memcpy(buf, at, n);
	return n;
}

// --- writing ---

#define REMEMBERED 64 // strings that may be referred to again

struct writer {
	struct fl_buf *b;
	size_t start;
	struct known {
		const char *s;
		size_t n;
	} names[4]; // T_NAME and those that follow
	char rv[24];
	unsigned n;
	struct {
		uint32_t at, text, len; // offsets from start: of the value, of its bytes
	} seen[REMEMBERED];
};

static void put_varint(struct fl_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		fl_buf_putc(b, (char)(v | 0x80));
	fl_buf_putc(b, (char)v);
}

static void put_signed(struct fl_buf *b, int64_t v)
{
	put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool put_uuid(struct fl_buf *b, const char *s, size_t n)
{
	uint8_t bytes[17] = {T_UUID};
	size_t out = 1;
	if (n != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s[i] != '-')
				return false;
			continue;
		}
		int hi = hex(s[i]), lo = hex(s[++i]);
		if (hi < 0 || lo < 0)
			return false;
		bytes[out++] = (uint8_t)(hi << 4 | lo);
	}
	fl_buf_append(b, bytes, sizeof(bytes));
	return true;
}

// Twenty characters that are a time are its only form of that length.
static bool put_time(struct fl_buf *b, const char *s, size_t n)
{
	int64_t ns;
	if (n != 20 || s[19] != 'Z' || !fl_time_parse(s, &ns))
		return false;
	fl_buf_putc(b, T_TIME);
	put_signed(b, ns / 1000000000);
	return true;
}

static bool put_ipv4(struct fl_buf *b, const char *s, size_t n)
{
	uint8_t bytes[5] = {T_IPV4};
	const char *end = s + n;
	if (n < 7 || n > 15)
		return false;
	for (unsigned i = 1; i <= 4; i++) {
		unsigned v = 0, digits = 0;
		if (i > 1 && (s == end || *s++ != '.'))
			return false;
		for (; s < end && *s >= '0' && *s <= '9' && digits < 3; s++, digits++)
			v = v * 10 + (unsigned)(*s - '0');
		if (!digits || v > 255 || (digits > 1 && s[-(int)digits] == '0'))
			return false;
		bytes[i] = (uint8_t)v;
	}
	if (s != end)
		return false;
	fl_buf_append(b, bytes, sizeof(bytes));
	return true;
}

static bool put_again(struct writer *w, const char *s, size_t n)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->seen[i].len == n && !memcmp(w->b->data + w->start + w->seen[i].text, s, n)) {
			fl_buf_putc(w->b, T_AGAIN);
			put_varint(w->b, w->seen[i].at);
			return true;
		}
	return false;
}

static void put_plain(struct writer *w, const char *s, size_t n)
{
	size_t at = w->b->len - w->start;
	if (n < T_SMALL_OBJECT - T_SMALL_STRING) {
		fl_buf_putc(w->b, (char)(T_SMALL_STRING + n));
	} else {
		fl_buf_putc(w->b, T_STRING);
		put_varint(w->b, n);
	}
	if (n > 3 && w->n < REMEMBERED && at + n < UINT32_MAX) {
		w->seen[w->n].at = (uint32_t)at;
		w->seen[w->n].text = (uint32_t)(w->b->len - w->start);
		w->seen[w->n++].len = (uint32_t)n;
	}
	fl_buf_append(w->b, s, n);
}

static bool put_name(struct writer *w, const char *s, size_t n)
{
	for (unsigned i = 0; i < FL_COUNT(w->names); i++)
		if (w->names[i].n == n && !memcmp(w->names[i].s, s, n)) {
			fl_buf_putc(w->b, (char)(T_NAME + i));
			return true;
		}
	return false;
}

static void put_string(struct writer *w, const char *s, size_t n)
{
	int word = find_word(s, n);
	if (word >= 0)
		fl_buf_putc(w->b, (char)(T_WORD + word));
	else if (!put_name(w, s, n) && !put_uuid(w->b, s, n) && !put_time(w->b, s, n) && !put_ipv4(w->b, s, n) &&
		 !put_again(w, s, n))
		put_plain(w, s, n);
}

static void put_head(struct writer *w, const struct fl_json *j, unsigned small, unsigned room, unsigned large)
{
	if (j->kids.count < room) {
		fl_buf_putc(w->b, (char)(small + j->kids.count));
	} else {
		fl_buf_putc(w->b, (char)large);
		put_varint(w->b, j->kids.count);
	}
}

static void put_value(struct writer *w, const struct fl_json *j) // as deep as the tree: FL_MAX_JSON_DEPTH
{
	switch (j->type) {
	case FL_JSON_BOOL:
		fl_buf_putc(w->b, j->b ? T_TRUE : T_FALSE);
		break;
	case FL_JSON_INT:
		if (j->i >= 0 && j->i < T_SMALL_ARRAY - T_SMALL_INT) {
			fl_buf_putc(w->b, (char)(T_SMALL_INT + j->i));
			break;
		}
		fl_buf_putc(w->b, T_INT);
		put_signed(w->b, j->i);
		break;
	case FL_JSON_FLOAT:
		fl_buf_putc(w->b, T_DOUBLE);
		fl_buf_append(w->b, &j->f, sizeof(j->f));
		break;
	case FL_JSON_STRING:
		put_string(w, j->str.s, j->str.len);
		break;
	case FL_JSON_ARRAY:
		put_head(w, j, T_SMALL_ARRAY, T_SMALL_STRING - T_SMALL_ARRAY, T_ARRAY);
		fl_json_each (e, j)
			put_value(w, e);
		break;
	case FL_JSON_OBJECT:
		put_head(w, j, T_SMALL_OBJECT, T_WORD - T_SMALL_OBJECT, T_OBJECT);
		fl_json_each (m, j) {
			put_string(w, m->key, m->key_len);
			put_value(w, m);
		}
		break;
	default:
		fl_buf_putc(w->b, T_NULL);
	}
}

void fl_packed_write(struct fl_buf *b, const struct fl_json *tree, const struct fl_packed_names *names)
{
	struct writer w;
	w.b = b;
	w.start = b->len;
	w.n = 0; // of what was seen: the rest of it is not read
	pthread_once(&table_once, fill_table);
	size_t n_rv = format_decimal(w.rv, names->rv);
	w.names[0] = (struct known){names->name, strlen(names->name)};
	w.names[1] = (struct known){names->ns, strlen(names->ns)};
	w.names[2] = (struct known){names->uid, strlen(names->uid)};
	w.names[3] = (struct known){w.rv, n_rv};
	put_value(&w, tree);
}

// --- reading ---

struct reader {
	struct fl_arena *a;
	const uint8_t *start, *at, *end;
	const struct fl_packed_names *names;
};

static uint64_t take_varint(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0;; shift += 7) {
		assert(r->at < r->end && shift < 64);
		uint8_t byte = *r->at++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
}

static int64_t take_signed(struct reader *r)
{
	uint64_t v = take_varint(r);
	return (int64_t)(v >> 1 ^ (~(v & 1) + 1));
}

static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;
	assert((size_t)(r->end - r->at) >= n);
	r->at += n;
	return p;
}

struct text {
	const char *s;
	uint32_t n;
};

static struct text copy(struct reader *r, const char *s, size_t n)
{
	return (struct text){fl_arena_strndup(r->a, s, n), (uint32_t)n};
}

static struct text take_uuid(struct reader *r)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = take(r, 16);
	char *s = fl_arena_alloc(r->a, 37), *at = s;
	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	*at = 0;
	return (struct text){s, 36};
}

static struct text take_ipv4(struct reader *r)
{
	const uint8_t *bytes = take(r, 4);
	char *s = fl_arena_alloc(r->a, 16), *at = s;
	for (unsigned i = 0; i < 4; i++) {
		if (i)
			*at++ = '.';
		if (bytes[i] >= 100)
			*at++ = (char)('0' + bytes[i] / 100);
		if (bytes[i] >= 10)
			*at++ = (char)('0' + bytes[i] / 10 % 10);
		*at++ = (char)('0' + bytes[i] % 10);
	}
	*at = 0;
	return (struct text){s, (uint32_t)(at - s)};
}

static struct text take_string(struct reader *r, unsigned tag)
{
	char buf[FL_TIME_STRLEN];
	if (tag >= T_WORD) {
		return (struct text){words[tag - T_WORD],
				     lengths[tag - T_WORD]}; // for the life of the process: not copied
	}
	if (tag >= T_SMALL_STRING && tag < T_SMALL_OBJECT) {
		size_t n = tag - T_SMALL_STRING;
		return copy(r, (const char *)take(r, n), n);
	}
	switch (tag) {
	case T_NAME:
		return copy(r, r->names->name, strlen(r->names->name));
	case T_NS:
		return copy(r, r->names->ns, strlen(r->names->ns));
	case T_UID:
		return copy(r, r->names->uid, strlen(r->names->uid));
	case T_RV:
		return copy(r, buf, format_decimal(buf, r->names->rv));
	case T_UUID:
		return take_uuid(r);
	case T_TIME:
		fl_time_format(take_signed(r) * 1000000000, buf);
		return copy(r, buf, 20);
	case T_IPV4:
		return take_ipv4(r);
	case T_AGAIN: {
		struct reader back = *r;
		back.at = r->start + take_varint(r);
		unsigned again = *take(&back, 1);
		assert(again == T_STRING || (again >= T_SMALL_STRING && again < T_SMALL_OBJECT));
		size_t n = again == T_STRING ? take_varint(&back) : again - T_SMALL_STRING;
		return copy(r, (const char *)take(&back, n), n);
	}
	default: {
		assert(tag == T_STRING);
		size_t n = take_varint(r);
		return copy(r, (const char *)take(r, n), n);
	}
	}
}

static void take_value(struct reader *r, struct fl_json *j);

// The children lie side by side, one allocation.
static void take_kids(struct reader *r, struct fl_json *j, enum fl_json_type type, size_t n)
{
	j->type = type;
	if (!n)
		return; // the node is zeroed but for its key
	struct fl_json *kids = fl_arena_alloc(r->a, n * sizeof(*kids));
	j->kids.first = kids;
	j->kids.last = &kids[n - 1];
	j->kids.count = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct text key = {0};
		if (type == FL_JSON_OBJECT)
			key = take_string(r, *take(r, 1));
		kids[i] = (struct fl_json){.key = key.s, .key_len = key.n, .next = i + 1 < n ? &kids[i + 1] : NULL};
		take_value(r, &kids[i]);
	}
}

static void take_value(struct reader *r, struct fl_json *j)
{
	unsigned tag = *take(r, 1);
	if (tag >= T_SMALL_OBJECT && tag < T_WORD) {
		take_kids(r, j, FL_JSON_OBJECT, tag - T_SMALL_OBJECT);
	} else if (tag == T_OBJECT) {
		take_kids(r, j, FL_JSON_OBJECT, take_varint(r));
	} else if (tag >= T_SMALL_ARRAY && tag < T_SMALL_STRING) {
		take_kids(r, j, FL_JSON_ARRAY, tag - T_SMALL_ARRAY);
	} else if (tag == T_ARRAY) {
		take_kids(r, j, FL_JSON_ARRAY, take_varint(r));
	} else if (tag >= T_SMALL_INT && tag < T_SMALL_ARRAY) {
		j->type = FL_JSON_INT;
		j->i = tag - T_SMALL_INT;
	} else if (tag == T_INT) {
		j->type = FL_JSON_INT;
		j->i = take_signed(r);
	} else if (tag == T_FALSE || tag == T_TRUE) {
		j->type = FL_JSON_BOOL;
		j->b = tag == T_TRUE;
	} else if (tag == T_DOUBLE) {
		j->type = FL_JSON_FLOAT;
		memcpy(&j->f, take(r, sizeof(j->f)), sizeof(j->f));
	} else if (tag == T_NULL) {
		j->type = FL_JSON_NULL;
	} else {
		struct text t = take_string(r, tag);
		j->type = FL_JSON_STRING;
		j->str.s = t.s;
		j->str.len = t.n;
	}
}

struct fl_json *fl_packed_read(struct fl_arena *a, const void *bytes, size_t len, const struct fl_packed_names *names)
{
	struct reader r = {.a = a, .start = bytes, .at = bytes, .end = (const uint8_t *)bytes + len, .names = names};
	struct fl_json *root = fl_arena_zalloc(a, sizeof(*root));
	take_value(&r, root);
	assert(r.at == r.end);
	return root;
}
