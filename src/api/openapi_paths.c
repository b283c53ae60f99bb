// SPDX-License-Identifier: Apache-2.0
// Paths and operations of the OpenAPI documents, from the verbs and subresources of the kinds. What clients read here:
// kubectl looks for the PATCH operation of a kind and asks whether it takes fieldValidation and dryRun; client
// generators take operationId, parameters and types.
#include <ctype.h>
#include <string.h>

#include "api/openapi_build.h"

enum param_type { P_STRING, P_BOOLEAN, P_INTEGER };

struct param {
	const char *name;
	enum param_type type;
	const char *description;
};

static const struct param params[] = {
    {"allowWatchBookmarks", P_BOOLEAN, "Send BOOKMARK events on a watch."},
    {"container", P_STRING, "Container whose log is read; needed where a pod has several."},
    {"continue", P_STRING, "Token of the previous page of this list."},
    {"dryRun", P_STRING, "All: do everything but store."},
    {"fieldManager", P_STRING, "Name under which changed fields are recorded."},
    {"fieldSelector", P_STRING, "Only objects whose fields match."},
    {"fieldValidation", P_STRING, "What to do about unknown and duplicate fields: Ignore, Warn or Strict."},
    {"follow", P_BOOLEAN, "Keep the log open and send what is appended."},
    {"force", P_BOOLEAN, "Take fields over from other managers."},
    {"gracePeriodSeconds", P_INTEGER, "Seconds before the object is deleted; 0 means at once."},
    {"labelSelector", P_STRING, "Only objects whose labels match."},
    {"limit", P_INTEGER, "At most this many items in one page."},
    {"limitBytes", P_INTEGER, "At most this many bytes of log."},
    {"name", P_STRING, "Name of the object."},
    {"namespace", P_STRING, "Namespace of the object."},
    {"orphanDependents", P_BOOLEAN, "Older form of propagationPolicy."},
    {"pretty", P_STRING, "true: indented output."},
    {"previous", P_BOOLEAN, "Log of the container's previous run."},
    {"propagationPolicy", P_STRING, "What happens to dependents: Orphan, Background or Foreground."},
    {"resourceVersion", P_STRING, "Version that the answer must not be older than, or start from."},
    {"resourceVersionMatch", P_STRING, "How resourceVersion is meant: NotOlderThan or Exact."},
    {"sendInitialEvents", P_BOOLEAN, "Begin a watch with the present objects."},
    {"sinceSeconds", P_INTEGER, "Only log lines of the last seconds."},
    {"tailLines", P_INTEGER, "Only the last lines of the log."},
    {"timeoutSeconds", P_INTEGER, "End a watch after this time."},
    {"timestamps", P_BOOLEAN, "Begin each log line with its time."},
    {"watch", P_BOOLEAN, "Send changes instead of a list."},
};

#define LIST_PARAMS   "continue fieldSelector labelSelector limit resourceVersion resourceVersionMatch "
#define WATCH_PARAMS  "sendInitialEvents timeoutSeconds "
#define DELETE_PARAMS "dryRun gracePeriodSeconds orphanDependents propagationPolicy "
#define WRITE_PARAMS  "dryRun fieldManager fieldValidation "

struct op {
	const char *verb;   // of the kind
	const char *method; // "get"
	const char *action; // x-kubernetes-action
	const char *id;     // first word of operationId
	const char *params; // in the query
	bool body, collection;
};

static const struct op ops[] = {
    {"list", "get", "list", "list", "allowWatchBookmarks " LIST_PARAMS WATCH_PARAMS "watch ", false, true},
    {"create", "post", "post", "create", WRITE_PARAMS, true, true},
    {"deletecollection", "delete", "deletecollection", "delete", DELETE_PARAMS LIST_PARAMS WATCH_PARAMS, true, true},
    {"get", "get", "get", "read", "", false, false},
    {"update", "put", "put", "replace", WRITE_PARAMS, true, false},
    {"delete", "delete", "delete", "delete", DELETE_PARAMS, true, false},
    {"patch", "patch", "patch", "patch", WRITE_PARAMS "force ", true, false},
};

#define LOG_PARAMS "container follow limitBytes previous sinceSeconds tailLines timestamps "

static bool has_verb(const char *const *verbs, const char *verb)
{
	for (; verbs && *verbs; verbs++)
		if (strcmp(*verbs, verb) == 0)
			return true;
	return false;
}

static struct fl_json *new_param(struct fl_openapi *o, const char *name, size_t len, const char *in)
{
	static const char *const types[] = {[P_STRING] = "string", [P_BOOLEAN] = "boolean", [P_INTEGER] = "integer"};
	struct fl_json *p = fl_json_new(o->a, FL_JSON_OBJECT);
	size_t i = 0;

