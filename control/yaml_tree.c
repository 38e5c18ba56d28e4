/* SPDX-License-Identifier: Apache-2.0 */
#include "control/yaml_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

/* ---- reading ---- */

static const char *file_kind_text(mode_t mode)
{
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISFIFO(mode))
		return "a FIFO";
	if (S_ISSOCK(mode))
		return "a socket";
	return "a device";
}

/* Reads to the end, or one byte past the limit for a file that grew after fstat(). -1: errno. */
static ssize_t read_up_to(int fd, char *bytes, size_t size_bytes)
{
	size_t used_bytes = 0;

	while (used_bytes < size_bytes) {
		ssize_t got_bytes = read(fd, bytes + used_bytes, size_bytes - used_bytes);

		if (got_bytes < 0 && errno == EINTR)
			continue;
		if (got_bytes < 0)
			return -1;
		if (got_bytes == 0)
			break;
		used_bytes += (size_t)got_bytes;
	}
	return (ssize_t)used_bytes;
}

static enum status refuse_size(const char *path, size_t size_max_bytes, struct problems *problems)
{
	const size_t unit_bytes = size_max_bytes % (1024 * 1024) == 0 ? 1024 * 1024 : 1024;

	problems_add(problems, "%s: the file is larger than %zu %s: it may have at most that%s", path,
		size_max_bytes / unit_bytes, unit_bytes == 1024 ? "KiB" : "MiB",
		size_max_bytes == YAML_FILE_SIZE_MAX_BYTES
			? ": spread it over several files (include), or allow more (--max-file-size)"
			: "");
	return STATUS_INVALID;
}

static enum status read_open_file(int fd, const char *path, size_t size_max_bytes, char **ret_bytes,
	size_t *ret_size_bytes, struct stat *ret_about, struct problems *problems)
{
	struct stat about;
	char *bytes;
	ssize_t used_bytes;

	if (fstat(fd, &about) != 0) {
		problems_add(problems, "%s: can not be read: %s", path, strerror(errno));
		return STATUS_SYSTEM;
	}
	if (!S_ISREG(about.st_mode)) {
		problems_add(problems, "%s: is %s: must be a regular file", path, file_kind_text(about.st_mode));
		return STATUS_INVALID;
	}
	if ((uint64_t)about.st_size > size_max_bytes)
		return refuse_size(path, size_max_bytes, problems);
	bytes = malloc((size_t)about.st_size + 1);
	if (!bytes)
		return STATUS_NO_MEMORY;
	used_bytes = read_up_to(fd, bytes, (size_t)about.st_size + 1);
	if (used_bytes < 0) {
		problems_add(problems, "%s: can not be read: %s", path, strerror(errno));
		free(bytes);
		return STATUS_SYSTEM;
	}
	if (used_bytes > about.st_size) {
		problems_add(problems, "%s: grew while it was read: write a new file and rename it into place", path);
		free(bytes);
		return STATUS_INVALID;
	}
	*ret_bytes = bytes;
	*ret_size_bytes = (size_t)used_bytes;
	*ret_about = about;
	return STATUS_OK;
}

