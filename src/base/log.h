// SPDX-License-Identifier: Apache-2.0
// One line per failure on stderr: `level component: sentence key=value...`. A function logs or returns the error, never
// both.
#pragma once

enum fl_log_level { FL_LOG_DEBUG, FL_LOG_INFO, FL_LOG_WARN, FL_LOG_ERROR, FL_LOG_LEVEL_COUNT };

void fl_log_init(const char *component, enum fl_log_level least); // component is not copied
__attribute__((format(printf, 2, 3))) void fl_log(enum fl_log_level level, const char *fmt, ...);

#define fl_debug(...) fl_log(FL_LOG_DEBUG, __VA_ARGS__)
#define fl_info(...)  fl_log(FL_LOG_INFO, __VA_ARGS__)
#define fl_warn(...)  fl_log(FL_LOG_WARN, __VA_ARGS__)
#define fl_error(...) fl_log(FL_LOG_ERROR, __VA_ARGS__)
