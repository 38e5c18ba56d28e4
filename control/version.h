/* SPDX-License-Identifier: Apache-2.0 */
/* The version of the release, from meson.build; the default serves builds of single files. */
#ifndef POSTERN_CONTROL_VERSION_H
#define POSTERN_CONTROL_VERSION_H

#ifndef POSTERN_VERSION
#define POSTERN_VERSION "unknown"
#endif

#endif
