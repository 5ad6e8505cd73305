/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/runtime.cpp - one device, its memory, which is the host's, and copies. */
#include "tests/cuda_emulator/runtime.h"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <vector>

namespace emulator
{

std::recursive_mutex device_mutex;
counted_only counting;

/* AWQ_EMULATOR_MEMORY, or 4 GiB. */
static const size_t memory_bytes = [] {
    const char *wanted = getenv("AWQ_EMULATOR_MEMORY");
    return wanted ? (size_t)atoll(wanted) : (size_t)4 << 30;
}();
/* AWQ_EMULATOR_TAKEN: what another process takes of it once the program has asked what is free. */
static size_t taken;
/* The sanitizer has guards of its own. */
#if defined(__SANITIZE_ADDRESS__)
static constexpr size_t guard = 0;
#else
static constexpr size_t guard = 256;
#endif
static constexpr int guard_byte = 0xa5;

static std::map<const char *, size_t> arrays, pinned; /* first byte, bytes */
static size_t bytes_in_use;
static cudaError_t last_error;

/* The devices that this process sees, as CUDA_VISIBLE_DEVICES has it: all, or some of 0, 1, .. up
 * to AWQ_EMULATOR_GPUS, one by default. They differ in their UUID alone. */
static const std::vector<int> &visible()
{
    static const std::vector<int> list = [] {
        const char *wanted = getenv("AWQ_EMULATOR_GPUS"), *some = getenv("CUDA_VISIBLE_DEVICES");
        int count = wanted ? atoi(wanted) : 1;
        std::vector<int> all;
        if (!some) {
            for (int i = 0; i < count; i++) all.push_back(i);
            return all;
        }
        std::stringstream words(some);
        for (std::string word; std::getline(words, word, ',');) {
            if (word.empty() || atoi(word.c_str()) >= count) break; /* as CUDA: up to the first */
            all.push_back(atoi(word.c_str()));
        }
        return all;
    }();
    return list;
}

static thread_local int current;

static cudaError_t fail(cudaError_t error)
{
    return last_error = error;
}

/* ---- memory ---- */

static std::map<const char *, size_t>::iterator holder(std::map<const char *, size_t> &map,
                                                       const void *at)
{
    auto after = map.upper_bound((const char *)at);
    if (after == map.begin()) return map.end();
    auto found = std::prev(after);
    return (const char *)at < found->first + found->second ? found : map.end();
}

void check_device_range(const char *what, const void *array, size_t bytes)
{
    if (!bytes) return;
    auto found = holder(arrays, array);
    if (found == arrays.end()) report("%s: %p is not in device memory", what, array);
    size_t offset = (size_t)((const char *)array - found->first);
    if (offset + bytes > found->second)
        report("%s: bytes %zu to %zu of a device array of %zu", what, offset, offset + bytes,
               found->second);
}

static void check_host(const char *what, const void *array, size_t bytes)
{
    if (bytes && holder(arrays, array) != arrays.end())
        report("%s: %p is in device memory, not the host's", what, array);
}

static bool untouched(const char *bytes)
{
    for (size_t i = 0; i < guard; i++)
        if ((unsigned char)bytes[i] != guard_byte) return false;
    return true;
}

void check_guards()
{
    if (counting.now) return;
    for (auto [first, bytes] : arrays) {
        if (!untouched(first - guard))
            report("bytes before a device array of %zu were written", bytes);
        if (!untouched(first + bytes))
            report("bytes behind a device array of %zu were written", bytes);
    }
}

static void release(void *array)
{
    auto found = arrays.find((char *)array);
    if (found == arrays.end()) report("freeing: %p is not a device array", array);
    check_guards();
    bytes_in_use -= found->second;
    if (counting.now)
        munmap(array, found->second);
    else
        free((char *)array - guard);
    arrays.erase(found);
}

/* Of nothing but addresses. */
static char *reserve(size_t bytes)
{
    void *memory =
        mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : (char *)memory;
}

/* Aligned as CUDA's, up to the end: what is behind it is not the array's. */
static char *allocate(size_t bytes)
{
    void *memory = nullptr;
    if (posix_memalign(&memory, 256, bytes + 2 * guard)) return nullptr;
    char *first = (char *)memory + guard;
    memset(memory, guard_byte, bytes + 2 * guard);
    memset(first, 0xff, bytes); /* NaN in every type */
    return first;
}

/* ---- copies ---- */

static void upload(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    check_host("cudaMemcpyAsync", from, bytes);
    if (holder(pinned, from) != pinned.end()) {
        enqueue(stream, [=] { memcpy(to, from, bytes); });
        return;
    }
    std::vector<char> staged((const char *)from, (const char *)from + bytes);
    enqueue(stream, [=] { memcpy(to, staged.data(), bytes); });
}

static void download(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    check_host("cudaMemcpyAsync", to, bytes);
    enqueue(stream, [=] { memcpy(to, from, bytes); });
    if (holder(pinned, to) == pinned.end()) run_all(stream);
}

/* A copy that is not made. */
static void count_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                       cudaStream_t stream)
{
    count_work(stream);
    if (kind == cudaMemcpyHostToDevice) counting.now->to_device += bytes;
    if (kind != cudaMemcpyDeviceToHost) return;
    counting.now->to_host += bytes;
    counting.fill(counting.now->verb, to, from, bytes);
    if (holder(pinned, to) == pinned.end()) count_wait(stream);
}

