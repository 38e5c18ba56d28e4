/* SPDX-License-Identifier: Apache-2.0 */
#include "control/privileges.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static bool has(cap_t caps, cap_value_t capability, cap_flag_t set)
{
	cap_flag_value_t value = CAP_CLEAR;

	return caps != NULL && cap_get_flag(caps, capability, set, &value) == 0 && value == CAP_SET;
}

/* One name more behind those in `text`; what does not fit is left out. */
static void append_name(char text[PRIVILEGES_TEXT_SIZE_BYTES], const char *separator, cap_value_t capability)
{
	char *name = cap_to_name(capability); /* "cap_net_admin"; the number, where libcap does not know it */
	size_t length = strlen(text), first = length;

	if (name == NULL)
		return;
	snprintf(text + length, PRIVILEGES_TEXT_SIZE_BYTES - length, "%s%s", length > 0 ? separator : "", name);
	for (char *at = text + first; *at != '\0'; at++)
		*at = (char)toupper((unsigned char)*at);
	cap_free(name);
}

bool privileges_have(cap_value_t capability)
{
	cap_t caps = cap_get_proc();
	bool held = has(caps, capability, CAP_EFFECTIVE);

	cap_free(caps);
	return held;
}

bool privileges_parse(const char *name, cap_value_t *ret_capability)
{
	return cap_from_name(name, ret_capability) == 0;
}

static bool refuse(char ret_text[PRIVILEGES_TEXT_SIZE_BYTES], const char *what)
{
	snprintf(ret_text, PRIVILEGES_TEXT_SIZE_BYTES, "privileges can not be given up: %s: %s", what, strerror(errno));
	return false;
}

static bool is_in(const cap_value_t *list, size_t count, cap_value_t capability)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == capability)
			return true;
	}
	return false;
}

/* Before the other sets: it takes CAP_SETPCAP. */
static bool bound(const cap_value_t *kept, size_t count, char ret_text[PRIVILEGES_TEXT_SIZE_BYTES])
{
	if (!privileges_have(CAP_SETPCAP))
		return true;
	for (cap_value_t capability = 0; cap_get_bound(capability) >= 0; capability++) {
		if (!is_in(kept, count, capability) && cap_get_bound(capability) == 1 &&
			cap_drop_bound(capability) != 0)
			return refuse(ret_text, "the bounding set");
	}
	return true;
}

bool privileges_keep(const cap_value_t *kept, size_t count, char ret_text[PRIVILEGES_TEXT_SIZE_BYTES])
{
	cap_t before = cap_get_proc(), after = cap_init();
	bool done = before != NULL && after != NULL;

	errno = done ? 0 : ENOMEM;
	for (size_t i = 0; done && i < count; i++) {
		if (!has(before, kept[i], CAP_PERMITTED))
			continue;
		done = cap_set_flag(after, CAP_PERMITTED, 1, &kept[i], CAP_SET) == 0 &&
		       cap_set_flag(after, CAP_EFFECTIVE, 1, &kept[i], CAP_SET) == 0;
	}
	if (!done)
		refuse(ret_text, "the sets");
	else if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		done = refuse(ret_text, "the ambient set");
	else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		done = refuse(ret_text, "no_new_privs");
	else if (bound(kept, count, ret_text))
		done = cap_set_proc(after) == 0 || refuse(ret_text, "the sets");
	else
		done = false;
	cap_free(before);
	cap_free(after);
	return done;
}

bool privileges_lack(const cap_value_t *wanted, size_t count, char ret_text[PRIVILEGES_TEXT_SIZE_BYTES])
{
	ret_text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		if (!privileges_have(wanted[i]))
			append_name(ret_text, ", ", wanted[i]);
	}
	return ret_text[0] != '\0';
}

void privileges_describe(char ret_text[PRIVILEGES_TEXT_SIZE_BYTES])
{
	cap_t caps = cap_get_proc();

	ret_text[0] = '\0';
	for (cap_value_t capability = 0; cap_get_bound(capability) >= 0; capability++) {
		if (has(caps, capability, CAP_PERMITTED))
			append_name(ret_text, " ", capability);
	}
	cap_free(caps);
	if (ret_text[0] == '\0')
		snprintf(ret_text, PRIVILEGES_TEXT_SIZE_BYTES, "none");
}
