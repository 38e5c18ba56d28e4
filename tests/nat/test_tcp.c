/* SPDX-License-Identifier: Apache-2.0 */
/* TCP: its states, how long each lasts, and which RST ends it. */
#include "tests/nat/fixture.h"

static void rfc5382_5_established_tcp_lives_idle_for_two_hours_four(void **state)
{
	struct fixture *fixture = *state;
	fixture_establish(fixture, 40000);
	fixture_pass(fixture, 7439 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 3 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void an_unanswered_syn_ends_after_thirty_seconds(void **state)
{
	struct fixture *fixture = *state;
	fixture_sent(fixture, describe_tcp(40000, TCP_SYN, 1));
	assert_int_equal(fixture->shard->workspaces[0].half_open, 1);
	fixture_pass(fixture, 29 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 3 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->workspaces[0].half_open, 0);
}

static void rfc5382_2_half_close_lets_data_flow_the_other_way(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_establish(fixture, 40000);
	fixture_sent(fixture, describe_tcp(40000, TCP_FIN | TCP_ACK, 1001));
	fixture_pass(fixture, 3600 * SECOND_NS);
	struct description in = reply_to(&out);
	in.tcp_flags = TCP_ACK;
	in.sequence = 7001;
	assert_true(fixture_passes(fixture, in));
	in.tcp_flags = TCP_FIN | TCP_ACK;
	in.sequence = 7017;
	in.payload_bytes = 0;
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, 239 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1); /* TIME_WAIT */
	fixture_pass(fixture, 3 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc5382_2_simultaneous_open_is_established(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_tcp(40000, TCP_SYN, 1000));
	struct description in = reply_segment(&out, TCP_SYN, 7000);
	assert_true(fixture_passes(fixture, in));
	fixture_sent(fixture, describe_tcp(40000, TCP_SYN | TCP_ACK, 1000));
	in.tcp_flags = TCP_SYN | TCP_ACK;
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, 3600 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
}

static void rfc5382_4_an_unsolicited_syn_is_dropped_in_silence(void **state)
{
	struct fixture *fixture = *state;
	struct description in = describe_tcp(443, TCP_SYN, 1);
	in.outside = true;
	in.source = REMOTE;
	in.destination = ACME_IP_1;
	in.destination_port = 5000;
	assert_false(fixture_passes(fixture, in));
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc7857_2_only_a_reset_that_fits_closes(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_establish(fixture, 40000);
	struct description in = reply_segment(&out, TCP_RST, 9999); /* 7001 would fit */
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, 200 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_sent(fixture, describe_tcp(40000, TCP_ACK, 1001)); /* still alive: the long timer holds again */
	fixture_pass(fixture, 3600 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	in.sequence = 9999;
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, 3600 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0); /* doubtful and silent: four minutes since the first such RST */
	fixture_establish(fixture, 40001);
	const struct session *session = &fixture->shard->sessions[0];
	for (uint32_t i = 0; session->state == SESSION_FREE; i++)
		session = &fixture->shard->sessions[i];
	in.destination = session->egress_address;
	in.destination_port = session->egress_port;
	in.sequence = 7001;
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc7857_2_a_forged_reset_does_not_end_at_once_what_was_long_idle(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_establish(fixture, 40000);
	struct description in = reply_segment(&out, TCP_RST, 9999); /* 7001 would fit */
	fixture_pass(fixture, 3600 * SECOND_NS);
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, 230 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	assert_true(fixture_passes(fixture, in)); /* a second one changes nothing */
	fixture_pass(fixture, 12 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void a_reset_that_does_not_fit_never_lengthens_the_time_of_a_state(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_tcp(40000, TCP_SYN, 1000));
	struct description in = reply_segment(&out, TCP_RST, 9999);
	assert_true(fixture_passes(fixture, in));
	fixture_pass(fixture, 32 * SECOND_NS); /* an unanswered SYN has 30 s, not the four minutes after a RST */
	assert_int_equal(fixture_active(fixture), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc5382_5_established_tcp_lives_idle_for_two_hours_four),
		TEST(an_unanswered_syn_ends_after_thirty_seconds),
		TEST(rfc5382_2_half_close_lets_data_flow_the_other_way),
		TEST(rfc5382_2_simultaneous_open_is_established),
		TEST(rfc5382_4_an_unsolicited_syn_is_dropped_in_silence),
		TEST(rfc7857_2_only_a_reset_that_fits_closes),
		TEST(rfc7857_2_a_forged_reset_does_not_end_at_once_what_was_long_idle),
		TEST(a_reset_that_does_not_fit_never_lengthens_the_time_of_a_state),
	};
	return cmocka_run_group_tests_name("tcp", tests, NULL, NULL);
}
