/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the core, each alone: checksums, hash, index, adjacency,
 * snapshot checks. */
#include "tests/nat/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "dataplane/nat/limits.h"

enum { SEED = 20240611 };

static uint16_t random16(void)
{
	return (uint16_t)(random() >> 8);
}

/* RFC 1624: incremental updates against the whole sum, 0x0000 and 0xffff
 * included. */
static void incremental_checksums_equal_a_full_recomputation(void **state)
{
	(void)state;
	srandom(SEED);
	print_message("# seed %d\n", SEED);
	const uint16_t corners[] = {0x0000, 0xffff, 0x0001, 0xfffe, 0x8000, 0x7fff};
	for (unsigned round = 0; round < 200000; round++) {
		uint8_t bytes[40];
		for (unsigned i = 0; i < sizeof(bytes); i += 2)
			store_be16(bytes + i, round % 3 == 0 ? corners[random() % 6] : random16());
		if (round % 7 == 0)
			memset(bytes, 0, sizeof(bytes) - 4);
		store_be16(bytes + 10, 0);
		store_be16(bytes + 10, checksum_of(bytes, sizeof(bytes)));
		const uint32_t new_address = round % 3 == 1 ? 0 : (uint32_t)random16() << 16 | random16();
		const uint16_t new_port = round % 5 == 0 ? 0xffff : random16();
		uint32_t delta = checksum_delta32(load_be32(bytes + 12), new_address);
		delta += checksum_delta16(load_be16(bytes + 20), new_port);
		store_be32(bytes + 12, new_address);
		store_be16(bytes + 20, new_port);
		checksum_update(bytes + 10, delta);
		/* Whoever verifies sums everything and expects minus zero. */
		assert_int_equal(checksum_fold(checksum_sum(bytes, sizeof(bytes), 0)), 0xffff);
	}
}

static void the_two_hashes_are_keyed_and_spread(void **state)
{
	(void)state;
	uint8_t key_bytes[32] = {1, 2, 3};
	for (unsigned aes = 0; aes < 2; aes++) {
		struct hash_secret secret, other;
		hash_secret_init(&secret, key_bytes);
		key_bytes[0] ^= 0x80;
		hash_secret_init(&other, key_bytes);
		key_bytes[0] ^= 0x80;
		if (aes && !secret.use_aes)
			break;
		secret.use_aes = other.use_aes = aes;
		unsigned buckets[256] = {0}, same = 0;
		for (uint64_t i = 0; i < 65536; i++) {
			const struct hash_key key = {i, 7};
			const uint64_t hash = hash_one(&secret, key);
			buckets[hash & 255]++;
			same += (hash & 0xffff) == (hash_one(&other, key) & 0xffff);
		}
		for (unsigned i = 0; i < 256; i++)
			assert_in_range(buckets[i], 160, 360);
		assert_true(same < 16);
	}
}

struct keys {
	const uint64_t *of;
	uint64_t wanted;
};

static bool key_is(const void *context, uint32_t entry)
{
	const struct keys *keys = context;
	return keys->of[entry] == keys->wanted;
}

/* Against a plain array, through growth to 80 %, removals and replacements. */
static void the_index_agrees_with_an_array(void **state)
{
	(void)state;
	enum { ENTRIES = 8192, BUCKETS = 1024 };
	struct index index;
	void *memory = aligned_alloc(64, BUCKETS * sizeof(struct index_bucket));
	memset(memory, 0, BUCKETS * sizeof(struct index_bucket));
	index_init(&index, memory, BUCKETS);
	static uint64_t hashes[ENTRIES];
	static bool present[ENTRIES];
	srandom(SEED);
	for (unsigned i = 0; i < ENTRIES; i++)
		hashes[i] = hash_mix(i + 1);
	uint32_t count = 0;
	for (unsigned step = 0; step < 300000; step++) {
		const uint32_t i = (uint32_t)random() % ENTRIES;
		if (!present[i]) {
			assert_true(index_insert(&index, hashes[i], i));
			present[i] = true;
			count++;
		} else if (random() % 3 == 0) {
			index_remove(&index, hashes[i], i);
			present[i] = false;
			count--;
		}
		const uint32_t probe = (uint32_t)random() % ENTRIES;
		const struct keys keys = {hashes, hashes[probe]};
		assert_int_equal(index_find(&index, hashes[probe], key_is, &keys), present[probe] ? probe : INDEX_NONE);
	}
	assert_int_equal(index.count, count);
	for (uint32_t i = 0; i < ENTRIES; i++)
		if (present[i])
			index_remove(&index, hashes[i], i);
	for (unsigned i = 0; i < BUCKETS; i++) {
		assert_int_equal(index.buckets[i].overflow, 0);
		for (unsigned way = 0; way < INDEX_WAYS; way++)
			assert_int_equal(index.buckets[i].tags[way], 0);
	}
	free(memory);
}

