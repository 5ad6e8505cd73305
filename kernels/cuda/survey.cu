/* SPDX-License-Identifier: MIT
 * kernels/cuda/survey.cu - what there is to run on: the runtime, the driver, the GPUs. */
#include <stdio.h>

#include "kernels/cuda/device.cuh"
#ifdef AWQ_HAVE_NCCL
#include "kernels/cuda/nccl.cuh"
#endif
#include "kernels/cuda/verbs.h"

enum { VERSION_BYTES = 16 };

/* 13000 to "13.0". */
static void print_version(char text[VERSION_BYTES], int version)
{
    snprintf(text, VERSION_BYTES, "%d.%d", version / 1000, version % 1000 / 10);
}

static const char *runtime_version(void)
{
    static char text[32];
    char number[VERSION_BYTES];
    int version = 0;
    if (cudaRuntimeGetVersion(&version) != cudaSuccess) return NULL;
    print_version(number, version);
    snprintf(text, sizeof text, "CUDA %s", number);
    return text;
}

/* Results depend on it; one that is not there shows when a device is opened, which says more. */
static const char *blas_version(void)
{
    static char text[48];
    const cuda_blas *blas;
    awq_error ignored;
    if (cuda_blas_load(&blas, &ignored)) return "cuBLAS not found";
    snprintf(text, sizeof text, "cuBLAS %d.%d.%d", cuda_blas_version(blas, MAJOR_VERSION),
             cuda_blas_version(blas, MINOR_VERSION), cuda_blas_version(blas, PATCH_LEVEL));
    return text;
}

/* NCCL's is that of its header: it is loaded only when it is used. */
const char *library_cuda(int index)
{
    if (index == 0) return runtime_version();
    if (index == 1) return blas_version();
#ifdef AWQ_HAVE_NCCL
    if (index == 2) return "NCCL " AWQ_NCCL_VERSION;
#endif
    return NULL;
}

int cuda_count_devices(awq_error *err)
{
    int count = 0, driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || !driver) {
        awq_fail(
            err, AWQ_ERR_DEVICE,
            "no NVIDIA driver is loaded here; run on a node with a GPU, or install the driver");
        return 0;
    }
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count) return count;
    awq_fail(err, AWQ_ERR_DEVICE,
             "the NVIDIA driver gives no GPU: %s; ask the scheduler for one, or check "
             "CUDA_VISIBLE_DEVICES",
             error == cudaSuccess ? "there is none" : cudaGetErrorString(error));
    return 0;
}

static bool describe(awq_device_facts *facts, int index)
{
    cudaDeviceProp properties;
    int driver = 0;
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess ||
        cudaDriverGetVersion(&driver) != cudaSuccess)
        return false;
    memset(facts, 0, sizeof *facts);
    snprintf(facts->name, sizeof facts->name, "%.95s", properties.name);
    facts->memory_bytes = properties.totalGlobalMem;
    facts->major = properties.major;
    facts->minor = properties.minor;
    print_version(facts->driver, driver);
    return true;
}

int survey_cuda(awq_device_facts *out, int most, awq_error *err)
{
    int count = cuda_count_devices(err);
    for (int i = 0; i < count && i < most; i++)
        if (!describe(out + i, i)) {
            awq_fail(err, AWQ_ERR_DEVICE, "GPU %d cannot be asked what it is: %s", i,
                     cudaGetErrorString(cudaGetLastError()));
            return 0;
        }
    return count;
}
