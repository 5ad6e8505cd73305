/* SPDX-License-Identifier: MIT
 * tests/nccl_twin/twin.cpp - the functions of NCCL that awqrun calls, between processes of one
 * machine without a GPU: README.md.
 *
 * A communicator of two ranks is a socket. As NCCL's do with ncclConfig_t.blocking = 0, calls
 * return ncclInProgress, and a thread does what was asked for; ncclCommGetAsyncError tells when.
 * Device memory is the host's (tests/cuda_emulator). What NCCL forbids ends the process. */
#include <fcntl.h>
#include <nccl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

struct ncclComm {
    int rank;
    int file = -1;
    int transfers = 0;
    bool finalized = false;
    std::atomic<int> state{ncclSuccess};
    std::atomic<bool> gone{false}; /* aborted: give up */
    std::thread work;
};

[[noreturn]] static void misuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("nccl_twin: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    _exit(99);
}

/* AWQ_TWIN_FAULT: "error:3", "hang:3": what becomes of a process's third transfer. */
static bool is_fault(const char *what, int transfer)
{
    const char *wanted = getenv("AWQ_TWIN_FAULT"), *only = getenv("AWQ_TWIN_FAULT_RANK");
    const char *self = getenv("PMIX_RANK");
    if (!wanted || (only && self && strcmp(only, self))) return false;
    size_t length = strlen(what);
    return !strncmp(wanted, what, length) && wanted[length] == ':' &&
           atoi(wanted + length + 1) == transfer;
}

/* AWQ_TWIN_FAULT_MARK: a file that is made when it happens. */
static void mark_fault()
{
    const char *name = getenv("AWQ_TWIN_FAULT_MARK");
    if (name) close(open(name, O_CREAT | O_WRONLY, 0600));
}

/* ---- what is done meanwhile ---- */

static ncclResult_t begin(ncclComm *comm, std::function<ncclResult_t()> work)
{
    if (comm->state == ncclInProgress) misuse("a call while another one is in progress");
    if (comm->work.joinable()) comm->work.join();
    comm->state = ncclInProgress;
    comm->work = std::thread([=] { comm->state = work(); });
    return ncclInProgress;
}

static bool wait_for(ncclComm *comm, short event)
{
    pollfd file = {comm->file, event, 0};
    while (!comm->gone)
        if (poll(&file, 1, 20) > 0) return true;
    return false;
}

static ncclResult_t transfer(ncclComm *comm, char *bytes, size_t count, bool sends)
{
    while (count) {
        if (!wait_for(comm, sends ? POLLOUT : POLLIN)) return ncclInternalError;
        ssize_t moved = sends ? send(comm->file, bytes, count, MSG_NOSIGNAL)
                              : recv(comm->file, bytes, count, 0);
        if (moved <= 0) return ncclRemoteError;
        bytes += moved;
        count -= (size_t)moved;
    }
    return ncclSuccess;
}

static ncclResult_t start_transfer(ncclComm *comm, const void *array, size_t count, int peer,
                                   bool sends)
{
    if (comm->finalized) misuse("a transfer after ncclCommFinalize");
    if (peer != 1 - comm->rank) misuse("rank %d has no peer %d", comm->rank, peer);
    int number = ++comm->transfers;
    bool fails = is_fault("error", number), hangs = is_fault("hang", number);
    if (fails || hangs) mark_fault();
    if (fails) return begin(comm, [] { return ncclSystemError; });
    if (hangs)
        return begin(comm, [=] {
            while (!comm->gone) std::this_thread::sleep_for(std::chrono::milliseconds(20));
            return ncclInternalError;
        });
    return begin(comm, [=] {
        uint64_t theirs = count; /* both must mean the same bytes */
        ncclResult_t result = transfer(comm, (char *)&theirs, sizeof theirs, sends);
        if (result == ncclSuccess && theirs != count)
            misuse("%zu bytes here meet %zu", count, (size_t)theirs);
        return result == ncclSuccess
                   ? transfer(comm, static_cast<char *>(const_cast<void *>(array)), count, sends)
                   : result;
    });
}

/* ---- connecting: rank 1 listens ---- */

static socklen_t address_of(const ncclUniqueId *id, sockaddr_un *out)
{
    *out = {};
    out->sun_family = AF_UNIX; /* an abstract name: it begins with a zero, and is no file */
    memcpy(out->sun_path + 1, id->internal, 32);
    return (socklen_t)(offsetof(sockaddr_un, sun_path) + 33);
}

static ncclResult_t listen_for(ncclComm *comm, int socket)
{
    comm->file = socket;
    bool came = wait_for(comm, POLLIN);
    int other = came ? accept(socket, nullptr, nullptr) : -1;
    close(socket);
    comm->file = other;
    return other < 0 ? ncclInternalError : ncclSuccess;
}

static ncclResult_t connect_to(ncclComm *comm, int socket, sockaddr_un address, socklen_t bytes)
{
    comm->file = socket;
    while (!comm->gone) {
        if (!connect(socket, (sockaddr *)&address, bytes)) return ncclSuccess;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return ncclInternalError;
}

static void leave(ncclComm *comm)
{
    comm->gone = true;
    if (comm->work.joinable()) comm->work.join();
    if (comm->file >= 0) close(comm->file);
    delete comm;
}

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    unsigned char random[16];
    int file = open("/dev/urandom", O_RDONLY);
    if (file < 0 || read(file, random, sizeof random) != sizeof random) return ncclSystemError;
    close(file);
    memset(id, 0, sizeof *id);
    for (int i = 0; i < 16; i++) snprintf(id->internal + 2 * i, 3, "%02x", random[i]);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    if (ranks != 2 || config->blocking) misuse("made for two ranks, and calls that do not block");
    int file = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address;
    socklen_t bytes = address_of(&id, &address);
    ncclComm *comm = *out = new ncclComm;
    comm->rank = rank;
    if (file < 0) return ncclSystemError;
    if (!rank) return begin(comm, [=] { return connect_to(comm, file, address, bytes); });
    if (bind(file, (sockaddr *)&address, bytes) || listen(file, 1)) return ncclSystemError;
    return begin(comm, [=] { return listen_for(comm, file); });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state)
{
    *state = (ncclResult_t)comm->state.load();
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *array, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t)
{
    if (type != ncclChar) misuse("made for bytes");
    return start_transfer(comm, array, count, peer, true);
}

ncclResult_t ncclRecv(void *array, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t)
{
    if (type != ncclChar) misuse("made for bytes");
    return start_transfer(comm, array, count, peer, false);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    comm->finalized = true;
    return begin(comm, [] { return ncclSuccess; });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    if (!comm->finalized || comm->state != ncclSuccess) misuse("destroyed, and not finalized");
    leave(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    leave(comm);
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSystemError:
        return "unhandled system error";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    default:
        return "an error of the twin's";
    }
}

const char *ncclGetLastError(ncclComm_t)
{
    return "";
}

} // extern "C"