	while (i < FL_COUNT(params) - 1 && (strlen(params[i].name) != len || memcmp(params[i].name, name, len) != 0))
		i++;
	fl_json_set(o->a, p, "name", fl_json_new_strn(o->a, name, len));
	fl_json_set_str(o->a, p, "in", in);
	fl_json_set_str(o->a, p, "description", params[i].description);
	if (*in == 'p')
		fl_json_set_bool(o->a, p, "required", true);
	struct fl_json *schema = o->v2 ? p : fl_json_set_object(o->a, p, "schema");
	fl_json_set_str(o->a, schema, "type", types[params[i].type]);
	fl_json_set_bool(o->a, schema, "uniqueItems", true);
	return p;
}

// `names`: words, each followed by one space.
static void add_params(struct fl_openapi *o, struct fl_json *list, const char *names, const char *in)
{
	for (const char *space; (space = strchr(names, ' ')); names = space + 1)
		fl_json_append(list, new_param(o, names, (size_t)(space - names), in));
}

static void add_strings(struct fl_openapi *o, struct fl_json *object, const char *key, const char *const *list)
{
	struct fl_json *array = fl_json_set_array(o->a, object, key);

	for (; *list; list++)
		fl_json_append(array, fl_json_new_str(o->a, *list));
}

static const char *const json_types[] = {"application/json", "application/yaml", NULL};
static const char *const list_types[] = {"application/json", "application/json;stream=watch", "application/yaml", NULL};
static const char *const text_types[] = {"text/plain", "application/json", NULL};
static const char *const any_types[] = {"*/*", NULL};
// Apply first, so that a pointer to the second is the list without it.
static const char *const patch_types[] = {"application/apply-patch+yaml", "application/json-patch+json",
					  "application/merge-patch+json", "application/strategic-merge-patch+json",
					  NULL};
static const char *const plain_patch_types[] = {"application/apply-patch+yaml", "application/json-patch+json",
						"application/merge-patch+json", NULL};

// v3: one entry for each media type, all of the same schema.
static void set_content(struct fl_openapi *o, struct fl_json *object, const char *const *types, const char *definition)
{
	struct fl_json *content = fl_json_set_object(o->a, object, "content");

	for (; *types; types++) {
		struct fl_json *media = fl_json_set_object(o->a, content, *types);
		if (definition)
			fl_json_set(o->a, media, "schema", fl_openapi_ref(o, definition));
		else
			fl_json_set_str(o->a, fl_json_set_object(o->a, media, "schema"), "type", "string");
	}
}

struct operation {
	const struct fl_kind *k;
	const struct fl_subresource *sub; // or NULL
	const struct op *op;
	const char *scope;   // "Namespaced", ""
	const char *suffix;  // "ForAllNamespaces", ""
	const char *takes;   // definition of the body, or NULL
	const char *answers; // definition of the answer; NULL: text
	const char *const *request_types, *const *answer_types;
};

static void add_body(struct fl_openapi *o, struct fl_json *out, struct fl_json *parameters, const struct operation *x)
{
	bool required = *x->op->method != 'd'; // DeleteOptions may be left out

	if (!x->takes)
		return;
	if (o->v2) {
		struct fl_json *p = fl_json_append(parameters, fl_json_new(o->a, FL_JSON_OBJECT));
		fl_json_set_str(o->a, p, "name", "body");
		fl_json_set_str(o->a, p, "in", "body");
		if (required)
			fl_json_set_bool(o->a, p, "required", true);
		fl_json_set(o->a, p, "schema", fl_openapi_ref(o, x->takes));
		add_strings(o, out, "consumes", x->request_types);
		return;
	}
	struct fl_json *body = fl_json_set_object(o->a, out, "requestBody");
	set_content(o, body, x->request_types, x->takes);
	if (required)
		fl_json_set_bool(o->a, body, "required", true);
}

static void add_response(struct fl_openapi *o, struct fl_json *responses, const char *code, const char *description,
			 const struct operation *x)
{
	struct fl_json *r = fl_json_set_object(o->a, responses, code);

	fl_json_set_str(o->a, r, "description", description);
	if (!x)
		return;
	if (!o->v2)
		set_content(o, r, x->answer_types, x->answers);
	else if (x->answers)
		fl_json_set(o->a, r, "schema", fl_openapi_ref(o, x->answers));
	else
		fl_json_set_str(o->a, fl_json_set_object(o->a, r, "schema"), "type", "string");
}

static void add_responses(struct fl_openapi *o, struct fl_json *out, const struct operation *x)
{
	struct fl_json *responses = fl_json_set_object(o->a, out, "responses");
	const char *verb = x->op->verb;

	add_response(o, responses, "200", "OK", x);
	if (strcmp(verb, "create") == 0 || strcmp(verb, "update") == 0 || strcmp(verb, "patch") == 0)
		add_response(o, responses, "201", "Created", x);
	if (strcmp(verb, "create") == 0 || strcmp(verb, "delete") == 0)
		add_response(o, responses, "202", "Accepted", x);
	add_response(o, responses, "401", "Unauthorized", NULL);
}

