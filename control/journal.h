/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal: short text records in a file, appended one by one and read back at start, for state that changes too often
 * to be written whole each time. A line is "CHECKSUM RECORD". What was committed survives a crash; a line that was cut
 * by one is forgotten, since nobody was told that it holds. Any other damage makes the whole file unusable: it is put
 * aside under NAME.bad, and the caller starts with nothing, which is the closed side.
 *
 * Owner: whoever opened it. Thread: posternd's only one. Limits: JOURNAL_RECORD_MAX_BYTES, JOURNAL_FILE_MAX_BYTES.
 */
#ifndef POSTERN_CONTROL_JOURNAL_H
#define POSTERN_CONTROL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "control/status.h"

enum { JOURNAL_RECORD_MAX_BYTES = 1024, JOURNAL_FILE_MAX_BYTES = 256 * 1024 * 1024 };

struct journal;

/* False: the record makes no sense, so the file is not ours or damaged. */
typedef bool journal_record_fn(void *context, const char *record);

/*
 * Reads what is there, oldest first, and opens for appending; mode 0600. A damaged file: `warnings` tells why, nothing
 * of it counts (`record` may have been called before a senseless record was met: then `ret_discard` is true and what was
 * learned must be forgotten), and the journal is empty. STATUS_SYSTEM: there is no journal.
 */
enum status journal_open(const char *directory, const char *name, journal_record_fn *record, void *context,
	struct journal **ret_journal, bool *ret_discard, struct problems *problems, struct problems *warnings);
void journal_close(struct journal *journal);

/* Adds a record, without a newline in it, to what the next commit writes. */
void journal_add(struct journal *journal, const char *record);

/* All that was added since the last commit is on disk; or none of it counts, and the file is as before. */
enum status journal_commit(struct journal *journal, struct problems *problems);

/*
 * A commit failed, and nothing has made up for it: whoever has not taken back what it added must write everything anew
 * (journal_rewrite()), or the file will tell another story after the next start.
 */
bool journal_is_behind(const struct journal *journal);

/* Records in the file, superseded ones too: when it has grown to a multiple of what lives, rewrite it. */
size_t journal_record_count(const struct journal *journal);

/* From here on journal_add() fills a new file, which the next commit puts in the old one's place. */
void journal_rewrite(struct journal *journal);

#endif
