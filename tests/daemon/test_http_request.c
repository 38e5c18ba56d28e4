/* SPDX-License-Identifier: Apache-2.0 */
/* control/http_request.c: what is a request, and what is refused with which status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/http_request.h"

static int parse(const char *text, struct http_request *ret_request)
{
	static char head[16384];

	assert_true(strlen(text) < sizeof(head));
	strcpy(head, text);
	return http_request_parse(head, strlen(text), ret_request);
}

static void a_get_has_path_and_query(void **state)
{
	struct http_request request;

	assert_int_equal(parse("GET /v1/sessions?limit=5&egress=1.2.3.4 HTTP/1.1\r\nHost: x\r\n\r\n", &request), 0);
	assert_int_equal(request.method, HTTP_METHOD_GET);
	assert_string_equal(request.path, "/v1/sessions");
	assert_string_equal(request.query, "limit=5&egress=1.2.3.4");
	assert_int_equal(request.body_bytes, 0);
}

static void a_post_announces_its_body(void **state)
{
	struct http_request request;

	assert_int_equal(parse("POST /v1/reload HTTP/1.0\r\ncontent-length:  12 \r\n\r\n", &request), 0);
	assert_int_equal(request.method, HTTP_METHOD_POST);
	assert_null(request.query);
	assert_int_equal(request.body_bytes, 12);
}

static void other_methods_are_told_apart(void **state)
{
	struct http_request request;

	assert_int_equal(parse("HEAD / HTTP/1.1\r\n\r\n", &request), 0);
	assert_int_equal(request.method, HTTP_METHOD_HEAD);
	assert_int_equal(parse("DELETE / HTTP/1.1\r\n\r\n", &request), 0);
	assert_int_equal(request.method, HTTP_METHOD_DELETE);
	assert_int_equal(parse("TRACE / HTTP/1.1\r\n\r\n", &request), 0);
	assert_int_equal(request.method, HTTP_METHOD_OTHER);
	assert_int_equal(parse("get / HTTP/1.1\r\n\r\n", &request), 0);
	assert_int_equal(request.method, HTTP_METHOD_OTHER);
}

static void malformed_heads_are_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{"\r\n\r\n", 400},
		{"GET\r\n\r\n", 400},
		{"GET /\r\n\r\n", 400},
		{"GET  / HTTP/1.1\r\n\r\n", 400},
		{"GET metrics HTTP/1.1\r\n\r\n", 400},
		{"G\tET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1 \r\n\r\n", 505},
		{"GET / HTTP/2.0\r\n\r\n", 505},
		{"GET / SPDY\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n: x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: \r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nContent-Length: 18446744073709551617\r\n\r\n", 413},
		{"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
	};
	struct http_request request;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse(cases[i].text, &request) != cases[i].code)
			fail_msg("case %zu: %d instead of %d", i, parse(cases[i].text, &request), cases[i].code);
	}
}

static void a_zero_byte_is_refused(void **state)
{
	char head[] = "GET /\0 HTTP/1.1\r\n\r\n";
	struct http_request request;

	assert_int_equal(http_request_parse(head, sizeof(head) - 1, &request), 400);
}

/* Every truncation and every single-byte change of a request ends in an answer, not in a crash. */
static void mutations_never_crash(void **state)
{
	static const char text[] = "POST /v1/x?a=b HTTP/1.1\r\nHost: y\r\nContent-Length: 3\r\n\r\n";
	struct http_request request;
	char head[sizeof(text)];

	for (size_t at = 0; at < sizeof(text) - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			memcpy(head, text, sizeof(text));
			head[at] = (char)byte;
			http_request_parse(head, sizeof(text) - 1, &request);
		}
		memcpy(head, text, sizeof(text));
		head[at] = '\0';
		assert_int_not_equal(http_request_parse(head, at, &request), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_get_has_path_and_query),
		cmocka_unit_test(a_post_announces_its_body),
		cmocka_unit_test(other_methods_are_told_apart),
		cmocka_unit_test(malformed_heads_are_refused),
		cmocka_unit_test(a_zero_byte_is_refused),
		cmocka_unit_test(mutations_never_crash),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
