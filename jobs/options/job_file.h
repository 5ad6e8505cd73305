/* SPDX-License-Identifier: MIT
 * jobs/options/job_file.h - the options of a quantization from a file: --job FILE.
 *
 *   # a comment, at the start of a line or behind a blank
 *   model = /data/Llama-3.1-70B-Instruct
 *   group-size = 128
 *   restart = true
 *   skip = "a value in quotes keeps its blanks and its #; "" is one quote"
 *
 * One `key = value` a line. Keys are the long options of quantize and plan, without their dashes,
 * each at most once, lists (text) a file a line; values are what the options take, and flags take
 * true or false. Paths are relative to the current directory, as on the command line, which wins
 * over the file. */
#ifndef AWQ_JOBS_OPTIONS_JOB_FILE_H
#define AWQ_JOBS_OPTIONS_JOB_FILE_H

#include "jobs/options/options.h"

/* The options that a job file can hold. */
bool awq_job_file_holds(const awq_option *option);

/* Sets options from a file. Adds a problem, with its line, for each that is wrong. */
void awq_job_file_read(const char *path, awq_options *options, awq_problems *problems);

/* Writes all options in the same format; what has no value is left out. */
awq_status awq_job_file_print(FILE *file, const awq_options *options, awq_error *err);

#endif
