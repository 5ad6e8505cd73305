/* SPDX-License-Identifier: MIT
 * jobs/options/amounts.h - amounts as people read them. */
#ifndef AWQ_JOBS_OPTIONS_AMOUNTS_H
#define AWQ_JOBS_OPTIONS_AMOUNTS_H

/* "42s", "3m05s", "2h07m", "1d04h"; "?" when negative. */
void awq_format_seconds(char out[32], double seconds);
/* "512 B", "1.21 GB": powers of ten, as disks and --max-shard-size count. */
void awq_format_bytes(char out[32], double bytes);
/* "70.6 B", "3.7 M": parameters. */
void awq_format_count(char out[32], double count);

#endif