enum status yaml_tree_read_file_about(const char *path, size_t size_max_bytes, char **ret_bytes, size_t *ret_size_bytes,
	struct stat *ret_about, struct problems *problems)
{
	/* O_NONBLOCK: opening a FIFO without a writer must not hang the daemon. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum status status;

	if (fd < 0) {
		problems_add(problems, "%s: can not be opened: %s%s", path, strerror(errno),
			errno == EACCES
				? ": its mode and owner, and those of its directories, must let posternd's user "
				  "read it, root too"
				: "");
		return STATUS_SYSTEM;
	}
	status = read_open_file(fd, path, size_max_bytes, ret_bytes, ret_size_bytes, ret_about, problems);
	close(fd);
	return status;
}

enum status yaml_tree_read_file(
	const char *path, size_t size_max_bytes, char **ret_bytes, size_t *ret_size_bytes, struct problems *problems)
{
	struct stat about;

	return yaml_tree_read_file_about(path, size_max_bytes, ret_bytes, ret_size_bytes, &about, problems);
}

/* ---- bytes ---- */

/* Length of the well-formed UTF-8 character at `bytes` (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t utf8_length(const unsigned char *bytes, size_t left_bytes)
{
	unsigned char first = bytes[0];
	size_t length = first < 0x80   ? 1
			: first < 0xc2 ? 0
			: first < 0xe0 ? 2
			: first < 0xf0 ? 3
			: first < 0xf5 ? 4
				       : 0;

	if (length == 0 || length > left_bytes)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((first == 0xe0 && bytes[1] < 0xa0) || (first == 0xed && bytes[1] > 0x9f) ||
		(first == 0xf0 && bytes[1] < 0x90) || (first == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return length;
}

static bool check_bytes(const char *file, const char *bytes, size_t size_bytes, struct problems *problems)
{
	unsigned line = 1;

	for (size_t i = 0; i < size_bytes;) {
		size_t length = utf8_length((const unsigned char *)bytes + i, size_bytes - i);

		if (bytes[i] == '\0') {
			problems_add(problems, "%s:%u: a NUL byte: the file must be text", file, line);
			return false;
		}
		if (length == 0) {
			problems_add(problems, "%s:%u: byte 0x%02x is not valid UTF-8: save the file as UTF-8", file,
				line, (unsigned char)bytes[i]);
			return false;
		}
		if (bytes[i] == '\n')
			line++;
		i += length;
	}
	return true;
}

/* Is a tab in the indentation of that line (from 0)? The usual reason why YAML does not parse. */
static bool line_is_indented_by_tab(const char *bytes, size_t size_bytes, size_t line)
{
	size_t at = 0;

	for (; line > 0 && at < size_bytes; at++) {
		if (bytes[at] == '\n')
			line--;
	}
	for (; at < size_bytes && (bytes[at] == ' ' || bytes[at] == '\t'); at++) {
		if (bytes[at] == '\t')
			return true;
	}
	return false;
}

/* ---- events → tree ---- */

struct builder {
	struct yaml_tree *tree;
	struct problems *problems;
	const char *bytes;
	size_t size_bytes;
	struct yaml_node *open[YAML_DEPTH_MAX]; /* the mappings and lists around the next event */
	unsigned depth;
	const char *key; /* a mapping's key that waits for its value */
	uint32_t key_line;
	bool document_seen, finished;
	enum status status;
};

static void fail(struct builder *builder, const yaml_mark_t *mark, const char *why)
{
	problems_add(builder->problems, "%s:%zu: %s", builder->tree->file, mark->line + 1, why);
	builder->status = STATUS_INVALID;
}

static void report(struct builder *builder, const struct yaml_node *node, const char *why)
{
	char path[YAML_PATH_SIZE_BYTES];

	yaml_node_path(node, path);
	problems_add(builder->problems, "%s:%u: %s%s%s", builder->tree->file, node->key ? node->key_line : node->line,
		path, *path ? ": " : "", why);
}

static void report_duplicate(struct builder *builder, struct yaml_node *node, const struct yaml_node *first)
{
	char path[YAML_PATH_SIZE_BYTES];

	problems_add(builder->problems, "%s:%u: %s: duplicate key: it stands on line %u already", builder->tree->file,
		node->key_line, yaml_node_path(node, path), first->key_line);
	node->refused = true;
}

static struct yaml_node *append_node(struct builder *builder, enum yaml_kind kind, const yaml_mark_t *mark)
{
	struct yaml_node *parent = builder->depth ? builder->open[builder->depth - 1] : NULL;
	const struct yaml_node *same;
	struct yaml_node *node;

