/* Records what a process does to the files under SHIM_ROOT, for the power cut test.
 *
 * Preloaded into a child. Every call that changes a file or a directory is appended to SHIM_LOG in the
 * order in which it took effect (one lock around call and record). The test rebuilds from the log what a
 * power cut may leave at any point. Syncs are recorded but not carried out: the rebuilt image
 * decides what they are worth, and the run is fast.
 *
 * One record: kind u32, path length u32, second path length u32, data length u32, inode u64,
 * offset u64, then path, second path, data. All in the machine's byte order.
 */
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
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR, RMDIR, SYNC_FILE, SYNC_DIR, SYNC_RANGE };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_len;
static int log_fd = -1;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t real_write(int fd, const void *data, size_t len) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, len);
}

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open", const char *, int, ...);
    return real(path, flags, mode);
}

__attribute__((constructor)) static void start(void) {
    const char *where = getenv("SHIM_ROOT"), *log = getenv("SHIM_LOG");
    if (!where || !log) return;
    snprintf(root, sizeof root, "%s", where);
    root_len = strlen(root);
    log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
}

static int mine(const char *path) {
    return log_fd >= 0 && strncmp(path, root, root_len) == 0;
}

static void put(const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        ssize_t done = real_write(log_fd, at, len);
        if (done <= 0) abort();
        at += done;
        len -= (size_t)done;
    }
}

static void record(uint32_t kind, const char *a, const char *b, const void *data, size_t len,
                   uint64_t inode, uint64_t offset) {
    int kept = errno;
    struct { uint32_t kind, a, b, len; uint64_t inode, offset; } head = {
        kind, a ? (uint32_t)strlen(a) : 0, b ? (uint32_t)strlen(b) : 0, (uint32_t)len, inode, offset};
    put(&head, sizeof head);
    if (a) put(a, head.a);
    if (b) put(b, head.b);
    if (len) put(data, len);
    errno = kept;
}

/* The path behind a descriptor; 0 when it is none of ours. */
static int path_of(int fd, char *out) {
    if (log_fd < 0) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, PATH_MAX - 1);
    if (len <= 0) return 0;
    out[len] = 0;
    return mine(out);
}

static void join(int dir, const char *name, char *out) {
    if (name[0] == '/' || dir == AT_FDCWD) {
        snprintf(out, PATH_MAX, "%s", name);
        return;
    }
    char base[PATH_MAX] = "";
    path_of(dir, base);
    if (snprintf(out, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) abort();
}

static uint64_t inode_of(int fd, int *is_dir) {
    struct stat st;
    int kept = errno;
    if (fstat(fd, &st) != 0) abort();
    errno = kept;
    if (is_dir) *is_dir = S_ISDIR(st.st_mode);
    return st.st_ino;
}

static int opened(const char *path, int flags, int (*call)(void *), void *arg) {
    if (!mine(path)) return call(arg);
    pthread_mutex_lock(&lock);
    int is_new = access(path, F_OK) != 0;
    int fd = call(arg);
    if (fd >= 0 && is_new && (flags & O_CREAT)) record(CREATE, path, NULL, NULL, 0, inode_of(fd, NULL), 0);
    else if (fd >= 0 && (flags & O_TRUNC)) record(TRUNCATE, path, NULL, NULL, 0, inode_of(fd, NULL), 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

struct open_args { int dir; const char *path; int flags; mode_t mode; };

static int do_open(void *p) {
    struct open_args *a = p;
    return real_open(a->path, a->flags, a->mode);
}

static int do_openat(void *p) {
    struct open_args *a = p;
    REAL(int, "openat", int, const char *, int, ...);
    return real(a->dir, a->path, a->flags, a->mode);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list list; va_start(list, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; va_end(list); \
        struct open_args a = {AT_FDCWD, path, flags, mode}; \
        return opened(path, flags, do_open, &a); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        va_list list; va_start(list, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(list, mode_t) : 0; va_end(list); \
        struct open_args a = {dir, path, flags, mode}; \
        char full[PATH_MAX]; join(dir, path, full); \
        return opened(full, flags, do_openat, &a); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t len) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real_write(fd, data, len);
    pthread_mutex_lock(&lock);
    off_t at = (fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, data, len);
    if (done > 0) record(WRITE, path, NULL, data, (size_t)done, inode_of(fd, NULL), (uint64_t)at);
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t placed(int fd, const void *data, size_t len, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd, data, len, at);
    pthread_mutex_lock(&lock);
    ssize_t done = real(fd, data, len, at);
    if (done > 0) record(WRITE, path, NULL, data, (size_t)done, inode_of(fd, NULL), (uint64_t)at);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return placed(fd, data, len, at); }
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) { return placed(fd, data, len, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t sum = 0;
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len == 0) continue;
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return sum > 0 ? sum : done;
        sum += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return sum;
}

static int cut(int fd, off_t len) {
    REAL(int, "ftruncate", int, off_t);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd, len);
    pthread_mutex_lock(&lock);
    int done = real(fd, len);
    if (done == 0) record(TRUNCATE, path, NULL, NULL, 0, inode_of(fd, NULL), (uint64_t)len);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t len) { return cut(fd, len); }
int ftruncate64(int fd, off_t len) { return cut(fd, len); }

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (!mine(from)) return real(from, to);
    pthread_mutex_lock(&lock);
    int done = real(from, to);
    if (done == 0) record(RENAME, from, to, NULL, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (!mine(path)) return real(path);
    pthread_mutex_lock(&lock);
    int done = real(path);
    if (done == 0) record(UNLINK, path, NULL, NULL, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlinkat(int dir, const char *name, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    char path[PATH_MAX];
    join(dir, name, path);
    if (!mine(path)) return real(dir, name, flags);
    pthread_mutex_lock(&lock);
    int done = real(dir, name, flags);
    if (done == 0) record((flags & AT_REMOVEDIR) ? RMDIR : UNLINK, path, NULL, NULL, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    if (!mine(path)) return real(path, mode);
    pthread_mutex_lock(&lock);
    int done = real(path, mode);
    if (done == 0) record(MKDIR, path, NULL, NULL, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int rmdir(const char *path) {
    REAL(int, "rmdir", const char *);
    if (!mine(path)) return real(path);
    pthread_mutex_lock(&lock);
    int done = real(path);
    if (done == 0) record(RMDIR, path, NULL, NULL, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

static int synced(int fd, int (*real)(int)) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return real(fd);
    pthread_mutex_lock(&lock);
    int is_dir = 0;
    uint64_t inode = inode_of(fd, &is_dir);
    record(is_dir ? SYNC_DIR : SYNC_FILE, path, NULL, NULL, 0, inode, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return synced(fd, real);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return synced(fd, real);
}

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned int flags) {
    (void)len;
    (void)flags;
    char path[PATH_MAX];
    if (path_of(fd, path)) {
        pthread_mutex_lock(&lock);
        record(SYNC_RANGE, path, NULL, NULL, 0, inode_of(fd, NULL), (uint64_t)offset);
        pthread_mutex_unlock(&lock);
    }
    return 0;
}
