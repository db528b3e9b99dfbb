/* A wall clock that is wrong by what stands in a file: nanoseconds, a signed number of 64 bits in this machine's order. Programs load this
 * before the C library. The file is mapped, so that what is written to it is seen at once. Clocks that measure are left alone. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

_Static_assert(sizeof(time_t) == 8, "times have 64 bits");

static const volatile int64_t right = 0;
static const volatile int64_t *ahead = &right;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SYNCLINE_TRY_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) {
        return;
    }
    void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) {
        ahead = found;
    }
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t by = *ahead;
        int64_t nanos = time->tv_nsec + by % SECOND;
        time->tv_sec += by / SECOND;
        if (nanos < 0) {
            nanos += SECOND;
            time->tv_sec -= 1;
        } else if (nanos >= SECOND) {
            nanos -= SECOND;
            time->tv_sec += 1;
        }
        time->tv_nsec = (long)nanos;
    }
    return done;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int done = clock_gettime(CLOCK_REALTIME, &now);
    if (done == 0) {
        time->tv_sec = now.tv_sec;
        time->tv_usec = now.tv_nsec / 1000;
    }
    return done;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

time_t time(time_t *into) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return (time_t)-1;
    }
    if (into) {
        *into = now.tv_sec;
    }
    return now.tv_sec;
}
