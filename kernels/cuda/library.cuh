/* SPDX-License-Identifier: MIT
 * kernels/cuda/library.cuh - libraries of the CUDA toolkit that are loaded when they are used. */
#ifndef AWQ_KERNELS_CUDA_LIBRARY_CUH
#define AWQ_KERNELS_CUDA_LIBRARY_CUH

/* A library by its versioned name ("libcublas.so.13"): where the loader looks, in `folder`, where
 * it was when this was built, and in the Python environment that is active (VIRTUAL_ENV,
 * CONDA_PREFIX), whose packages bring it. NULL: it is nowhere. */
void *cuda_open_library(const char *name, const char *folder);

#endif
