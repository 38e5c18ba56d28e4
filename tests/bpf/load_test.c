/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every BPF program as the kernel takes it: the verifier and libbpf have nothing to say, and the work to verify it is far
 * from the kernel's limit, also from that of an older one, which may walk more paths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/libbpf.h>

enum {
	LOG_STATISTICS = 4, /* BPF_LOG_STATS: and what it has to warn of */
	LOG_SIZE_BYTES = 1 << 20,
	PROGRAMS_MAX = 16,
	VERIFIED_MAX = 250000, /* instructions; the kernel's limit is a million */
};

static unsigned libbpf_lines;

static int note_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level != LIBBPF_WARN)
		return 0;
	libbpf_lines++;
	printf("# ");
	return vprintf(format, arguments);
}

/* Of the statistics there is a line each: "verification time 12 usec", "stack depth 64+0", "processed 99 insns (…". */
static bool is_statistic(const char *line)
{
	static const char *const beginnings[] = {"verification time ", "stack depth ", "processed "};

	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (strncmp(line, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return false;
}

static void assert_clean(const char *program, char *log)
{
	unsigned verified = 0;
	char *rest = NULL;

	for (char *line = strtok_r(log, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		(void)sscanf(line, "processed %u insns", &verified);
		if (!is_statistic(line))
			fail_msg("%s: the verifier says: %s", program, line);
	}
	printf("# %s: %u instructions verified\n", program, verified);
	assert_in_range(verified, 1, VERIFIED_MAX);
}

static void assert_object_is_clean(const char *path, size_t expected_count)
{
	struct bpf_object *object = bpf_object__open(path);
	char *logs[PROGRAMS_MAX] = {NULL};
	struct bpf_program *program;
	size_t count = 0;

	assert_non_null(object);
	bpf_object__for_each_program(program, object)
	{
		assert_true(count < PROGRAMS_MAX);
		logs[count] = calloc(1, LOG_SIZE_BYTES);
		assert_non_null(logs[count]);
		assert_int_equal(bpf_program__set_log_level(program, LOG_STATISTICS), 0);
		assert_int_equal(bpf_program__set_log_buf(program, logs[count], LOG_SIZE_BYTES), 0);
		count++;
	}
	assert_int_equal(count, expected_count);
	assert_int_equal(bpf_object__load(object), 0);
	count = 0;
	bpf_object__for_each_program(program, object)
	{
		assert_clean(bpf_program__name(program), logs[count]);
		free(logs[count++]);
	}
	bpf_object__close(object);
	assert_int_equal(libbpf_lines, 0);
}

static void verifier_has_nothing_to_say_to_the_programs_of_a_worker_host(void **state)
{
	assert_object_is_clean(WORKER_OBJECT, 8);
}

static void verifier_has_nothing_to_say_to_the_program_of_a_gateway(void **state)
{
	assert_object_is_clean(STEER_OBJECT, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verifier_has_nothing_to_say_to_the_programs_of_a_worker_host),
		cmocka_unit_test(verifier_has_nothing_to_say_to_the_program_of_a_gateway),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	libbpf_set_print(note_libbpf);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
