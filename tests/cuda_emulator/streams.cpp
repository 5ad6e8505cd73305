/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/streams.cpp - streams as queues of work, and events. */
#include <algorithm>
#include <chrono>
#include <deque>
#include <set>

#include "tests/cuda_emulator/runtime.h"

struct CUstream_st {
    std::deque<std::function<void()>> work;
    uint64_t counted, waited; /* pieces of work that are counted only; of which known to be done */
    CUstream_st *after;       /* the stream that it has waited for last, and as far as that was */
    uint64_t after_counted;
};

struct CUevent_st {
    uint64_t recorded, passed; /* how often */
    CUstream_st *stream;       /* of the latest record; NULL before it */
    uint64_t counted;          /* the stream's at that time */
    std::chrono::steady_clock::time_point time;
};

namespace emulator
{

static std::set<cudaStream_t> streams;
static std::set<cudaEvent_t> events;

static bool late()
{
    static const char *const names[] = {"early", "late", nullptr};
    static const int how = choice("AWQ_EMULATOR_STREAMS", names);
    return how == 1;
}

static void check_stream(const char *what, cudaStream_t stream)
{
    if (stream && !streams.count(stream)) report("%s: the stream is not one", what);
}

static void check_event(const char *what, cudaEvent_t event)
{
    if (!events.count(event)) report("%s: the event is not one", what);
}

static void run_one(cudaStream_t stream)
{
    std::function<void()> work = std::move(stream->work.front());
    stream->work.pop_front();
    work();
}

void run_all(cudaStream_t stream)
{
    while (stream && !stream->work.empty()) run_one(stream);
}

void run_everything()
{
    for (cudaStream_t stream : streams) run_all(stream);
}

/* Until the event's record number `count` has been passed. */
static void run_until(cudaEvent_t event, uint64_t count)
{
    while (event->passed < count) run_one(event->stream);
}

void enqueue(cudaStream_t stream, std::function<void()> work)
{
    device_lock lock(device_mutex);
    check_stream("a launch or a copy", stream);
    if (!stream || !late())
        work();
    else
        stream->work.push_back(std::move(work));
}

void count_work(cudaStream_t stream)
{
    check_stream("a launch or a copy", stream);
    if (stream) stream->counted++;
}

static void count_wait_until(cudaStream_t stream, uint64_t counted)
{
    if (!counting.now || !stream || stream->waited >= counted) return;
    stream->waited = counted;
    counting.now->waits++;
    if (stream->after)
        stream->after->waited = std::max(stream->after->waited, stream->after_counted);
}

void count_wait(cudaStream_t stream)
{
    if (stream) count_wait_until(stream, stream->counted);
}

} // namespace emulator

using namespace emulator;

extern "C" {

cudaError_t cudaDeviceSynchronize()
{
    device_lock lock(device_mutex);
    run_everything();
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    device_lock lock(device_mutex);
    streams.insert(*stream = new CUstream_st{});
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    device_lock lock(device_mutex);
    check_stream("cudaStreamDestroy", stream);
    run_all(stream);
    streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    device_lock lock(device_mutex);
    check_stream("cudaStreamSynchronize", stream);
    count_wait(stream);
    run_all(stream);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    device_lock lock(device_mutex);
    events.insert(*event = new CUevent_st{});
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    device_lock lock(device_mutex);
    check_event("cudaEventDestroy", event);
    run_everything();
    events.erase(event);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    device_lock lock(device_mutex);
    check_event("cudaEventRecord", event);
    event->stream = stream;
    event->counted = stream ? stream->counted : 0;
    uint64_t count = ++event->recorded;
    enqueue(stream, [=] {
        event->passed = count;
        event->time = std::chrono::steady_clock::now();
    });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    device_lock lock(device_mutex);
    check_event("cudaEventSynchronize", event);
    count_wait_until(event->stream, event->counted);
    run_until(event, event->recorded);
    return cudaSuccess;
}

/* Work that nobody waits for gets done, one piece at each look. */
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    device_lock lock(device_mutex);
    check_event("cudaEventQuery", event);
    if (event->passed == event->recorded) return cudaSuccess;
    run_one(event->stream);
    return event->passed == event->recorded ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    device_lock lock(device_mutex);
    check_event("cudaEventElapsedTime", from);
    check_event("cudaEventElapsedTime", to);
    *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    device_lock lock(device_mutex);
    check_event("cudaStreamWaitEvent", event);
    if (counting.now && event->stream && event->stream->waited < event->counted) {
        count_work(stream);
        stream->after = event->stream;
        stream->after_counted = event->counted;
    }
    uint64_t count = event->recorded;
    enqueue(stream, [=] { run_until(event, count); });
    return cudaSuccess;
}

} // extern "C"
