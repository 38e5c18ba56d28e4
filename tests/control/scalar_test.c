/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and names, read strictly. */
#include "tests/control/check.h"

#include "control/fields.h"
#include "control/scalar.h"

struct number_case {
	const char *text;
	int64_t value; /* -1: refused */
};

static void check_numbers(const struct number_case *cases, const char *parse(const char *text, uint64_t *ret_value))
{
	for (; cases->text; cases++) {
		uint64_t value = 4711;
		const char *hint = parse(cases->text, &value);

		if (cases->value < 0) {
			if (!hint)
				fail_msg("\"%s\" was taken as %lu", cases->text, value);
			assert_int_equal(value, 4711);
		} else {
			if (hint)
				fail_msg("\"%s\" was refused", cases->text);
			assert_int_equal(value, cases->value);
		}
	}
}

static void integer_is_decimal_digits_and_nothing_else(void **state)
{
	static const struct number_case cases[] = {{"0", 0}, {"1", 1}, {"16777215", 16777215},
		{"9223372036854775807", INT64_MAX}, {"", -1}, {" 1", -1}, {"1 ", -1}, {"1abc", -1}, {"1.9", -1},
		{"0x10", -1}, {"010", -1}, {"00", -1}, {"1e3", -1}, {"-1", -1}, {"+1", -1}, {"1_000", -1}, {"0b1", -1},
		{"0o7", -1}, {"18446744073709551616", -1}, {"99999999999999999999999", -1}, {"\xd9\xa1", -1},
		{NULL, 0}};

	check_numbers(cases, scalar_parse_integer);
}

static void count_may_end_in_ki_or_mi(void **state)
{
	static const struct number_case cases[] = {{"64Ki", 65536}, {"1Mi", 1048576}, {"0Ki", 0}, {"5", 5}, {"64K", -1},
		{"64k", -1}, {"64 Ki", -1}, {"Ki", -1}, {"64KiB", -1}, {"1.5Ki", -1}, {"010Ki", -1},
		{"18446744073709551615Mi", -1}, {NULL, 0}};

	check_numbers(cases, scalar_parse_count);
}

static void duration_is_in_words_or_seconds(void **state)
{
	static const struct number_case cases[] = {{"90", 90}, {"90s", 90}, {"2h4m", 7440}, {"1d", 86400},
		{"1d2h3m4s", 93784}, {"120m", 7200}, {"0s", 0}, {"0", 0}, {"", -1}, {"s", -1}, {"2h4", -1},
		{"4m2h", -1}, {"1m1m", -1}, {"250ms", -1}, {"1.5h", -1}, {"-1s", -1}, {"1w", -1}, {"1 h", -1},
		{"01m", -1}, {"1H", -1}, {"1mm", -1}, {"213503982334602d", -1}, {"18446744073709551615s1", -1},
		{NULL, 0}};

	check_numbers(cases, scalar_parse_duration);
}

static void duration_is_printed_as_it_can_be_read(void **state)
{
	static const uint64_t values[] = {0, 1, 59, 60, 61, 3600, 7440, 86399, 86400, 604800, 4294967295u};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char text[SCALAR_SIZE_BYTES];
		uint64_t value = 0;

		scalar_format_duration(values[i], text);
		assert_null(scalar_parse_duration(text, &value));
		assert_int_equal(value, values[i]);
	}
}

static void rate_counts_bits_in_thousands_and_stores_bytes(void **state)
{
	static const struct number_case cases[] = {{"1250000", 1250000}, {"10Mbit", 1250000}, {"1Gbit", 125000000},
		{"8kbit", 1000}, {"2MB", 2000000}, {"1kB", 1000}, {"3GB", 3000000000}, {"0", 0}, {"10Mb", -1},
		{"10mbit", -1}, {"10 Mbit", -1}, {"1.5Gbit", -1}, {"Mbit", -1}, {"10Mbit/s", -1},
		{"18446744073709551615kbit", -1}, {NULL, 0}};

	check_numbers(cases, scalar_parse_rate);
}

static void boolean_is_true_or_false_only(void **state)
{
	static const char *const others[] = {"yes", "no", "on", "off", "True", "TRUE", "False", "y", "n", "1", "0", ""};
	bool value = false;

	assert_null(scalar_parse_bool("true", &value));
	assert_true(value);
	assert_null(scalar_parse_bool("false", &value));
	assert_false(value);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_non_null(scalar_parse_bool(others[i], &value));
	assert_string_equal(scalar_parse_bool("yes", &value), " (write true)");
	assert_string_equal(scalar_parse_bool("OFF", &value), " (write false)");
}

