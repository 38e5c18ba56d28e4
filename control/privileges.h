/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The privileges of posternd and postern-dataplane: of what root may do each keeps the few capabilities that it needs,
 * and gives up all else for good, before it looks at anything that a peer wrote.
 *
 * What is not kept leaves the effective, permitted, inheritable and ambient sets, and the bounding set as far as the
 * process may change that (CAP_SETPCAP; where a service manager has taken it, it has bounded the set itself).
 * no_new_privs is set, so that no program that is executed later gets anything back. Capabilities are a thread's own:
 * threads that are made later inherit what is left. Owner: main(). Thread: the first one, while it is the only one.
 */
#ifndef POSTERN_CONTROL_PRIVILEGES_H
#define POSTERN_CONTROL_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/capability.h>

enum { PRIVILEGES_TEXT_SIZE_BYTES = 512 };

/* True: the calling thread may use it now. */
bool privileges_have(cap_value_t capability);

/* "CAP_NET_ADMIN" and so on, as the kernel's header writes it; case does not matter. */
bool privileges_parse(const char *name, cap_value_t *ret_capability);

/*
 * Keeps those of `kept` that the process has, effective and permitted, and gives up all else. False: the kernel did not
 * let it; `ret_text` says what failed, and the process should end. Again with fewer: gives up more.
 */
bool privileges_keep(const cap_value_t *kept, size_t count, char ret_text[PRIVILEGES_TEXT_SIZE_BYTES]);

/* Those of `wanted` that the calling thread has not, as "CAP_BPF, CAP_PERFMON"; false, and "": it has them all. */
bool privileges_lack(const cap_value_t *wanted, size_t count, char ret_text[PRIVILEGES_TEXT_SIZE_BYTES]);

/* What the calling thread holds (permitted), by number, as "CAP_NET_ADMIN CAP_BPF"; "none". */
void privileges_describe(char ret_text[PRIVILEGES_TEXT_SIZE_BYTES]);

#endif
