/* A disk that can be full, broken or without power, for the processes that preload this.
 *
 * Only regular files under MOKSORI_SHIM_UNDER are touched. MOKSORI_SHIM_CONTROL is a file of four 64-bit
 * numbers that the test changes while the process runs: bytes that may still be allocated (negative: any
 * number), whether fsync fails, and back: how many calls were refused space, how many fsyncs failed.
 *
 * With MOKSORI_SHIM_JOURNAL, a folder, what each write overwrites is kept there in a file named by the inode
 * until an fsync has made the write durable. After kill -9 the test puts it back: a power loss. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct control { volatile int64_t budget, broken, refused, failed; };

static struct control *control;
static const char *under, *journal;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
enum { FDS = 65536 };
static struct { ino_t inode; int ours; } known[FDS];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MOKSORI_SHIM_CONTROL");
    under = getenv("MOKSORI_SHIM_UNDER");
    journal = getenv("MOKSORI_SHIM_JOURNAL");
    if (!path || !under) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) abort();
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) abort();
    syscall(SYS_close, fd);
    control = page;
}

/* Whether fd is a file of the directory; what a crash leaves of shared memory is made anew, so that is none. */
static int ours(int fd, struct stat *at) {
    if (!control || fd < 0 || fd >= FDS || fstat(fd, at) != 0 || !S_ISREG(at->st_mode)) return 0;
    if (known[fd].inode != at->st_ino) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        size_t prefix = strlen(under);
        path[length < 0 ? 0 : length] = 0;
        known[fd].ours = length > (ssize_t)prefix && strncmp(path, under, prefix) == 0 && path[prefix] == '/'
            && !(length > 4 && strcmp(path + length - 4, "-shm") == 0);
        known[fd].inode = at->st_ino;
    }
    return known[fd].ours;
}

