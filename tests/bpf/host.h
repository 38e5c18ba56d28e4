/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker host with three workers, in namespaces of its own: interfaces w0, w1, w2 (peers w0-peer, …), each with a
 * worker of the same address in a VPC of its own. The classifier runs on the real kernel, whose state is what is read.
 * Shared by the tests of control/classifier*.c. Failures end the test.
 */
#ifndef POSTERN_TESTS_BPF_HOST_H
#define POSTERN_TESTS_BPF_HOST_H

#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "control/classifier.h"
#include "tests/bpf/lab.h"

#define HOST_PIN_DIR "/run/postern/bpf"
#define HOST_DEVICE "postern-vxlan"

enum {
	HOST_WORKER_ADDRESS = 0x0a000005, /* 10.0.0.5 */
	HOST_GATEWAY = 0x0a640001,	  /* 10.100.0.1 */
	HOST_VTEP = 0x0a640002,
	HOST_WORKER_COUNT = 3,
	/* Of <linux/bpf.h> since Linux 6.6. */
	HOST_TCX_INGRESS = 46,
	HOST_TCX_EGRESS = 47,
};

extern const uint8_t host_worker_mac[6];

struct host {
	struct classifier *classifier;
	struct classifier_worker workers[HOST_WORKER_COUNT];
	struct classifier_workspace workspaces[HOST_WORKER_COUNT];
	uint32_t gateways[2];
	struct classifier_desired desired;
	struct problems problems;
};

/* Of main(). --without-tcx: from now on the kernel is as one before Linux 6.6. */
void host_start(int argc, char *argv[]);
bool host_has_tcx(void);

#define HOST_TEST(name) cmocka_unit_test_setup_teardown(name, host_open, host_close)
int host_open(void **state);
int host_close(void **state);

/* As when posternd starts, and when it goes; both. */
void host_enter(struct host *host);
void host_leave(struct host *host);
void host_reopen(struct host *host);

/* Puts `desired` in force; so many interfaces are missing, and nothing else is wrong. */
void host_apply(struct host *host, size_t expected_missing);
/* `desired` is refused with this status, and says why. */
void host_assert_refused(struct host *host, enum status expected);

/* Of pinned objects, by their names: a descriptor (negative: there is none), ids, a map's entries. */
int host_pinned(const char *name);
uint32_t host_pinned_map_id(const char *name);
uint32_t host_pinned_program_id(const char *name);
size_t host_entry_count(const char *name);
bool host_lookup(const char *map, const void *key, void *ret_value);
bool host_worker_entry(uint32_t ifindex, struct worker_value *ret_value);

/* The program on the hook at our place, the first; 0: none. */
uint32_t host_attached(const char *interface, enum bpf_tc_attach_point point);

/* Our programs are on the interface; it is open for its worker; or nothing opens it, and what it sends is dropped. */
void host_assert_claimed(const char *interface);
void host_assert_open(const struct host *host, int index);
void host_assert_closed(struct host *host, int index);

/* As the program does at the worker's first packet: host_worker_mac. */
void host_learn_mac(const char *interface);
void host_assert_mac(const char *interface, const uint8_t mac[6]);

#endif
