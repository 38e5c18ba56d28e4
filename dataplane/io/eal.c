/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/eal.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>

#define HUGEPAGES_DIR "/sys/kernel/mm/hugepages"

/* Of normal pages, without huge ones. Only what is used is taken from the system. */
#define NO_HUGE_MIB "512"

enum {
	/* Less than this does not hold the packet buffers of one shard and what drivers need beside them. */
	HUGEPAGES_MIN_MIB = 192,
	EAL_ADDED_COUNT_MAX = 16,
};

/* Free huge pages of all sizes together. */
static uint64_t hugepages_free_mib(void)
{
	DIR *dir = opendir(HUGEPAGES_DIR);
	struct dirent *entry;
	uint64_t total_kib = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		char path[sizeof(HUGEPAGES_DIR) + sizeof(entry->d_name) + sizeof("/free_hugepages")];
		unsigned long size_kib, count = 0;
		FILE *file;

		if (sscanf(entry->d_name, "hugepages-%lukB", &size_kib) != 1)
			continue;
		snprintf(path, sizeof(path), HUGEPAGES_DIR "/%s/free_hugepages", entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%lu", &count) != 1)
			count = 0;
		fclose(file);
		total_kib += size_kib * count;
	}
	closedir(dir);
	return total_kib / 1024;
}

/* The first CPU of the process's affinity for the control thread, the last for the shard; maybe the same. */
static void lcores_default(char *ret_text, size_t size_bytes)
{
	cpu_set_t cpus;
	int first = 0, last = 0;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0) {
		while (first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &cpus))
			first++;
		last = CPU_SETSIZE - 1;
		while (last > first && !CPU_ISSET(last, &cpus))
			last--;
	}
	snprintf(ret_text, size_bytes, "--lcores=0@%d,1@%d", first, last);
}

static bool has_any(const struct options *options, const char *const names[])
{
	for (size_t i = 0; names[i] != NULL; i++) {
		if (options_eal_has(options, names[i]))
			return true;
	}
	return false;
}

struct arguments {
	char *values[OPTIONS_EAL_COUNT_MAX + EAL_ADDED_COUNT_MAX];
	int count;
};

/* EAL takes `char *` and permutes the array, but leaves the strings alone. */
static void arguments_add(struct arguments *arguments, const char *value)
{
	arguments->values[arguments->count++] = (char *)(uintptr_t)value;
}

static void arguments_add_memory(struct arguments *arguments, const struct options *options, char *ret_warning)
{
	static const char *const memory_names[] = {"--no-huge", "--in-memory", "--huge-dir", "--single-file-segments",
		"--socket-mem", "--legacy-mem", "-m", NULL};

	if (has_any(options, memory_names))
		return;
	if (hugepages_free_mib() >= HUGEPAGES_MIN_MIB) {
		arguments_add(arguments, "--in-memory");
		return;
	}
	arguments_add(arguments, "--no-huge");
	arguments_add(arguments, "-m");
	arguments_add(arguments, NO_HUGE_MIB);
	snprintf(ret_warning, NAT_TEXT_SIZE_BYTES,
		"no hugepages: using normal pages, which is slower; set vm.nr_hugepages=%d to change that",
		HUGEPAGES_MIN_MIB / 2);
}

enum eal_result eal_start(const struct options *options, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	static const char *const lcore_names[] = {"-l", "-c", "-S", "-s", "--lcores", NULL};
	static const char *const pci_names[] = {"-a", "-b", "--allow", "--block", "--no-pci", NULL};
	struct arguments arguments = {};
	char lcores[64], warning[NAT_TEXT_SIZE_BYTES] = "";
	int parsed;

	arguments_add(&arguments, "postern-dataplane");
	for (uint32_t i = 0; i < options->eal_count; i++)
		arguments_add(&arguments, options->eal_arguments[i]);
	if (!has_any(options, lcore_names)) {
		lcores_default(lcores, sizeof(lcores));
		arguments_add(&arguments, lcores);
	}
	arguments_add_memory(&arguments, options, warning);
	/* Only devices that are named are touched: this names the host bridge, for which there is no driver. Else DPDK
	 * would try every PCI device that it knows at the start, also the one that carries the host's own traffic. */
	if (!has_any(options, pci_names))
		arguments_add(&arguments, "--allow=0000:00:00.0");
	if (!options_eal_has(options, "--telemetry"))
		arguments_add(&arguments, "--no-telemetry");
	arguments_add(&arguments, "--no-shconf");
	if (!options_eal_has(options, "--file-prefix"))
		arguments_add(&arguments, "--file-prefix=postern");
	if (!options_eal_has(options, "--iova-mode"))
		arguments_add(&arguments, "--iova-mode=va");
	if (!options_eal_has(options, "--log-level"))
		arguments_add(&arguments, "--log-level=error");

	/* EAL makes a directory for itself even without shared configuration: then in the run directory, where it is
	 * the same at each start. */
	if (setenv("RUNTIME_DIRECTORY", options->run_dir, 1) != 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "out of memory");
		return EAL_FAILED;
	}
	parsed = rte_eal_init(arguments.count, arguments.values);
	if (parsed < 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"DPDK does not start (%s): see its own lines above, or add "
			"--log-level=info",
			rte_strerror(rte_errno));
		return rte_errno == EINVAL ? EAL_USAGE : EAL_FAILED;
	}
	if (parsed != arguments.count - 1) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "an argument is no option: see --help");
		return EAL_USAGE;
	}
	memcpy(ret_text, warning, sizeof(warning));
	return EAL_OK;
}