static int journal_of(ino_t inode, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%llu", journal, (unsigned long long)inode);
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

/* Keeps what stands in the file at offset before it is overwritten or cut off. */
static void keep(int fd, const struct stat *at, off_t offset, size_t count) {
    if (!journal) return;
    int64_t kept = offset < at->st_size ? at->st_size - offset : 0;
    if (kept > (int64_t)count) kept = count;
    int64_t *record = malloc(3 * sizeof(int64_t) + kept);
    if (!record) abort();
    int reading = fd;
    char link[64];
    if (kept > 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        reading = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    }
    record[0] = offset, record[1] = at->st_size, record[2] = kept;
    if (kept > 0 && syscall(SYS_pread64, reading, record + 3, kept, offset) != kept) abort();
    if (reading != fd) syscall(SYS_close, reading);
    int out = journal_of(at->st_ino, O_WRONLY | O_CREAT | O_APPEND);
    size_t length = 3 * sizeof(int64_t) + kept;
    if (out < 0 || syscall(SYS_write, out, record, length) != (long)length) abort();
    syscall(SYS_close, out);
    free(record);
}

static void forget(ino_t inode) {
    int out = journal ? journal_of(inode, O_WRONLY | O_TRUNC) : -1;
    if (out >= 0) syscall(SYS_close, out);
}

/* How much of a write has room; -1 with errno when nothing has. */
static ssize_t room(const struct stat *at, off_t offset, size_t count) {
    int64_t growth = offset + (int64_t)count - at->st_size;
    if (control->budget < 0 || growth <= 0) return count;
    if (growth <= control->budget) {
        control->budget -= growth;
        return count;
    }
    int64_t fits = (int64_t)count - (growth - control->budget);
    control->refused += 1;
    if (fits <= 0) {
        errno = ENOSPC;
        return -1;
    }
    control->budget = 0;
    return fits;
}

static off_t place(int fd, const struct stat *at) {
    return fcntl(fd, F_GETFL) & O_APPEND ? at->st_size : lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    struct stat at;
    if (!ours(fd, &at)) return syscall(SYS_write, fd, bytes, count);
    pthread_mutex_lock(&lock);
    fstat(fd, &at);
    off_t offset = place(fd, &at);
    ssize_t done = room(&at, offset, count);
    if (done >= 0) {
        keep(fd, &at, offset, done);
        done = syscall(SYS_write, fd, bytes, done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    struct stat at;
    if (!ours(fd, &at)) return syscall(SYS_pwrite64, fd, bytes, count, offset);
    pthread_mutex_lock(&lock);
    fstat(fd, &at);
    ssize_t done = room(&at, offset, count);
    if (done >= 0) {
        keep(fd, &at, offset, done);
        done = syscall(SYS_pwrite64, fd, bytes, done, offset);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }

/* Piece by piece, and as much as there is room for. */
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    struct stat at;
    if (!ours(fd, &at)) return syscall(SYS_writev, fd, pieces, count);
    ssize_t done = 0;
    for (int piece = 0; piece < count; piece++) {
        if (pieces[piece].iov_len == 0) continue;
        ssize_t one = write(fd, pieces[piece].iov_base, pieces[piece].iov_len);
        if (one < 0) return done > 0 ? done : one;
        done += one;
        if ((size_t)one < pieces[piece].iov_len) break;
    }
    return done;
}

int ftruncate64(int fd, off64_t length) {
    struct stat at;
    if (!ours(fd, &at)) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    fstat(fd, &at);
    keep(fd, &at, length < at.st_size ? length : at.st_size, length < at.st_size ? at.st_size - length : 0);
    if (control->budget >= 0 && length < at.st_size) control->budget += at.st_size - length;
    int done = syscall(SYS_ftruncate, fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    struct stat at;
    if (!ours(fd, &at)) return syscall(SYS_fallocate, fd, mode, offset, length);
    pthread_mutex_lock(&lock);
    fstat(fd, &at);
    int done = -1;
    ssize_t fits = room(&at, offset, length);
    if (fits == length) {
        keep(fd, &at, at.st_size, 0);
        done = syscall(SYS_fallocate, fd, mode, offset, length);
    } else {
        errno = ENOSPC;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return fallocate64(fd, 0, offset, length) == 0 ? 0 : errno; }

int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

/* The lock is held meanwhile: what is written during an fsync is not made durable by it. */
static int sync_file(int fd, long call) {
    struct stat at;
    if (!ours(fd, &at)) return syscall(call, fd);
    pthread_mutex_lock(&lock);
    int done = -1;
    if (control->broken) {
        control->failed += 1;
        errno = EIO;
    } else if ((done = syscall(call, fd)) == 0) {
        forget(at.st_ino);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

/* A file that is emptied by opening it. */
static int open_file(int dir, const char *path, int flags, mode_t mode) {
    if (control && journal && flags & O_TRUNC) {
        int fd = syscall(SYS_openat, dir, path, O_WRONLY | O_CLOEXEC, 0);
        struct stat at;
        if (fd >= 0 && ours(fd, &at)) {
            pthread_mutex_lock(&lock);
            keep(fd, &at, 0, at.st_size);
            pthread_mutex_unlock(&lock);
        }
        if (fd >= 0) syscall(SYS_close, fd);
    }
    return syscall(SYS_openat, dir, path, flags, mode);
}

#define MODE(flags) \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);

int open(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return open_file(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return open_file(dir, path, flags | O_LARGEFILE, mode); }

/* The inode of a removed file will be another file's. */
static void removed(int dir, const char *path) {
    struct stat at;
    if (control && journal && fstatat(dir, path, &at, AT_SYMLINK_NOFOLLOW) == 0 && at.st_nlink == 1) forget(at.st_ino);
}

int unlink(const char *path) {
    removed(AT_FDCWD, path);
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *path, int flags) {
    removed(dir, path);
    return syscall(SYS_unlinkat, dir, path, flags);
}

int rename(const char *from, const char *to) {
    removed(AT_FDCWD, to);
    return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
