/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scalars: the words of a configuration, strictly read and written: numbers, durations, rates, addresses, names.
 *
 * scalar_parse_*: NULL when the whole text is well-formed, with the value in ret_*; else a hint in brackets that can
 * follow "must be …", or "" when there is nothing more to say. Ranges are the caller's. scalar_format_*: text that
 * parses to the same value. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_SCALAR_H
#define POSTERN_CONTROL_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCALAR_SIZE_BYTES = 64 };

const char *scalar_parse_integer(const char *text, uint64_t *ret_value);

/* An integer that may end in Ki or Mi. */
const char *scalar_parse_count(const char *text, uint64_t *ret_value);

/* "90s", "2h4m", "1d"; a plain integer is seconds. Largest unit first, each once. */
const char *scalar_parse_duration(const char *text, uint64_t *ret_seconds);
void scalar_format_duration(uint64_t seconds, char ret_text[SCALAR_SIZE_BYTES]);

/* A plain integer is bytes per second; or kB, MB, GB, kbit, Mbit, Gbit (of 1000, as networks count). */
const char *scalar_parse_rate(const char *text, uint64_t *ret_bytes_per_second);

const char *scalar_parse_bool(const char *text, bool *ret_value);

/* Four decimal numbers; host order. */
const char *scalar_parse_ipv4(const char *text, uint32_t *ret_address);
void scalar_format_ipv4(uint32_t address, char ret_text[SCALAR_SIZE_BYTES]);

/* Host bits are kept as written: the caller decides. */
const char *scalar_parse_cidr(const char *text, uint32_t *ret_address, uint8_t *ret_prefix_length_bits);
void scalar_format_cidr(uint32_t address, unsigned prefix_length_bits, char ret_text[SCALAR_SIZE_BYTES]);
uint32_t scalar_prefix_mask(unsigned prefix_length_bits);

/* A unicast MAC address. */
const char *scalar_parse_mac(const char *text, uint8_t ret_mac[6]);
void scalar_format_mac(const uint8_t mac[6], char ret_text[SCALAR_SIZE_BYTES]);

/* "127.0.0.1:9464", "[::1]:9464", or "off": address "" and port 0. */
const char *scalar_parse_listen(const char *text, char ret_address[SCALAR_SIZE_BYTES], uint16_t *ret_port);
void scalar_format_listen(const char *address, uint16_t port, char ret_text[SCALAR_SIZE_BYTES]);

/* any (0), icmp, tcp, udp or 1..255. */
const char *scalar_parse_protocol(const char *text, uint8_t *ret_protocol);
void scalar_format_protocol(uint8_t protocol, char ret_text[SCALAR_SIZE_BYTES]);

/* any (0..65535), 443 or 1000-2000. */
const char *scalar_parse_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last);
void scalar_format_ports(uint16_t first, uint16_t last, char ret_text[SCALAR_SIZE_BYTES]);

/* Ids of workspaces and VPCs; names of network interfaces. NULL: good. */
const char *scalar_check_id(const char *text);
const char *scalar_check_interface(const char *text);

#endif