static cudaError_t copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                        cudaStream_t stream)
{
    bool is_read = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    bool is_written = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    if (!is_read && !is_written) return fail(cudaErrorInvalidMemcpyDirection);
    if (is_read) check_device_range("cudaMemcpyAsync", from, bytes);
    if (is_written) check_device_range("cudaMemcpyAsync", to, bytes);
    if (!bytes) return cudaSuccess;
    if (counting.now)
        count_copy(to, from, bytes, kind, stream);
    else if (!is_read)
        upload(to, from, bytes, stream);
    else if (!is_written)
        download(to, from, bytes, stream);
    else
        enqueue(stream, [=] { memcpy(to, from, bytes); });
    return cudaSuccess;
}

} // namespace emulator

using namespace emulator;

extern "C" {

/* ---- the device ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = (int)visible().size();
    return *count ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    if ((size_t)device >= visible().size()) return fail(cudaErrorInvalidDevice);
    current = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if ((size_t)device >= visible().size()) return fail(cudaErrorInvalidDevice);
    *properties = {};
    properties->uuid.bytes[15] = (char)visible()[(size_t)device];
    const char *name = getenv("AWQ_EMULATOR_NAME");
    snprintf(properties->name, sizeof properties->name, "%s", name ? name : "emulated on the CPU");
    properties->totalGlobalMem = memory_bytes;
    properties->major = 9;
    properties->multiProcessorCount = 2;
    properties->warpSize = warpSize;
    properties->maxThreadsPerBlock = 1024;
    properties->sharedMemPerBlock = 48 << 10;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    if ((size_t)device >= visible().size()) return fail(cudaErrorInvalidDevice);
    if (attribute != cudaDevAttrMemoryPoolsSupported) return fail(cudaErrorInvalidValue);
    *value = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device)
{
    if ((size_t)device >= visible().size()) return fail(cudaErrorInvalidDevice);
    *pool = nullptr;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *)
{
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    device_lock lock(device_mutex);
    const char *wanted = getenv("AWQ_EMULATOR_TAKEN");
    size_t used = bytes_in_use + taken;
    *available = memory_bytes > used ? memory_bytes - used : 0;
    *total = memory_bytes;
    taken = wanted ? (size_t)atoll(wanted) : 0;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    device_lock lock(device_mutex);
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError()
{
    return last_error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidMemcpyDirection:
        return "invalid copy direction for memcpy";
    default:
        return "an error that the emulator does not know";
    }
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **array, size_t bytes)
{
    device_lock lock(device_mutex);
    *array = nullptr;
    if (!bytes) return cudaSuccess;
    if (bytes_in_use + taken + bytes > memory_bytes) return fail(cudaErrorMemoryAllocation);
    char *first = counting.now ? reserve(bytes) : allocate(bytes);
    if (!first) return fail(cudaErrorMemoryAllocation);
    arrays[first] = bytes;
    bytes_in_use += bytes;
    *array = first;
    return cudaSuccess;
}

cudaError_t cudaFree(void *array)
{
    device_lock lock(device_mutex);
    if (!array) return cudaSuccess;
    run_everything(); /* as it waits for the device */
    release(array);
    return cudaSuccess;
}

cudaError_t cudaMallocAsync(void **array, size_t bytes, cudaStream_t)
{
    return cudaMalloc(array, bytes);
}

cudaError_t cudaFreeAsync(void *array, cudaStream_t stream)
{
    device_lock lock(device_mutex);
    if (array) enqueue(stream, [=] { release(array); });
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **array, size_t bytes)
{
    device_lock lock(device_mutex);
    *array = malloc(bytes);
    if (!*array) return fail(cudaErrorMemoryAllocation);
    if (!counting.now) memset(*array, 0xff, bytes);
    pinned[(char *)*array] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *array)
{
    device_lock lock(device_mutex);
    if (!array) return cudaSuccess;
    run_everything();
    if (!pinned.erase((char *)array)) report("cudaFreeHost: %p is not of cudaMallocHost", array);
    free(array);
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer)
{
    device_lock lock(device_mutex);
    const char *at = (const char *)pointer;
    auto after = pinned.upper_bound(at);
    *attributes = {};
    if (after != pinned.begin() && at < std::prev(after)->first + std::prev(after)->second)
        attributes->type = cudaMemoryTypeHost;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    device_lock lock(device_mutex);
    return copy(to, from, bytes, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    device_lock lock(device_mutex);
    return copy(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    device_lock lock(device_mutex);
    check_device_range("cudaMemsetAsync", to, bytes);
    if (bytes && counting.now)
        count_work(stream);
    else if (bytes)
        enqueue(stream, [=] { memset(to, value, bytes); });
    return cudaSuccess;
}

} // extern "C"
