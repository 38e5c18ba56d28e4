/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_client.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/api.h"
#include "control/status.h"

enum { READ_SIZE_BYTES = 64 * 1024, REQUEST_SIZE_BYTES = 2048 };

static int client_connect(const char *run_dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", run_dir, API_SOCKET_NAME);
	const char *advice;
	int fd;

	if (length >= (int)sizeof(address.sun_path)) {
		fprintf(stderr, "postern: --run-dir: the path is too long\n");
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	advice = errno == EACCES ? "run postern as root or as a member of the socket's group"
				 : "start posternd, or name its --run-dir";
	fprintf(stderr, "postern: posternd can not be reached at %s: %s: %s\n", address.sun_path, strerror(errno),
		advice);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, const char *bytes, size_t length_bytes)
{
	while (length_bytes > 0) {
		ssize_t sent = send(fd, bytes, length_bytes, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		length_bytes -= (size_t)sent;
	}
	return true;
}

static bool client_send(int fd, const char *method, const char *path, const char *body)
{
	size_t body_bytes = body != NULL ? strlen(body) : 0;
	char request[REQUEST_SIZE_BYTES];
	int length =
		snprintf(request, sizeof(request), "%s %s HTTP/1.0\r\nHost: posternd\r\n%sContent-Length: %zu\r\n\r\n",
			method, path, body != NULL ? "Content-Type: application/json\r\n" : "", body_bytes);

	return length < (int)sizeof(request) && send_all(fd, request, (size_t)length) &&
	       (body == NULL || send_all(fd, body, body_bytes));
}

/* Everything up to the end of the stream, terminated; NULL when that fails. */
static char *client_receive(int fd, size_t *ret_length_bytes)
{
	size_t length_bytes = 0, capacity_bytes = 0;
	char *text = NULL;

	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		ssize_t got;

		if (capacity_bytes - length_bytes < READ_SIZE_BYTES + 1) {
			char *grown;

			capacity_bytes = capacity_bytes * 2 + READ_SIZE_BYTES + 1;
			grown = capacity_bytes > CLIENT_ANSWER_MAX_BYTES ? NULL : realloc(text, capacity_bytes);
			if (grown == NULL)
				break;
			text = grown;
		}
		if (poll(&poll_fd, 1, CLIENT_TIMEOUT_MS) <= 0)
			break;
		got = read(fd, text + length_bytes, READ_SIZE_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		if (got == 0) {
			text[length_bytes] = '\0';
			*ret_length_bytes = length_bytes;
			return text;
		}
		length_bytes += (size_t)got;
	}
	free(text);
	return NULL;
}

bool client_ask(const char *run_dir, const char *method, const char *path, struct client_answer *ret_answer)
{
	return client_ask_with_body(run_dir, method, path, NULL, ret_answer);
}

bool client_ask_with_body(const char *run_dir, const char *method, const char *path, const char *body_sent,
	struct client_answer *ret_answer)
{
	int fd = client_connect(run_dir), code;
	size_t length_bytes = 0;
	char *text = NULL;
	const char *body;

	if (fd < 0)
		return false;
	if (client_send(fd, method, path, body_sent))
		text = client_receive(fd, &length_bytes);
	close(fd);
	body = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
	if (body == NULL || sscanf(text, "HTTP/1.%*d %d", &code) != 1) {
		fprintf(stderr, "postern: posternd does not answer: is it stopped, or of another version?\n");
		free(text);
		return false;
	}
	body += 4;
	ret_answer->code = code;
	ret_answer->body_bytes = length_bytes - (size_t)(body - text);
	memmove(text, body, ret_answer->body_bytes + 1);
	ret_answer->body = text;
	return true;
}

int client_failed(const struct client_answer *answer)
{
	json_t *json = json_loads(answer->body, 0, NULL);
	const char *error = json_string_value(json_object_get(json, "error"));

	if (error != NULL)
		fprintf(stderr, "postern: %s\n", error);
	else
		fprintf(stderr, "postern: posternd answered with HTTP status %d: is it of another version?\n",
			answer->code);
	json_decref(json);
	return answer->code == 400 ? EXIT_CODE_USAGE : EXIT_CODE_FAILED;
}

bool client_add_parameter(char *path, size_t size_bytes, const char *name, const char *value)
{
	size_t at = strlen(path);
	int length = snprintf(path + at, size_bytes - at, "%c%s=", strchr(path, '?') == NULL ? '?' : '&', name);

	if (length < 0 || (size_t)length >= size_bytes - at)
		return false;
	at += (size_t)length;
	for (; *value != '\0'; value++) {
		unsigned char c = (unsigned char)*value;

		if (size_bytes - at < 4)
			return false;
		if (isalnum(c) || c == '.' || c == '-' || c == '_')
			path[at++] = (char)c;
		else
			at += (size_t)snprintf(path + at, size_bytes - at, "%%%02X", c);
	}
	path[at] = '\0';
	return true;
}
