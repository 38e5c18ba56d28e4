/* SPDX-License-Identifier: Apache-2.0 */
/* What other gateways got wrong, by name: one test each, so that it stays right here. */
#include "tests/nat/fixture.h"

static void regression_a_session_limit_counts_the_workspaces_own_sessions_only(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].limits.sessions = 10;
	fixture_apply(fixture);
	for (uint16_t i = 0; i < 50; i++) {
		struct description of = describe_udp((uint16_t)(2000 + i), REMOTE, 5000);
		of.vni = VNI_GLOBEX;
		fixture_sent(fixture, of);
	}
	for (uint16_t i = 0; i < 11; i++)
		fixture_sent(fixture, describe_udp((uint16_t)(2000 + i), REMOTE, 5000));
	assert_int_equal(fixture_drops(fixture, DROP_LIMIT_SESSIONS), 1);
	assert_int_equal(fixture_active(fixture), 60);
}

static void regression_no_session_is_refused_while_a_second_ip_has_ports(void **state)
{
	struct fixture *fixture = *state;
	unsigned used[2] = {0, 0};
	for (unsigned i = 0; i < 2; i++) {
		fixture->draft.egress_ips[i].port_first = 1024;
		fixture->draft.egress_ips[i].port_last = 1535;
	}
	fixture_apply(fixture);
	for (uint16_t i = 0; i < 1024; i++) /* one worker */
		used[fixture_sent(fixture, describe_udp((uint16_t)(2000 + i), REMOTE, 5000)).source == ACME_IP_2]++;
	assert_int_equal(used[0], 512);
	assert_int_equal(used[1], 512);
	assert_int_equal(fixture_drops(fixture, DROP_PORTS_EXHAUSTED), 0);
}

static void regression_no_ip_of_a_workspace_gets_nearly_all_of_its_workers(void **state)
{
	struct fixture *fixture = *state;
	unsigned used[2] = {0, 0};
	for (uint32_t i = 0; i < 1000; i++) {
		struct description of = describe_udp(40000, REMOTE, 5000);
		of.source = IP(10, 0, 1, 0) + i;
		used[fixture_sent(fixture, of).source == ACME_IP_2]++;
	}
	assert_in_range(used[0], 400, 600);
}

static void regression_a_workspace_without_an_ip_uses_nobody_elses(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft *draft = &fixture->draft;
	draft->workspaces[0].egress_count = 0;
	draft->workspaces[1].egress_first = 0;
	draft->workspaces[1].flags |= POLICY_WORKSPACE_SHARED_POOL;
	draft->egress_ips[0] = (struct policy_egress_ip){
		.address = IP(203, 0, 113, 200), .workspace_index = 1, .port_first = 1024, .port_last = 2047};
	draft->counts[POLICY_EGRESS_IPS] = 1;
	fixture_apply(fixture);
	assert_true(fixture_sent(fixture, describe_udp(40000, REMOTE, 5000)).tunnelled); /* told so */
	assert_int_equal(fixture_drops(fixture, DROP_NO_EGRESS_IP), 1);
	assert_int_equal(fixture_active(fixture), 0);
}

