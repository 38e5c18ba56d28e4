/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field table: every key of the configuration, once: its type, range, default, place in the model and sentence.
 *
 * The table drives the parser (control/model_parse.c), the printer (control/model_print.c), the comparison
 * (control/plan.c), docs/configuration.md (control/fields_docs.c) and the manual page (control/fields_man.c): to add a
 * key, add it to the file of its section, which control/fields_table.h names. Rules across fields are in
 * control/model_check.c. Read-only; any thread.
 */
#ifndef POSTERN_CONTROL_FIELDS_H
#define POSTERN_CONTROL_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum field_type {
	FIELD_MAP, /* a section of its own */
	FIELD_INTEGER,
	FIELD_COUNT,	/* Ki, Mi */
	FIELD_DURATION, /* stored in seconds */
	FIELD_RATE,	/* stored in bytes per second */
	FIELD_BOOL,	/* a bit of a uint32_t */
	FIELD_CHOICE,	/* the index of the word in `choices`; with `bit`, 0 or 1 in that bit of a uint32_t */
	FIELD_ID,
	FIELD_INTERFACE,
	FIELD_DEVICE, /* DPDK device arguments */
	FIELD_IPV4,
	FIELD_CIDR, /* uint32_t address, then uint8_t length */
	FIELD_MAC,
	FIELD_LISTEN, /* char [64]; the port, a uint16_t, at `second_offset` */
	FIELD_PROTOCOL,
	FIELD_DSCP,	  /* uint8_t; MODEL_DSCP_KEEP for the word keep */
	FIELD_PORTS,	  /* two uint16_t */
	FIELD_PATTERN,	  /* of file names; struct model_include */
	FIELD_INTERFACES, /* interface names, "veth-w*" */
	FIELD_PATH,	  /* absolute; char [MODEL_PATH_SIZE_BYTES] */
	FIELD_TEXT,	  /* char [MODEL_TEXT_SIZE_BYTES] */
	FIELD_SAN,	  /* "dns:ops.example"; the same */
	FIELD_ROLE,	  /* struct model_role */
	FIELD_ENDPOINT, /* of another posternd's API, "unix:/path" or "https://192.0.2.1:9465"; char [MODEL_PATH_SIZE_BYTES] */
	FIELD_TABLE, /* of the kernel's routes; uint32_t, 0: none */
};

#define FIELD_NOWHERE UINT32_MAX

enum { FIELD_WHY_SIZE_BYTES = 320, FIELD_TEXT_SIZE_BYTES = 300, FIELD_COUNT_PER_SECTION_MAX = 32 };

struct field {
	const char *key;
	const char *doc; /* one sentence */
	/* NULL: the key is required. "": nothing (a list is empty, a map is absent, a value is not there). */
	const char *default_text;
	const char *const *choices;	     /* NULL-terminated */
	const struct field_section *section; /* FIELD_MAP */
	const char *word;	/* FIELD_MAP: may stand in its place, and sets the bool at `second_offset` */
	const char *advised_by; /* why less than advised_min earns a warning */
	uint64_t min, max;	/* of the value; of a list, the number of its elements */
	uint64_t advised_min;
	uint32_t multiple_of;	 /* FIELD_INTEGER; 0: any */
	uint32_t offset;	 /* in the section's record; of a list, its pointer */
	uint32_t count_offset;	 /* list: its size_t. FIELD_NOWHERE: the one element lies at `offset` itself */
	uint32_t present_offset; /* a bool that tells whether the key was there; FIELD_NOWHERE: none */
	uint32_t second_offset;
	uint32_t bit;
	enum field_type type;
	uint8_t size_bytes; /* integers: of their place */
	bool list;
	bool objects;	    /* list: its elements have identities of their own, which control/plan.c follows */
	bool needs_restart; /* postern-dataplane takes a change only at its start */
	bool input_only;    /* says how the model is read and is no part of it: neither printed nor compared */
};

struct field_section {
	const char *path; /* "workspaces[].vpcs[]"; "" for the file itself */
	const char *doc;
	const struct field *fields;
	uint32_t field_count;
	uint32_t record_size_bytes; /* of a list element */
	uint32_t source_offset;	    /* of a struct model_source; FIELD_NOWHERE: none */
};

/* The whole file; its record is struct model. */
extern const struct field_section fields_file;

const struct field *fields_find(const struct field_section *section, const char *key);

/* The key that was meant, at most two letters away; NULL: none is so near. */
const struct field *fields_find_nearest(const struct field_section *section, const char *key);

/*
 * Reads one value (for a list, one element) into `place`. False: `ret_why` is "must be …", and `place` untouched.
 * `quoted`: it stood in quotes.
 */
bool field_parse(
	const struct field *field, const char *text, bool quoted, void *place, char ret_why[FIELD_WHY_SIZE_BYTES]);

/* The value at `place` as YAML text that field_parse() takes. */
void field_format(const struct field *field, const void *place, char ret_text[FIELD_TEXT_SIZE_BYTES]);

/*
 * The defaults of all values into a zeroed record; sections that may be absent as a whole stay absent.
 */
void fields_fill_defaults(const struct field_section *section, void *record);
/* The same for one key. */
void field_fill_default(const struct field *field, void *record);

/* Is each value of it a whole number in memory: a count, a duration, a rate, a choice …? */
bool field_is_number(const struct field *field);
/* That number; 0 for other types. */
uint64_t field_number(const struct field *field, const void *place);

/* Bytes of one element of a list. */
size_t field_element_size(const struct field *field);

/* A list's elements; a value counts as a list of one. A value that is not there (default "") as none. */
size_t field_elements(const struct field *field, const void *record, const void **ret_first);

/*
 * Whether the key has to be written out: a required list also when it is empty, and a list whose mere presence counts.
 */
bool field_is_printed(const struct field *field, const void *record);

/* "must be …", for messages and documentation. */
void field_allowed_text(const struct field *field, char ret_text[FIELD_WHY_SIZE_BYTES]);

/* docs/configuration.md, whole. */
void fields_print_markdown(FILE *out);

/* docs/man/postern.yaml.5, whole. */
void fields_print_man(FILE *out);

#endif
