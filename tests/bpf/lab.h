/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private network and mount namespace for one test program, with raw sockets to look at what interfaces see. It all
 * ends with the process. Failures end the test.
 */
#ifndef POSTERN_TESTS_BPF_LAB_H
#define POSTERN_TESTS_BPF_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bpf/frame_builder.h"

enum { LAB_DEADLINE_MS = 3000 };

/* Ends the program with a TAP bail-out when it is not root: these tests are never skipped in silence. */
void lab_require_root(void);

/* A fresh network namespace (IPv6 off, so that interfaces are quiet) and mount namespace (with an empty /run). */
void lab_enter(void);

/* From here on this process' kernel answers to TCX as Linux 6.1 does: it does not know it. */
void lab_forbid_tcx(void);

/* Runs a command line that must succeed. */
void lab_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Up, with a MAC that is known; returns its index. */
uint32_t lab_veth(const char *name, const char *peer);

void lab_mac(const char *interface, uint8_t ret_mac[6]);

/* A raw socket on one interface. */
int lab_socket(const char *interface);
void lab_send(int fd, const struct frame *frame);

/* The next frame that came in by the interface; false when none came until the deadline. */
bool lab_receive(int fd, struct frame *ret_frame);

/* Nothing is waiting. Meaningful once a counter has shown that the frame was dealt with. */
bool lab_is_quiet(int fd);

/* A child process that sends the same frame by an interface, steadily, until it is stopped. */
struct lab_sender {
	int stop_fd, count_fd;
	int process_id;
};

void lab_sender_start(struct lab_sender *ret_sender, const char *interface, const struct frame *frame);

/* How many it sent. */
uint64_t lab_sender_stop(const struct lab_sender *sender);

#endif