static void regression_vpcs_that_share_a_subnet_keep_apart(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t vnis[] = {VNI_ACME, VNI_GLOBEX, 7003}; /* the third is acme's, too */
	fixture->draft.vpcs[2] = fixture->draft.vpcs[0];
	fixture->draft.vpcs[2].id[0] = 'M';
	fixture->draft.vpcs[2].vni = 7003;
	fixture->draft.counts[POLICY_VPCS] = 3;
	fixture_apply(fixture);
	struct seen out[3];
	for (unsigned i = 0; i < 3; i++) {
		struct description of = describe_udp(40000, REMOTE, 5000);
		of.vni = vnis[i];
		out[i] = fixture_sent(fixture, of);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(fixture_sent(fixture, reply_to(&out[i])).vni, vnis[i]);
}

static void quote(struct frame *frame, const struct description *about)
{
	const struct description outer = {.outside = true,
		.source = IP(198, 51, 100, 77),
		.destination = about->source,
		.icmp_type = ICMP_UNREACHABLE,
		.icmp_code = 1};
	frame_build_icmp_error(frame, &outer, about, 0);
}

static void regression_an_error_that_quotes_an_echo_has_the_right_inner_checksum(void **state)
{
	struct fixture *fixture = *state;
	for (uint16_t identifier = 1; identifier < 200; identifier++) {
		struct description of = describe_udp(identifier, REMOTE, 0);
		of.protocol = PROTOCOL_ICMP;
		of.icmp_type = ICMP_ECHO_REQUEST;
		const struct seen out = fixture_sent(fixture, of);
		of.source = out.source;
		of.source_port = out.source_port;
		struct frame frame;
		quote(&frame, &of);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen in = frame_read(&frame);
		const uint8_t *quoted = in.l4 + ICMP_HEADER_BYTES + IPV4_HEADER_BYTES;
		assert_true(in.checksums_right);
		assert_int_equal(load_be16(quoted + ICMP_ID_OFFSET), identifier);
		assert_int_equal(checksum_of(quoted, (uint32_t)ICMP_HEADER_BYTES + of.payload_bytes), 0);
	}
}

static void regression_an_error_that_quotes_gre_or_ip_in_ip_does_no_harm(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t protocols[] = {47, 4, 41, 50};
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	for (unsigned other = 0; other < 2; other++) { /* denied, then allowed, without such a session */
		for (unsigned i = 0; i < sizeof(protocols); i++) {
			for (uint16_t payload = 0; payload < 32; payload++) {
				struct description about = describe_udp(40000, REMOTE, 5000);
				about.source = out.source;
				about.protocol = protocols[i];
				about.payload_bytes = payload;
				struct frame frame;
				quote(&frame, &about);
				assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
			}
		}
		fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_OTHER;
		fixture_apply(fixture);
	}
	assert_int_equal(fixture_drops(fixture, DROP_ICMP_NO_SESSION), 2 * sizeof(protocols) * 32);
	assert_true(fixture_passes(fixture, reply_to(&out)));
	assert_int_equal(fixture_active(fixture), 1);
}

static void regression_an_unmatched_inbound_packet_refreshes_no_mapping(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_INBOUND_REFRESH; /* not even then */
	fixture_apply(fixture);
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	struct description stranger = reply_to(&out);
	stranger.source = REMOTE_2;
	for (unsigned i = 0; i < 30; i++) {
		fixture_pass(fixture, 10 * SECOND_NS);
		fixture_expect_drop(fixture, &stranger, DROP_NO_SESSION);
	}
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void regression_a_reused_name_gets_no_rule_of_the_one_before(void **state)
{
	struct fixture *fixture = *state;
	struct policy_workspace *acme = &fixture->draft.workspaces[0];
	fixture->draft.rules[0] = (struct policy_rule){.prefix_length_bits = 0, .port_last = UINT16_MAX};
	acme->rule_count = fixture->draft.counts[POLICY_RULES] = 1;
	acme->flags |= POLICY_WORKSPACE_ALLOW_PRIVATE;
	fixture_apply(fixture);
	fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	assert_int_equal(fixture_drops(fixture, DROP_DENIED_POLICY), 1);
	acme->incarnation++;
	acme->rule_count = fixture->draft.counts[POLICY_RULES] = 0;
	acme->flags &= ~(uint32_t)POLICY_WORKSPACE_ALLOW_PRIVATE;
	fixture_apply(fixture);
	assert_false(fixture_sent(fixture, describe_udp(40000, REMOTE, 5000)).tunnelled);
	fixture_sent(fixture, describe_udp(40000, IP(10, 9, 9, 9), 5000));
	assert_int_equal(fixture_drops(fixture, DROP_DENIED_DESTINATION), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(regression_a_session_limit_counts_the_workspaces_own_sessions_only),
		TEST(regression_no_session_is_refused_while_a_second_ip_has_ports),
		TEST(regression_no_ip_of_a_workspace_gets_nearly_all_of_its_workers),
		TEST(regression_a_workspace_without_an_ip_uses_nobody_elses),
		TEST(regression_vpcs_that_share_a_subnet_keep_apart),
		TEST(regression_an_error_that_quotes_an_echo_has_the_right_inner_checksum),
		TEST(regression_an_error_that_quotes_gre_or_ip_in_ip_does_no_harm),
		TEST(regression_an_unmatched_inbound_packet_refreshes_no_mapping),
		TEST(regression_a_reused_name_gets_no_rule_of_the_one_before),
	};
	return cmocka_run_group_tests_name("regressions", tests, NULL, NULL);
}
