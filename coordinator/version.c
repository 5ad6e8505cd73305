/* SPDX-License-Identifier: MIT
 * awqrun version: this build, and the libraries that it runs with. */
#include <hdf5.h>
#include <jansson.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "coordinator/commands.h"

int awq_command_version(const awq_call *call)
{
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    unsigned major, minor, patch;
    int length;
    (void)call;
    MPI_Get_library_version(mpi, &length);
    mpi[strcspn(mpi, ",\n")] = '\0';
    H5get_libversion(&major, &minor, &patch);
    printf("awqrun %s\n", AWQ_VERSION);
    printf("MPI      %s\n", mpi);
    printf("HDF5     %u.%u.%u\n", major, minor, patch);
    printf("zlib     %s\n", zlibVersion());
    printf("jansson  %s\n", JANSSON_VERSION);
    return AWQ_EXIT_DONE;
}