// "discovery.k8s.io" -> "discovery", "rbac.authorization.k8s.io" -> "rbacAuthorization", "" -> "core".
static const char *group_word(struct fl_arena *a, const char *group)
{
	char *word = fl_arena_strdup(a, *group ? group : "core"), *to = word;
	bool up = false;

	for (const char *c = word; *c; c++) {
		if (strcmp(c, ".k8s.io") == 0)
			break;
		if (*c == '.') {
			up = true;
			continue;
		}
		*to++ = up ? (char)toupper((unsigned char)*c) : *c;
		up = false;
	}
	*to = '\0';
	return word;
}

static const char *capital(struct fl_arena *a, const char *word)
{
	char *s = fl_arena_strdup(a, word);

	*s = (char)toupper((unsigned char)*s);
	return s;
}

// readAppsV1NamespacedDeploymentScale, deleteCoreV1CollectionNamespacedService, listCoreV1ServiceForAllNamespaces
static const char *operation_id(struct fl_openapi *o, const struct operation *x)
{
	bool many = strcmp(x->op->verb, "deletecollection") == 0;

	return fl_arena_printf(o->a, "%s%s%s%s%s%s%s%s", x->op->id, capital(o->a, group_word(o->a, x->k->group)),
			       capital(o->a, x->k->version), many ? "Collection" : "", x->scope, x->k->kind,
			       x->sub ? capital(o->a, x->sub->name) : "", x->suffix);
}

static void set_gvk(struct fl_openapi *o, struct fl_json *out, const struct operation *x)
{
	struct fl_json *gvk = fl_json_set_object(o->a, out, "x-kubernetes-group-version-kind");
	bool other = x->sub && !fl_str_empty(x->sub->version);

	fl_json_set_str(o->a, gvk, "group", other ? x->sub->group : x->k->group);
	fl_json_set_str(o->a, gvk, "version", other ? x->sub->version : x->k->version);
	fl_json_set_str(o->a, gvk, "kind", x->sub ? x->sub->kind : x->k->kind);
}

static void add_operation(struct fl_openapi *o, struct fl_json *item, const struct operation *x)
{
	struct fl_json *out = fl_json_set_object(o->a, item, x->op->method);
	const char *tag = fl_arena_printf(o->a, "%s_%s", group_word(o->a, x->k->group), x->k->version);

	fl_json_append(fl_json_set_array(o->a, out, "tags"), fl_json_new_str(o->a, tag));
	fl_json_set_str(o->a, out, "operationId", operation_id(o, x));
	struct fl_json *parameters = fl_json_new(o->a, FL_JSON_ARRAY);
	add_params(o, parameters, x->op->params, "query");
	add_body(o, out, parameters, x);
	if (x->sub && strcmp(x->sub->name, "log") == 0)
		add_params(o, parameters, LOG_PARAMS, "query");
	if (parameters->kids.count)
		fl_json_set(o->a, out, "parameters", parameters);
	if (o->v2)
		add_strings(o, out, "produces", x->answer_types);
	add_responses(o, out, x);
	fl_json_set_str(o->a, out, "x-kubernetes-action", x->op->action);
	set_gvk(o, out, x);
}

static struct fl_json *new_item(struct fl_openapi *o, struct fl_json *paths, const char *path)
{
	return fl_json_set_object(o->a, paths, path);
}

// What stands for the whole path; after the operations, as kube-apiserver has it.
static void end_item(struct fl_openapi *o, struct fl_json *item, bool named, bool namespaced)
{
	struct fl_json *list = fl_json_set_array(o->a, item, "parameters");

	if (named)
		add_params(o, list, "name ", "path");
	if (namespaced)
		add_params(o, list, "namespace ", "path");
	add_params(o, list, "pretty ", "query");
}

// What an operation on the object itself takes and answers.
static struct operation plan(struct fl_openapi *o, const struct fl_kind *k, const struct op *op)
{
	struct operation x = {.k = k,
			      .op = op,
			      .scope = k->namespaced ? "Namespaced" : "",
			      .suffix = "",
			      .answers = k->definition,
			      .request_types = any_types,
			      .answer_types = json_types};
	bool deletes = strncmp(op->verb, "delete", 6) == 0;

	if (strcmp(op->verb, "list") == 0) {
		x.answers = fl_openapi_definition(o, k->group, k->version, k->list_kind);
		x.answer_types = list_types;
	} else if (deletes) {
		x.takes = fl_openapi_definition(o, "meta", "v1", "DeleteOptions");
		if (!k->return_deleted || op->collection)
			x.answers = fl_openapi_definition(o, "meta", "v1", "Status");
	} else if (strcmp(op->verb, "patch") == 0) {
		x.takes = fl_openapi_definition(o, "meta", "v1", "Patch");
		x.request_types = k->strategic_merge ? patch_types : plain_patch_types;
	} else if (op->body) {
		x.takes = k->definition;
	}
	return x;
}