/* Keys are random to whoever does not know the secret, so random hashes are the worst that can come. */
static void an_index_takes_all_that_it_is_sized_for_and_much_more(void **state)
{
	(void)state;
	enum { ENTRIES = 1 << 16, CHURN = 1 << 18 };
	const uint32_t buckets = index_bucket_count(ENTRIES);
	struct index_bucket *memory = aligned_alloc(64, buckets * sizeof(struct index_bucket));
	uint64_t *hashes = malloc((size_t)buckets * INDEX_WAYS * sizeof(*hashes));
	assert_int_equal(buckets * INDEX_WAYS * 8, ENTRIES * 10); /* 80 % */
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct index index;
		uint32_t count = 0;
		uint64_t random = seed;
		memset(memory, 0, buckets * sizeof(struct index_bucket));
		index_init(&index, memory, buckets);
		for (; count < ENTRIES; count++) {
			hashes[count] = hash_mix(random += 0x9e3779b97f4a7c15u);
			assert_true(index_insert(&index, hashes[count], count));
		}
		/* Full, and kept so while entries go and come. */
		for (unsigned step = 0; step < CHURN; step++) {
			const uint32_t i = (uint32_t)(hash_mix(random += 0x9e3779b97f4a7c15u) % ENTRIES);
			index_remove(&index, hashes[i], i);
			hashes[i] = hash_mix(random);
			assert_true(index_insert(&index, hashes[i], i));
		}
		/* Where the first one finds no place. */
		for (; count < buckets * INDEX_WAYS; count++) {
			hashes[count] = hash_mix(random += 0x9e3779b97f4a7c15u);
			if (!index_insert(&index, hashes[count], count))
				break;
		}
		assert_int_equal(index.count, count); /* the refused one has left no trace */
		print_message("# seed %u: the first of %u places is refused at %.1f %%\n", seed, buckets * INDEX_WAYS,
			100.0 * count / (buckets * INDEX_WAYS));
		assert_true(count * 100ull >= buckets * INDEX_WAYS * 94ull);
	}
	free(hashes);
	free(memory);
}

static void a_session_takes_at_most_32_bytes_beside_its_record(void **state)
{
	(void)state;
	for (uint32_t count = 1 << 18; count <= 1 << 24; count *= 2) {
		const struct nat_config small = {.shard_count = 1, .sessions_max = count};
		const struct nat_config large = {.shard_count = 1, .sessions_max = 2 * count};
		assert_true(nat_shard_size(&large) - nat_shard_size(&small) <= 32ull * count);
	}
}

static void the_longest_prefix_wins_against_a_linear_search(void **state)
{
	struct fixture *fixture = *state;
	(void)fixture;
	srandom(SEED);
	for (unsigned round = 0; round < 200; round++) {
		enum { ROUTES = 40 };
		struct {
			struct adjacency_snapshot header;
			struct adjacency_next_hop next_hops[ROUTES];
			struct adjacency_route routes[ROUTES];
		} block;
		memset(&block, 0, sizeof(block));
		const uint32_t count = (uint32_t)random() % (ROUTES + 1);
		block.header = (struct adjacency_snapshot){
			.magic = ADJACENCY_MAGIC,
			.version = ADJACENCY_VERSION,
			.size_bytes = sizeof(block),
			.generation = 1,
			.next_hops = {offsetof(__typeof__(block), next_hops), ROUTES,
				sizeof(struct adjacency_next_hop)},
			.routes = {offsetof(__typeof__(block), routes), count, sizeof(struct adjacency_route)},
			.groups = {0, 0, sizeof(struct adjacency_group)},
		};
		for (uint32_t i = 0; i < count; i++) {
			const uint8_t bits = (uint8_t)(random() % 33);
			const uint32_t address = ((uint32_t)random16() << 16 | random16()) & 0x0f00000f;
			block.routes[i] = (struct adjacency_route){
				.address = bits == 0 ? 0 : address & (UINT32_MAX << (32 - bits)),
				.prefix_length_bits = bits,
				.port = (uint8_t)(random() % PORT_COUNT),
				.next_hop_index = random() % 8 == 0 ? ADJACENCY_UNREACHABLE : i,
			};
		}
		char text[NAT_TEXT_SIZE_BYTES];
		assert_true(adjacency_snapshot_check(&block, sizeof(block), text));
		void *memory = aligned_alloc(64, (adjacency_tables_size(&block.header) + 63) & ~(size_t)63);
		const struct adjacency_tables *tables = adjacency_tables_build(memory, &block.header);
		for (unsigned probe = 0; probe < 300; probe++) {
			const uint32_t address = probe < count
							 ? block.routes[probe].address + (uint32_t)(random() % 3) - 1
							 : ((uint32_t)random16() << 16 | random16()) & 0x0f00001f;
			for (unsigned port = 0; port < PORT_COUNT; port++) {
				const struct adjacency_route *best = NULL;
				bool twice = false;
				for (uint32_t i = 0; i < count; i++) {
					const struct adjacency_route *route = &block.routes[i];
					const uint32_t mask = route->prefix_length_bits == 0
								      ? 0
								      : UINT32_MAX << (32 - route->prefix_length_bits);
					if (route->port != port || (address & mask) != route->address)
						continue;
					if (best != NULL && best->prefix_length_bits == route->prefix_length_bits)
						twice = true;
					if (best == NULL || route->prefix_length_bits > best->prefix_length_bits)
						best = route, twice = false;
				}
				if (twice)
					continue; /* which of two equal prefixes stands is not promised */
				const struct adjacency_hop *hop = adjacency_find(tables, port, address, 0);
				if (best == NULL || best->next_hop_index == ADJACENCY_UNREACHABLE)
					assert_null(hop);
				else
					assert_ptr_equal(hop, &tables->next_hops[best->next_hop_index]);
			}
		}
		free(memory);
	}
}

