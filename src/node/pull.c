// SPDX-License-Identifier: Apache-2.0
// A container and its image: asked for by the pull policy before each start, with the logins of the pod's
// imagePullSecrets; told as kubelet tells it (pkg/kubelet/images/image_manager.go); again after a pause when it failed.
#include <string.h>

#include "base/mem.h"
#include "node/pod.h"

// As Go prints a duration cut to milliseconds: "313ms", "1.5s", "1m2.25s".
static char *duration(uint64_t ms)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (ms && ms < 1000)
		return fl_asprintf("%llums", (unsigned long long)ms);
	if (ms >= 3600000)
		fl_buf_printf(&b, "%lluh", (unsigned long long)ms / 3600000);
	if (ms >= 60000)
		fl_buf_printf(&b, "%llum", (unsigned long long)ms / 60000 % 60);
	fl_buf_printf(&b, "%llu", (unsigned long long)ms / 1000 % 60);
	if (ms % 1000) {
		fl_buf_printf(&b, ".%03llu", (unsigned long long)ms % 1000);
		while (b.data[b.len - 1] == '0')
			b.data[--b.len] = '\0';
	}
	fl_buf_putc(&b, 's');
	return fl_buf_take(&b);
}

static void tell_pulled(struct container *c, const char *image, const struct fl_image_result *r)
{
	AUTO_FREE char *pull = duration(r->pull_ms), *all = duration(r->total_ms);

	if (r->pulled)
		fl_pod_event(c->pod, "Normal", "Pulled",
			     "Successfully pulled image \"%s\" in %s (%s including waiting). Image size: %llu bytes.",
			     image, pull, all, (unsigned long long)r->image->size);
	else
		fl_pod_event(c->pod, "Normal", "Pulled",
			     "Container image \"%s\" already present on machine and can be accessed by the pod", image);
}

static void tell_failed(struct container *c, const char *image, const struct fl_image_result *r)
{
	if (fl_streq(r->reason, "ErrImagePull"))
		fl_pod_event(c->pod, "Warning", "Failed", "Failed to pull image \"%s\": %s", image, r->message);
	else
		fl_pod_event(c->pod, "Warning",
			     fl_streq(r->reason, "InvalidImageName") ? "InspectFailed" : "ErrImageNeverPull", "%s",
			     r->message);
	fl_pod_event(c->pod, "Warning", "Failed", "Error: %s", r->reason);
}

static const struct fl_container_spec *spec_of(const struct container *c, struct fl_arena *a, struct fl_pod_spec *spec)
{
	if (fl_pod_spec_read(a, fl_object_tree(c->pod->obj, a), spec, NULL) < 0 || c->index >= spec->n_containers)
		return NULL;
	return &spec->containers[c->index];
}

static void on_image(void *arg, const struct fl_image_result *r)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct container *c = arg;
	struct pod *p = c->pod;
	struct fl_pod_spec spec = {0};
	const struct fl_container_spec *s = p->pods->closing || p->dead ? NULL : spec_of(c, &a, &spec);
	uint64_t delay;

	if (s && c->state == CONTAINER_PULLING) {
		c->state = CONTAINER_WAITING;
		if (r->rc == 0) {
			c->image = r->image;
			c->image_ready = true;
			c->tries = 0;
			tell_pulled(c, s->image, r);
		} else {
			delay = (uint64_t)FL_BACKOFF_FIRST_MS << (!fl_streq(r->reason, "ErrImagePull") ? 0
								  : c->tries > 5                       ? 5
												       : c->tries);
			c->tries++;
			tell_failed(c, s->image, r);
			fl_container_wait(c, r->reason, r->message,
					  delay > FL_BACKOFF_MAX_MS ? FL_BACKOFF_MAX_MS : delay);
		}
		fl_pod_kick(p);
	}
	fl_pod_unref(p);
}

static void on_pulling(void *arg)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct container *c = arg;
	struct fl_pod_spec spec = {0};
	const struct fl_container_spec *s = spec_of(c, &a, &spec);

	if (s)
		fl_pod_event(c->pod, "Normal", "Pulling", "Pulling image \"%s\"", s->image);
}

static const struct fl_json *secret_of(const struct pod *p, const char *name)
{
	AUTO_FREE char *key = fl_asprintf("s/%s", name);

	return p->docs ? fl_map_get(&p->docs->by_key, key) : NULL;
}

void fl_container_pull(struct container *c)
{
	struct pod *p = c->pod;
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	const struct fl_container_spec *s = spec_of(c, &a, &spec);
	const struct fl_json *names = fl_json_get(spec.spec, "imagePullSecrets"), **secrets;
	AUTO(fl_buf_deinit) struct fl_buf missing = {0};
	size_t n = 0;

	if (!s)
		return;
	secrets = fl_arena_zalloc(&a, (fl_json_count(names) + 1) * sizeof(*secrets));
	fl_json_each (e, names) {
		const char *name = fl_json_str_or(e, "name", "");
		const struct fl_json *secret = *name ? secret_of(p, name) : NULL;

		if (secret)
			secrets[n++] = secret;
		else if (*name)
			fl_buf_printf(&missing, "%s%s", missing.len ? ", " : "", name);
	}
	if (missing.len)
		fl_pod_event(p, "Warning", "FailedToRetrieveImagePullSecret",
			     "Unable to retrieve some image pull secrets (%s); attempting to pull the image may not "
			     "succeed.",
			     missing.data);
	struct fl_image_request r = {
	    .ref = s->image,
	    .policy = s->pull_policy,
	    .secrets = secrets,
	    .n_secrets = n,
	    .on_pulling = on_pulling,
	    .done = on_image,
	    .arg = c,
	};

	c->state = CONTAINER_PULLING;
	fl_pod_ref(p); // until it is answered
	fl_images_ensure(p->pods->images, &r);
}

// After a failure: ErrImagePull, and a moment later ImagePullBackOff until the next try.
static void show_backoff(struct container *c, uint64_t now)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	const struct fl_container_spec *s = spec_of(c, &a, &spec);
	AUTO_FREE char *text = NULL;

	if (!s || !fl_streq(c->wait_reason, "ErrImagePull") || now < c->waits_since_ms + FL_PULL_ERROR_SHOWN_MS)
		return;
	text = fl_asprintf("Back-off pulling image \"%s\": ErrImagePull: %s", s->image, c->wait_message);
	fl_container_wait(c, "ImagePullBackOff", text, c->not_before_ms - now);
	fl_pod_event(c->pod, "Normal", "BackOff", "Back-off pulling image \"%s\"", s->image);
	fl_pod_event(c->pod, "Warning", "Failed", "Error: ImagePullBackOff");
}

// Somebody imported what could not be pulled.
static bool image_came(const struct container *c)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_pod_spec spec = {0};
	const struct fl_container_spec *s;

	if (!fl_container_lacks_image(c))
		return false;
	s = spec_of(c, &a, &spec);
	return s && strcmp(s->pull_policy, "Always") != 0 && fl_images_has(c->pod->pods->images, s->image);
}

bool fl_container_lacks_image(const struct container *c)
{
	return c->state == CONTAINER_WAITING && !c->image_ready && c->tries;
}

bool fl_container_pull_wait(struct container *c)
{
	show_backoff(c, uv_now(c->pod->pods->o.loop));
	return image_came(c);
}