static void add_kind_operations(struct fl_openapi *o, struct fl_json *item, const struct fl_kind *k, bool collection)
{
	for (size_t i = 0; i < FL_COUNT(ops); i++) {
		if (ops[i].collection != collection || !has_verb(k->verbs, ops[i].verb))
			continue;
		struct operation x = plan(o, k, &ops[i]);
		add_operation(o, item, &x);
	}
}

static void add_subresource(struct fl_openapi *o, struct fl_json *paths, const char *prefix, const struct fl_kind *k,
			    const struct fl_subresource *sub)
{
	struct fl_json *item = new_item(o, paths, fl_arena_printf(o->a, "%s/{name}/%s", prefix, sub->name));
	bool own = fl_str_empty(sub->version), log = strcmp(sub->name, "log") == 0;
	const char *definition =
	    fl_openapi_definition(o, own ? k->group : sub->group, own ? k->version : sub->version, sub->kind);

	for (size_t i = 0; i < FL_COUNT(ops); i++) {
		bool posts = strcmp(ops[i].verb, "create") == 0;
		if ((ops[i].collection && !posts) || !has_verb(sub->verbs, ops[i].verb))
			continue;
		struct operation x = plan(o, k, &ops[i]);
		x.sub = sub;
		if (!own && strcmp(ops[i].verb, "patch") == 0)
			x.request_types++; // a Scale is patched, not applied
		x.answers = log ? NULL : definition;
		x.answer_types = log ? text_types : json_types;
		if (x.takes == k->definition)
			x.takes = definition;
		add_operation(o, item, &x);
	}
	end_item(o, item, true, k->namespaced);
}

static void add_kind(struct fl_openapi *o, struct fl_json *paths, const char *root, const struct fl_kind *k)
{
	const char *all = fl_arena_printf(o->a, "%s/%s", root, k->plural);
	const char *prefix =
	    k->namespaced ? fl_arena_printf(o->a, "%s/namespaces/{namespace}/%s", root, k->plural) : all;

	if (k->namespaced && has_verb(k->verbs, "list")) {
		struct operation x = plan(o, k, &ops[0]);
		x.scope = "";
		x.suffix = "ForAllNamespaces";
		struct fl_json *item = new_item(o, paths, all);
		add_operation(o, item, &x);
		end_item(o, item, false, false);
	}
	struct fl_json *item = new_item(o, paths, prefix);
	add_kind_operations(o, item, k, true);
	end_item(o, item, false, k->namespaced);
	item = new_item(o, paths, fl_arena_printf(o->a, "%s/{name}", prefix));
	add_kind_operations(o, item, k, false);
	end_item(o, item, true, k->namespaced);
	for (unsigned i = 0; i < k->n_subresources; i++)
		add_subresource(o, paths, prefix, k, &k->subresources[i]);
}

static void add_resource_list(struct fl_openapi *o, struct fl_json *paths, const char *root, const struct fl_kind *k)
{
	struct fl_json *item = new_item(o, paths, fl_arena_printf(o->a, "%s/", root));
	struct fl_json *get = fl_json_set_object(o->a, item, "get");
	struct operation x = {.answers = fl_openapi_definition(o, "meta", "v1", "APIResourceList"),
			      .answer_types = json_types};

	fl_json_append(fl_json_set_array(o->a, get, "tags"),
		       fl_json_new_str(o->a, fl_arena_printf(o->a, "%s_%s", group_word(o->a, k->group), k->version)));
	fl_json_set_str(o->a, get, "operationId",
			fl_arena_printf(o->a, "get%s%sAPIResources", capital(o->a, group_word(o->a, k->group)),
					capital(o->a, k->version)));
	if (o->v2)
		add_strings(o, get, "produces", json_types);
	struct fl_json *responses = fl_json_set_object(o->a, get, "responses");
	add_response(o, responses, "200", "OK", &x);
	add_response(o, responses, "401", "Unauthorized", NULL);
}

bool fl_openapi_paths(struct fl_openapi *o, const char *group, const char *version, struct fl_json *paths)
{
	const char *root = NULL;
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(o->r, &n);

	for (unsigned i = 0; i < n; i++) {
		const struct fl_kind *k = kinds[i];
		if (strcmp(k->group, group) != 0 || strcmp(k->version, version) != 0)
			continue;
		if (!root) {
			root = fl_arena_printf(o->a, "%s/%s", *group ? "/apis" : "/api", k->api_version);
			add_resource_list(o, paths, root, k);
		}
		add_kind(o, paths, root, k);
	}
	return root;
}