	if (builder->tree->node_count == YAML_NODE_COUNT_MAX) {
		fail(builder, mark, "more than 3,000,000 values: a configuration may have at most that many");
		return NULL;
	}
	node = arena_allocate(&builder->tree->arena, sizeof(*node));
	if (!node) {
		builder->status = STATUS_NO_MEMORY;
		return NULL;
	}
	builder->tree->node_count++;
	node->tree = builder->tree;
	node->kind = kind;
	node->line = (uint32_t)mark->line + 1;
	node->column = (uint32_t)mark->column + 1;
	node->parent = parent;
	node->key = builder->key;
	node->key_line = builder->key_line;
	builder->key = NULL;
	if (!parent) {
		builder->tree->root = node;
		return node;
	}
	node->index = parent->child_count++;
	same = node->key ? yaml_node_child(parent, node->key) : NULL;
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	if (same)
		report_duplicate(builder, node, same);
	return node;
}

static bool expects_key(const struct builder *builder)
{
	return builder->depth && builder->open[builder->depth - 1]->kind == YAML_MAPPING && !builder->key;
}

static void refuse_decoration(
	struct builder *builder, struct yaml_node *node, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		report(builder, node, "has an anchor (&): anchors and aliases are not accepted, write the value out");
	if (tag)
		report(builder, node, "has a tag (!): tags are not accepted, remove it");
}

static void take_key(struct builder *builder, const yaml_event_t *event)
{
	const struct yaml_node *mapping = builder->open[builder->depth - 1];
	const char *text = (const char *)event->data.scalar.value;
	size_t length_bytes = event->data.scalar.length;

	if (event->data.scalar.anchor || event->data.scalar.tag) {
		fail(builder, &event->start_mark, "a key with an anchor or a tag: keys must be plain words");
	} else if (length_bytes == 0 || length_bytes > YAML_SCALAR_SIZE_MAX_BYTES || strlen(text) != length_bytes) {
		fail(builder, &event->start_mark,
			"a key that is empty, too long or not text: keys must be plain words");
	} else if (mapping->child_count == YAML_MAPPING_KEY_COUNT_MAX) {
		fail(builder, &event->start_mark,
			"more than 64 keys in one mapping: no part of a configuration has so many");
	} else {
		builder->key = arena_copy_text(&builder->tree->arena, text, length_bytes);
		builder->key_line = (uint32_t)event->start_mark.line + 1;
		if (!builder->key)
			builder->status = STATUS_NO_MEMORY;
	}
}

static void take_scalar(struct builder *builder, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length_bytes = event->data.scalar.length;
	struct yaml_node *node;

	if (expects_key(builder)) {
		take_key(builder, event);
		return;
	}
	node = append_node(builder, YAML_SCALAR, &event->start_mark);
	if (!node)
		return;
	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	refuse_decoration(builder, node, event->data.scalar.anchor, event->data.scalar.tag);
	if (length_bytes > YAML_SCALAR_SIZE_MAX_BYTES || strlen(text) != length_bytes) {
		report(builder, node, "is longer than 1024 bytes, or has a NUL in it: no value is like that");
		node->refused = true;
		length_bytes = 0;
	}
	node->text = arena_copy_text(&builder->tree->arena, text, length_bytes);
	if (!node->text)
		builder->status = STATUS_NO_MEMORY;
}

static void take_alias(struct builder *builder, const yaml_event_t *event)
{
	struct yaml_node *node;

	if (expects_key(builder)) {
		fail(builder, &event->start_mark, "an alias (*) as a key: keys must be plain words");
		return;
	}
	node = append_node(builder, YAML_SCALAR, &event->start_mark);
	if (!node)
		return;
	report(builder, node, "is an alias (*): anchors and aliases are not accepted, write the value out");
	node->refused = true;
	node->text = "";
}

static void open_collection(struct builder *builder, enum yaml_kind kind, const yaml_event_t *event)
{
	bool mapping = kind == YAML_MAPPING;
	struct yaml_node *node;

	if (expects_key(builder)) {
		fail(builder, &event->start_mark, "a list or mapping as a key: keys must be plain words");
		return;
	}
	if (builder->depth == YAML_DEPTH_MAX) {
		fail(builder, &event->start_mark, "nested deeper than 16 levels: no part of a configuration is");
		return;
	}
	node = append_node(builder, kind, &event->start_mark);
	if (!node)
		return;
	refuse_decoration(builder, node, mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor,
		mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag);
	builder->open[builder->depth++] = node;
}

static void take_event(struct builder *builder, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_STREAM_END_EVENT:
		builder->finished = true;
		break;
	case YAML_DOCUMENT_START_EVENT:
		if (builder->document_seen)
			fail(builder, &event->start_mark,
				"a second document begins here (---): the file must be one document");
		builder->document_seen = true;
		break;
	case YAML_SCALAR_EVENT:
		take_scalar(builder, event);
		break;
	case YAML_ALIAS_EVENT:
		take_alias(builder, event);
		break;
	case YAML_SEQUENCE_START_EVENT:
		open_collection(builder, YAML_SEQUENCE, event);
		break;
	case YAML_MAPPING_START_EVENT:
		open_collection(builder, YAML_MAPPING, event);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		builder->depth--;
		break;
	default:
		break;
	}
}

static void report_syntax(struct builder *builder, const yaml_parser_t *parser)
{
	/* The reader's errors carry no mark, and memory errors neither. */
	size_t line = parser->problem_mark.line;
	const char *hint = "";

	if (parser->error == YAML_MEMORY_ERROR) {
		builder->status = STATUS_NO_MEMORY;
		return;
	}
	if (parser->error == YAML_READER_ERROR)
		line = parser->mark.line;
	if (line_is_indented_by_tab(builder->bytes, builder->size_bytes, line))
		hint = ": indent with spaces, not with tabs";
	problems_add(builder->problems, "%s:%zu: not valid YAML: %s (column %zu)%s", builder->tree->file, line + 1,
		parser->problem ? parser->problem : "unreadable", parser->problem_mark.column + 1, hint);
	builder->status = STATUS_INVALID;
}

