/* SPDX-License-Identifier: Apache-2.0 */
#include "control/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum tls_file { FILE_CERTIFICATE, FILE_KEY, FILE_CLIENT_CA, FILE_COUNT };

enum { NAME_SIZE_BYTES = 300 };

/* What tells one content of a file from another. */
struct file_stamp {
	char path[MODEL_PATH_SIZE_BYTES];
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct tls {
	SSL_CTX *context; /* NULL: none */
	struct file_stamp stamps[FILE_COUNT];
	bool certificates_only; /* clients have no other way to say who they are */
	bool client_ca_is_stale;
	double expiry_unix_s;
};

struct tls *tls_open(void)
{
	return calloc(1, sizeof(struct tls));
}

void tls_close(struct tls *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->context);
	free(tls);
}

/* ---- files ---- */

/* A file that is not there gets zeros: so its return is a change. */
static void stamp_take(const char *path, struct file_stamp *ret_stamp)
{
	struct stat about = {0};

	memset(ret_stamp, 0, sizeof(*ret_stamp));
	memcpy(ret_stamp->path, path, sizeof(ret_stamp->path));
	if (path[0] == '\0' || stat(path, &about) != 0)
		return;
	ret_stamp->device = about.st_dev;
	ret_stamp->inode = about.st_ino;
	ret_stamp->size = about.st_size;
	ret_stamp->changed = about.st_mtim;
}

static void add_openssl_problem(struct problems *problems, const char *key, const char *path, const char *advice)
{
	char why[256] = "unknown error";
	unsigned long code = ERR_peek_last_error();

	if (code != 0)
		ERR_error_string_n(code, why, sizeof(why));
	ERR_clear_error();
	problems_add(problems, "%s: %s: can not be used: %s: %s", key, path, why, advice);
}

static bool context_load(SSL_CTX *context, const struct model_api *api, struct problems *problems)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(context, api->certificate) != 1) {
		add_openssl_problem(problems, "api.certificate", api->certificate, "must be certificates in PEM");
		return false;
	}
	if (SSL_CTX_use_PrivateKey_file(context, api->key, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_check_private_key(context) != 1) {
		add_openssl_problem(
			problems, "api.key", api->key, "must be the key of api.certificate in PEM, without a password");
		return false;
	}
	if (api->client_ca[0] == '\0')
		return true;
	if (SSL_CTX_load_verify_file(context, api->client_ca) != 1) {
		add_openssl_problem(problems, "api.client_ca", api->client_ca, "must be certificates in PEM");
		return false;
	}
	SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(api->client_ca));
	SSL_CTX_set_verify(
		context, SSL_VERIFY_PEER | (api->jwks[0] == '\0' ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	return true;
}

/* NULL: problems say why. */
static SSL_CTX *context_new(const struct model_api *api, struct problems *problems)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL) {
		problems_add(problems, "api: TLS can not be set up: out of memory");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
	/* One request per connection: nothing to resume, and a certificate that was taken off the list stays out. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (context_load(context, api, problems))
		return context;
	SSL_CTX_free(context);
	return NULL;
}

static double certificate_expiry(const SSL_CTX *context)
{
	struct tm parts;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context)), &parts) != 1)
		return 0;
	return (double)timegm(&parts);
}

enum status tls_refresh(struct tls *tls, const struct model_api *api, bool *ret_changed, struct problems *problems)
{
	struct file_stamp stamps[FILE_COUNT];
	bool certificates_only = api->jwks[0] == '\0';
	SSL_CTX *context = NULL;

	stamp_take(api->certificate, &stamps[FILE_CERTIFICATE]);
	stamp_take(api->key, &stamps[FILE_KEY]);
	stamp_take(api->client_ca, &stamps[FILE_CLIENT_CA]);
	*ret_changed = false;
	tls->client_ca_is_stale = false;
	if (memcmp(stamps, tls->stamps, sizeof(stamps)) == 0 && certificates_only == tls->certificates_only)
		return STATUS_OK;
	if (api->certificate[0] != '\0') {
		context = context_new(api, problems);
		if (context == NULL) {
			tls->client_ca_is_stale = memcmp(&stamps[FILE_CLIENT_CA], &tls->stamps[FILE_CLIENT_CA],
							  sizeof(stamps[FILE_CLIENT_CA])) != 0;
			return STATUS_INVALID;
		}
	}
	SSL_CTX_free(tls->context);
	tls->context = context;
	tls->expiry_unix_s = context != NULL ? certificate_expiry(context) : 0;
	tls->certificates_only = certificates_only;
	memcpy(tls->stamps, stamps, sizeof(stamps));
	*ret_changed = true;
	return STATUS_OK;
}

struct ssl_st *tls_session(struct tls *tls)
{
	return tls->context != NULL ? SSL_new(tls->context) : NULL;
}

double tls_expiry_unix_s(const struct tls *tls)
{
	return tls->expiry_unix_s;
}

bool tls_client_ca_is_stale(const struct tls *tls)
{
	return tls->client_ca_is_stale;
}

/* ---- who the client is ---- */

/* "dns:ops.example". False: a kind of name that no list has, or one with a NUL or blanks in it. */
static bool name_text(const GENERAL_NAME *name, char ret_text[NAME_SIZE_BYTES])
{
	const ASN1_STRING *string;
	const char *kind;
	size_t length;

	if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 4) {
		char address[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, ASN1_STRING_get0_data(name->d.iPAddress), address, sizeof(address));
		snprintf(ret_text, NAME_SIZE_BYTES, "ip:%s", address);
		return true;
	}
	if (name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_EMAIL)
		return false;
	kind = name->type == GEN_DNS ? "dns" : name->type == GEN_URI ? "uri" : "email";
	string = name->d.ia5;
	length = (size_t)ASN1_STRING_length(string);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = ASN1_STRING_get0_data(string)[i];

		if (c <= ' ' || c > '~')
			return false;
	}
	return snprintf(ret_text, NAME_SIZE_BYTES, "%s:%.*s", kind, (int)length,
		       (const char *)ASN1_STRING_get0_data(string)) < NAME_SIZE_BYTES;
}

static void add_roles(const struct model_api_client *client, struct api_roles *roles)
{
	for (size_t i = 0; i < client->role_count; i++)
		api_roles_add(roles, client->roles[i].text);
}

bool tls_client_roles(
	const struct ssl_st *session, const struct model_api *api, struct api_roles *ret_roles, const char **ret_name)
{
	const X509 *certificate = SSL_get0_peer_certificate(session);
	GENERAL_NAMES *names;
	bool found = false;

	if (certificate == NULL || SSL_get_verify_result(session) != X509_V_OK)
		return false;
	names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		char text[NAME_SIZE_BYTES];

		if (!name_text(sk_GENERAL_NAME_value(names, i), text))
			continue;
		for (size_t j = 0; j < api->client_count; j++) {
			if (strcmp(api->clients[j].san, text) != 0)
				continue;
			if (!found)
				*ret_name = api->clients[j].san;
			found = true;
			add_roles(&api->clients[j], ret_roles);
		}
	}
	GENERAL_NAMES_free(names);
	return found;
}