static void ipv4_address_is_four_plain_numbers(void **state)
{
	static const char *const wrong[] = {"", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.04", "1.2.3.", ".1.2.3",
		"1..2.3", "1.2.3.4 ", "0x1.2.3.4", "1.2.3.-4", "::1", "1.2.3.4/32"};
	uint32_t address = 0;

	assert_null(scalar_parse_ipv4("203.0.113.10", &address));
	assert_int_equal(address, 0xcb00710a);
	assert_null(scalar_parse_ipv4("0.0.0.0", &address));
	assert_null(scalar_parse_ipv4("255.255.255.255", &address));
	assert_int_equal(address, 0xffffffff);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_non_null(scalar_parse_ipv4(wrong[i], &address));
}

static void cidr_needs_a_prefix_length(void **state)
{
	static const char *const wrong[] = {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1",
		"10.0.0/8", "10.0.0.0/8 ", "10.0.0.0/255.0.0.0"};
	uint32_t address = 0;
	uint8_t length = 99;

	assert_null(scalar_parse_cidr("0.0.0.0/0", &address, &length));
	assert_int_equal(length, 0);
	assert_null(scalar_parse_cidr("10.1.2.3/32", &address, &length));
	assert_int_equal(length, 32);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_non_null(scalar_parse_cidr(wrong[i], &address, &length));
	assert_int_equal(scalar_prefix_mask(0), 0);
	assert_int_equal(scalar_prefix_mask(1), 0x80000000);
	assert_int_equal(scalar_prefix_mask(32), 0xffffffff);
}

static void listen_needs_a_numeric_address_and_a_port(void **state)
{
	static const char *const wrong[] = {"", ":", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
		"127.0.0.1:65536", "localhost:1", "::1:9464", "[::1]", "[127.0.0.1]:1", "[]:1", "[::g]:1",
		"127.0.0.1:1a", "on"};
	char address[SCALAR_SIZE_BYTES];
	uint16_t port = 0;

	assert_null(scalar_parse_listen("127.0.0.1:9464", address, &port));
	assert_string_equal(address, "127.0.0.1");
	assert_int_equal(port, 9464);
	assert_null(scalar_parse_listen("[::1]:65535", address, &port));
	assert_string_equal(address, "::1");
	assert_null(scalar_parse_listen("off", address, &port));
	assert_string_equal(address, "");
	assert_int_equal(port, 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_non_null(scalar_parse_listen(wrong[i], address, &port));
}

/* Every default of the field table is a value that the field itself accepts, and so is its printed form. */
static void check_defaults(const struct field_section *section)
{
	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];
		char why[FIELD_WHY_SIZE_BYTES], text[FIELD_TEXT_SIZE_BYTES];
		char *record = calloc(1, section->record_size_bytes);

		assert_non_null(record);
		assert_non_null(field->doc);
		if (field->type == FIELD_MAP) {
			check_defaults(field->section);
		} else if (field->default_text && *field->default_text) {
			assert_true(field_parse(field, field->default_text, false, record + field->offset, why));
			field_format(field, record + field->offset, text);
			assert_true(field_parse(field, text, false, record + field->offset, why));
		}
		free(record);
	}
}

static void every_default_is_accepted_by_its_own_field(void **state)
{
	check_defaults(&fields_file);
}

static void nearest_key_is_at_most_two_letters_away(void **state)
{
	assert_string_equal(fields_find_nearest(&fields_file, "workspace")->key, "workspaces");
	assert_string_equal(fields_find_nearest(&fields_file, "gatway")->key, "gateway");
	assert_string_equal(fields_find_nearest(&fields_file, "worker-host")->key, "worker_host");
	assert_null(fields_find_nearest(&fields_file, "wrkspc"));
	assert_null(fields_find_nearest(&fields_file, "a-key-that-is-much-longer-than-any-key-in-the-table"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(integer_is_decimal_digits_and_nothing_else),
		cmocka_unit_test(count_may_end_in_ki_or_mi),
		cmocka_unit_test(duration_is_in_words_or_seconds),
		cmocka_unit_test(duration_is_printed_as_it_can_be_read),
		cmocka_unit_test(rate_counts_bits_in_thousands_and_stores_bytes),
		cmocka_unit_test(boolean_is_true_or_false_only),
		cmocka_unit_test(ipv4_address_is_four_plain_numbers),
		cmocka_unit_test(cidr_needs_a_prefix_length),
		cmocka_unit_test(listen_needs_a_numeric_address_and_a_port),
		cmocka_unit_test(every_default_is_accepted_by_its_own_field),
		cmocka_unit_test(nearest_key_is_at_most_two_letters_away),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("scalar", tests, NULL, NULL);
}