/* P8: whatever comes over the socket is refused with a sentence, or is whole.
 */
static void a_corrupted_snapshot_never_gets_past_the_check_unsafely(void **state)
{
	struct fixture *fixture = *state;
	srandom(SEED);
	size_t size_bytes;
	struct policy_snapshot *good = draft_compile(&fixture->draft, 9, &size_bytes);
	struct identities *identities = calloc(1, identities_size());
	char text[NAT_TEXT_SIZE_BYTES];
	unsigned refused = 0;
	for (size_t length_bytes = 0; length_bytes < size_bytes; length_bytes++)
		assert_false(policy_snapshot_check(good, length_bytes, text));
	for (unsigned round = 0; round < 3000; round++) {
		uint8_t *bad = malloc(size_bytes);
		memcpy(bad, good, size_bytes);
		for (unsigned flips = 1 + (unsigned)random() % 3; flips > 0; flips--)
			bad[(size_t)random() % size_bytes] = (uint8_t)random();
		text[0] = '\0';
		if (!policy_snapshot_check(bad, size_bytes, text)) {
			refused++;
			assert_true(text[0] != '\0');
		} else if (round % 10 == 0) {
			const size_t tables_bytes = policy_tables_size((struct policy_snapshot *)bad);
			void *memory = aligned_alloc(64, (tables_bytes + 63) & ~(size_t)63);
			memset(memory, 0, tables_bytes);
			policy_tables_build(memory, identities, (struct policy_snapshot *)bad, text);
			free(memory);
		}
		free(bad);
	}
	assert_true(refused > 500);
	free(identities);
	free(good);
}

static void duplicates_in_a_snapshot_are_refused_by_name(void **state)
{
	struct fixture *fixture = *state;
	char text[NAT_TEXT_SIZE_BYTES];
	for (unsigned which = 0; which < 2; which++) {
		struct policy_draft draft = fixture->draft;
		if (which == 0)
			draft.vpcs[1].vni = VNI_ACME;
		else
			draft.egress_ips[2].address = ACME_IP_1;
		size_t size_bytes;
		struct policy_snapshot *snapshot = draft_compile(&draft, 9, &size_bytes);
		assert_true(policy_snapshot_check(snapshot, size_bytes, text));
		const size_t tables_bytes = policy_tables_size(snapshot);
		void *memory = aligned_alloc(64, (tables_bytes + 63) & ~(size_t)63);
		memset(memory, 0, tables_bytes);
		const uint32_t sequence = fixture->identities->sequence;
		assert_null(policy_tables_build(memory, fixture->identities, snapshot, text));
		assert_non_null(strstr(text, which == 0 ? "VNI 7001" : "203.0.113.10"));
		assert_int_equal(fixture->identities->sequence, sequence);
		free(memory);
		free(snapshot);
	}
}

static void a_token_bucket_gives_its_rate_and_its_burst(void **state)
{
	(void)state;
	uint64_t bucket = 0, now_ns = 5 * SECOND_NS;
	const uint64_t cost_ns = SECOND_NS / 10;
	unsigned taken = 0;
	for (unsigned i = 0; i < 100; i++)
		taken += limits_take(&bucket, cost_ns, now_ns);
	assert_int_equal(taken, 10);
	for (unsigned i = 0; i < 1000; i++) {
		now_ns += SECOND_NS / 100;
		taken += limits_take(&bucket, cost_ns, now_ns);
	}
	assert_in_range(taken, 109, 111);
	bucket = 0;
	for (unsigned i = 0; i < 100; i++)
		assert_true(limits_take(&bucket, 0, now_ns));
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(incremental_checksums_equal_a_full_recomputation),
		cmocka_unit_test(the_two_hashes_are_keyed_and_spread),
		cmocka_unit_test(the_index_agrees_with_an_array),
		cmocka_unit_test(an_index_takes_all_that_it_is_sized_for_and_much_more),
		cmocka_unit_test(a_session_takes_at_most_32_bytes_beside_its_record),
		cmocka_unit_test_setup_teardown(
			the_longest_prefix_wins_against_a_linear_search, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_corrupted_snapshot_never_gets_past_the_check_unsafely, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			duplicates_in_a_snapshot_are_refused_by_name, fixture_setup, fixture_teardown),
		cmocka_unit_test(a_token_bucket_gives_its_rate_and_its_burst),
	};
	return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
