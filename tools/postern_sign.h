/* SPDX-License-Identifier: Apache-2.0 */
/* `postern config sign` and `postern config verify`: no posternd is asked. Thread: any. */
#ifndef POSTERN_TOOLS_POSTERN_SIGN_H
#define POSTERN_TOOLS_POSTERN_SIGN_H

/* Each returns the exit code, and has printed what there is to say. */
int sign_files(const char *key_path, char *const files[], int file_count);
int verify_files(const char *key_path, char *const files[], int file_count);

#endif
