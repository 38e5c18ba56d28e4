/* SPDX-License-Identifier: Apache-2.0 */
#include "control/config_signature.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/yaml_tree.h"

enum { KEY_FILE_MAX_BYTES = 16 * 1024 };

static bool signature_path(const char *path, char ret_path[PATH_MAX], struct problems *problems)
{
	if (snprintf(ret_path, PATH_MAX, "%s.sig", path) < PATH_MAX)
		return true;
	problems_add(problems, "%s: the path is too long for its signature's", path);
	return false;
}

/* NULL: problems say why. */
static EVP_PKEY *read_key(const char *path, bool private, struct problems *problems)
{
	char no_password[] = "", *bytes;
	size_t size_bytes;
	EVP_PKEY *key;
	BIO *memory;

	if (yaml_tree_read_file(path, KEY_FILE_MAX_BYTES, &bytes, &size_bytes, problems) != STATUS_OK)
		return NULL;
	memory = BIO_new_mem_buf(bytes, (int)size_bytes);
	/* An empty password: a key that wants one is refused, and nobody is asked at a terminal. */
	key = private ? PEM_read_bio_PrivateKey(memory, NULL, NULL, no_password)
		      : PEM_read_bio_PUBKEY(memory, NULL, NULL, no_password);
	BIO_free(memory);
	OPENSSL_cleanse(bytes, size_bytes);
	free(bytes);
	if (key != NULL && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519)
		return key;
	EVP_PKEY_free(key);
	problems_add(problems, "%s: must be %s Ed25519 key in PEM%s", path, private ? "a private" : "a public",
		private ? ", without a password (openssl genpkey -algorithm ed25519)" : " (openssl pkey -pubout)");
	return NULL;
}

enum status config_key_load(const char *path, struct config_key *ret_key, struct problems *problems)
{
	EVP_PKEY *key = read_key(path, false, problems);
	size_t length_bytes = CONFIG_KEY_BYTES;
	bool done;

	if (key == NULL)
		return STATUS_INVALID;
	done = EVP_PKEY_get_raw_public_key(key, ret_key->bytes, &length_bytes) == 1;
	EVP_PKEY_free(key);
	return done ? STATUS_OK : STATUS_SYSTEM;
}

static bool verify(const struct config_key *key, const char *signature, const char *bytes, size_t size_bytes)
{
	EVP_PKEY *public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, CONFIG_KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = public_key != NULL && context != NULL &&
		    EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1 &&
		    EVP_DigestVerify(context, (const unsigned char *)signature, CONFIG_SIGNATURE_BYTES,
			    (const unsigned char *)bytes, size_bytes) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(public_key);
	return good;
}

bool config_signature_check(
	void *context, const char *path, const char *bytes, size_t size_bytes, struct problems *problems)
{
	char name[PATH_MAX], *signature;
	size_t signature_bytes;
	bool good;

	if (!signature_path(path, name, problems) ||
		yaml_tree_read_file(name, KEY_FILE_MAX_BYTES, &signature, &signature_bytes, problems) != STATUS_OK)
		return false;
	good = signature_bytes == CONFIG_SIGNATURE_BYTES && verify(context, signature, bytes, size_bytes);
	free(signature);
	if (!good)
		problems_add(problems,
			"%s: is not signed by the key of --config-key as it is now: sign it again "
			"(postern config sign KEY %s)",
			path, path);
	return good;
}

static bool sign(EVP_PKEY *key, const char *bytes, size_t size_bytes, uint8_t ret_signature[CONFIG_SIGNATURE_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t length_bytes = CONFIG_SIGNATURE_BYTES;
	bool done =
		context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestSign(context, ret_signature, &length_bytes, (const unsigned char *)bytes, size_bytes) == 1 &&
		length_bytes == CONFIG_SIGNATURE_BYTES;

	EVP_MD_CTX_free(context);
	return done;
}

static bool write_signature(const char *name, const uint8_t signature[CONFIG_SIGNATURE_BYTES])
{
	char temporary[PATH_MAX];
	bool written;
	int fd;

	if (snprintf(temporary, sizeof(temporary), "%s.new", name) >= (int)sizeof(temporary)) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return false;
	written = write(fd, signature, CONFIG_SIGNATURE_BYTES) == CONFIG_SIGNATURE_BYTES && fsync(fd) == 0;
	return close(fd) == 0 && written && rename(temporary, name) == 0;
}

enum status config_signature_make(const char *key_path, const char *path, struct problems *problems)
{
	uint8_t signature[CONFIG_SIGNATURE_BYTES];
	char name[PATH_MAX], *bytes;
	size_t size_bytes;
	enum status status;
	EVP_PKEY *key;

	if (!signature_path(path, name, problems))
		return STATUS_INVALID;
	key = read_key(key_path, true, problems);
	if (key == NULL)
		return STATUS_INVALID;
	status = yaml_tree_read_file(path, YAML_TOTAL_SIZE_MAX_BYTES, &bytes, &size_bytes, problems);
	if (status == STATUS_OK) {
		if (!sign(key, bytes, size_bytes, signature) || !write_signature(name, signature)) {
			problems_add(problems, "%s: can not be written: %s", name, strerror(errno));
			status = STATUS_SYSTEM;
		}
		free(bytes);
	}
	EVP_PKEY_free(key);
	return status;
}