static void build_tree(struct builder *builder)
{
	yaml_parser_t parser;
	yaml_event_t event;

	if (!yaml_parser_initialize(&parser)) {
		builder->status = STATUS_NO_MEMORY;
		return;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)builder->bytes, builder->size_bytes);
	while (builder->status == STATUS_OK && !builder->finished) {
		if (!yaml_parser_parse(&parser, &event)) {
			report_syntax(builder, &parser);
			break;
		}
		take_event(builder, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
}

enum status yaml_tree_parse(
	const char *file, const char *bytes, size_t size_bytes, struct yaml_tree **ret_tree, struct problems *problems)
{
	struct builder builder = {.problems = problems, .bytes = bytes, .size_bytes = size_bytes};

	if (size_bytes > YAML_TOTAL_SIZE_MAX_BYTES)
		return refuse_size(file, YAML_TOTAL_SIZE_MAX_BYTES, problems);
	if (!check_bytes(file, bytes, size_bytes, problems))
		return STATUS_INVALID;
	builder.tree = calloc(1, sizeof(*builder.tree));
	if (!builder.tree)
		return STATUS_NO_MEMORY;
	builder.tree->file = arena_copy_text(&builder.tree->arena, file, strlen(file));
	if (!builder.tree->file) {
		yaml_tree_free(builder.tree);
		return STATUS_NO_MEMORY;
	}
	build_tree(&builder);
	if (builder.status == STATUS_OK && !builder.tree->root) {
		problems_add(problems,
			"%s:1: the file is empty: it must begin with version: 1 (configs/smallest.yaml shows more)",
			file);
		builder.status = STATUS_INVALID;
	}
	if (builder.status != STATUS_OK) {
		yaml_tree_free(builder.tree);
		return builder.status;
	}
	*ret_tree = builder.tree;
	return STATUS_OK;
}

void yaml_tree_free(struct yaml_tree *tree)
{
	if (!tree)
		return;
	arena_clear(&tree->arena);
	free(tree);
}

struct yaml_node *yaml_tree_append_list(struct yaml_tree *tree, struct yaml_node *parent, const char *key)
{
	struct yaml_node *node = arena_allocate(&tree->arena, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = YAML_SEQUENCE;
	node->tree = tree;
	node->line = node->key_line = parent->line;
	node->column = 1;
	node->key = key;
	node->parent = parent;
	node->index = parent->child_count++;
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	return node;
}

/* ---- looking ---- */

const struct yaml_node *yaml_node_child(const struct yaml_node *mapping, const char *key)
{
	for (const struct yaml_node *child = mapping->first; child; child = child->next) {
		if (child->key && strcmp(child->key, key) == 0)
			return child;
	}
	return NULL;
}

const char *yaml_show_text(const char *text, char ret_shown[YAML_SHOWN_SIZE_BYTES])
{
	size_t used = 0;

	for (; *text; text++) {
		if (used + sizeof("\\xff...") > YAML_SHOWN_SIZE_BYTES) {
			memcpy(ret_shown + used, "...", 3);
			used += 3;
			break;
		}
		if (*text >= ' ' && *text <= '~')
			ret_shown[used++] = *text;
		else
			used += (size_t)snprintf(
				ret_shown + used, YAML_SHOWN_SIZE_BYTES - used, "\\x%02x", (unsigned char)*text);
	}
	ret_shown[used] = '\0';
	return ret_shown;
}

const char *yaml_node_path(const struct yaml_node *node, char ret_path[YAML_PATH_SIZE_BYTES])
{
	const struct yaml_node *steps[YAML_DEPTH_MAX + 1];
	char shown[YAML_SHOWN_SIZE_BYTES];
	size_t step_count = 0, used = 0;

	for (; node->parent; node = node->parent)
		steps[step_count++] = node;
	ret_path[0] = '\0';
	while (step_count > 0 && used < YAML_PATH_SIZE_BYTES) {
		const struct yaml_node *step = steps[--step_count];
		int length;

		if (step->key)
			length = snprintf(ret_path + used, YAML_PATH_SIZE_BYTES - used, "%s%s", used ? "." : "",
				yaml_show_text(step->key, shown));
		else
			length = snprintf(ret_path + used, YAML_PATH_SIZE_BYTES - used, "[%u]", step->index);
		used += (size_t)length;
	}
	return ret_path;
}
