/* SPDX-License-Identifier: MIT
 * Linears that are further from their source than they should be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/verify.h"

void awq_verify_find_outliers(awq_verification *v)
{
    (void)v;
}
