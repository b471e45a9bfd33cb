/* A folder served as a bucket, with the latency and the bandwidths of a link: what a benchmark reads from.
 *
 *     server FOLDER BUCKET
 *
 * It prints the port that it listens on, on loopback, and serves /BUCKET/key from FOLDER/key until its standard input
 * ends. A thread for each connection, and sendfile: it takes some 30 us of a core for a request and 0.1 s for a
 * gigabyte, and tells in /__stats what it took.
 *
 * GET and HEAD, with Range (suffixes too) and If-Match, answered as S3 does: GetObject and "Error responses" in the
 * Amazon S3 API Reference; RFC 9110, sections 13 and 14. Listings are not needed and not served.
 *
 *     /__set?latency=0.02&connection=90e6&aggregate=1e9    seconds to the first byte; bytes a second; 0 for no bound
 *     /__stats                                             requests, bytes, seconds of CPU
 *     /__reset                                             begins to count anew
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MOST 16384 /* bytes of a request */
#define FIRST 8192      /* bytes that come with the headers of an answer, as a first flight of packets does */
#define LAG 0.002       /* seconds that a connection may catch up on, when it was read late */

#define BUCKET                                                                                   \
    "HTTP/1.1 200 OK\r\nx-amz-bucket-region: us-east-1\r\nContent-Type: application/xml\r\n" \
    "Content-Length: 0\r\nServer: AmazonS3\r\n\r\n"

static const char *root, *bucket;
static atomic_long requests, bytes_sent, numbers;
static double cpu_before; /* seconds of CPU at the last reset */

/* The link. Written by /__set alone, while nothing else is asked. */
static double latency, per_connection, aggregate;
static pthread_mutex_t line = PTHREAD_MUTEX_INITIALIZER;
static double line_free; /* when all that was sent so far has passed the shared line */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void sleep_until(double when) {
    struct timespec t = {(time_t)when, (long)((when - (time_t)when) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* Send all of a text; 0 if the client is gone. */
static int put(int to, const char *text, size_t size, int more) {
    while (size) {
        ssize_t n = send(to, text, size, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (n <= 0) return 0;
        text += n, size -= n;
    }
    return 1;
}

/* Return when `size` more bytes have come through: `own` is when the bytes before them had, on this connection. */
static double arrival(double *own, size_t size) {
    double t = now();
    if (per_connection > 0) {
        if (*own < t - LAG) *own = t - LAG;
        *own += size / per_connection;
    }
    double when = *own;
    if (aggregate > 0) {
        pthread_mutex_lock(&line);
        if (line_free < t - LAG) line_free = t - LAG;
        line_free += size / aggregate;
        if (line_free > when) when = line_free;
        pthread_mutex_unlock(&line);
    }
    return when;
}

/* Send a part of a file at the pace of the link, the first bytes at once; 0 if the client is gone. */
static int put_file(int to, int from, off_t start, size_t size) {
    int paced = per_connection > 0 || aggregate > 0;
    /* Half a millisecond's worth at a time, so that small answers are paced as exactly as large ones. */
    size_t stride = per_connection > 0 ? (size_t)(per_connection / 2000) : 65536;
    if (stride < 8192) stride = 8192;
    if (stride > 65536) stride = 65536;
    double own = now();
    size_t part = paced ? FIRST : size;
    for (int first = 1; size; first = 0, part = stride) {
        if (part > size) part = size;
        if (paced) {
            /* The first bytes wait for no more than what others have sent before them. */
            double when = arrival(&own, part);
            sleep_until(first && per_connection > 0 ? when - part / per_connection : when);
        }
        for (size_t left = part; left;) {
            ssize_t n = sendfile(to, from, &start, left);
            if (n <= 0) return 0;
            left -= n;
            atomic_fetch_add(&bytes_sent, n);
        }
        size -= part;
    }
    return 1;
}

/* Copy the value of a header of a request, without its name; 0 if it has none. */
static int header(const char *head, const char *name, char *value, size_t room) {
    size_t length = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at && at[2] != '\r'; at = strstr(at + 2, "\r\n")) {
        const char *found = at + 2;
        if (strncasecmp(found, name, length) || found[length] != ':') continue;
        found += length + 1;
        found += strspn(found, " \t");
        size_t n = strcspn(found, "\r");
        if (n >= room) return 0;
        memcpy(value, found, n);
        value[n] = 0;
        return 1;
    }
    return 0;
}

static int refuse(int to, int status, const char *reason, const char *code, const char *more, const char *fields,
                  int bodiless) {
    char body[1024], text[2048];
    long number = atomic_fetch_add(&numbers, 1);
    int size = snprintf(body, sizeof body,
                        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message>%s"
                        "<RequestId>%016lX</RequestId><HostId>benchmark</HostId></Error>",
                        code, reason, fields, number);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d %s\r\nx-amz-request-id: %016lX\r\nContent-Type: application/xml\r\n%s"
                     "Content-Length: %d\r\nServer: AmazonS3\r\n\r\n",
                     status, code, number, more, size);
    return put(to, text, n, 0) && (bodiless || put(to, body, size, 0));
}

/* Answer what is asked about the server itself. */
static int inner(int to, const char *path) {
    char body[256], text[512];
    if (!strncmp(path, "/__set?", 7)) {
        const char *at;
        if ((at = strstr(path, "latency="))) latency = atof(at + 8);
        if ((at = strstr(path, "connection="))) per_connection = atof(at + 11);
        if ((at = strstr(path, "aggregate="))) aggregate = atof(at + 10);
    } else if (!strcmp(path, "/__reset")) {
        atomic_store(&requests, 0);
        atomic_store(&bytes_sent, 0);
        cpu_before = cpu_seconds();
    } else if (strcmp(path, "/__stats")) {
        return refuse(to, 404, "The server has no such page.", "NoSuchKey", "", "", 0);
    }
    int size = snprintf(body, sizeof body, "{\"requests\": %ld, \"bytes\": %ld, \"cpu\": %.6f}", atomic_load(&requests),
                        atomic_load(&bytes_sent), cpu_seconds() - cpu_before);
    int n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                     size, body);
    return put(to, text, n, 0);
}

/* Read what a Range header asks for, as [start, stop); 0 if it is to be ignored. */
static int span(const char *text, off_t size, off_t *start, off_t *stop) {
    long long from, to;
    char tail;
    if (sscanf(text, "bytes=-%lld%c", &to, &tail) == 1 && to >= 0) {
        *start = to < size ? size - to : 0, *stop = size;
        if (!to) *start = size;
        return 1;
    }
    int n = sscanf(text, "bytes=%lld-%lld%c", &from, &to, &tail);
    if (n == 2 && to >= from) {
        *start = from, *stop = to + 1 < size ? to + 1 : size;
        return 1;
    }
    if (n == 1 && text[strlen(text) - 1] == '-') {
        *start = from, *stop = size;
        return 1;
    }
    return 0;
}

static int object(int to, const char *head, const char *key, int bodiless) {
    char path[4096], value[512], more[128] = "", fields[512];
    struct stat facts;
    snprintf(path, sizeof path, "%s/%s", root, key);
    int from = strstr(key, "..") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &facts) || !S_ISREG(facts.st_mode)) {
        if (from >= 0) close(from);
        snprintf(fields, sizeof fields, "<Key>%.400s</Key>", key);
        return refuse(to, 404, "The specified key does not exist.", "NoSuchKey", "", fields, bodiless);
    }
    char etag[64], date[64];
    snprintf(etag, sizeof etag, "%016llx%016llx", (unsigned long long)facts.st_ino * 2654435761u,
             (unsigned long long)facts.st_mtim.tv_sec * 1000000007u + facts.st_mtim.tv_nsec + facts.st_size);
    struct tm when;
    gmtime_r(&facts.st_mtime, &when);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &when);
    if (header(head, "If-Match", value, sizeof value) && !strstr(value, etag) && strcmp(value, "*")) {
        close(from);
        return refuse(to, 412, "At least one of the pre-conditions you specified did not hold", "PreconditionFailed", "",
                      "<Condition>If-Match</Condition>", bodiless);
    }
    off_t start = 0, stop = facts.st_size;
    int partial = header(head, "Range", value, sizeof value) && span(value, facts.st_size, &start, &stop);
    if (partial && start >= stop) {
        close(from);
        snprintf(more, sizeof more, "Content-Range: bytes */%lld\r\n", (long long)facts.st_size);
        snprintf(fields, sizeof fields, "<RangeRequested>%.100s</RangeRequested><ActualObjectSize>%lld</ActualObjectSize>",
                 value, (long long)facts.st_size);
        return refuse(to, 416, "The requested range is not satisfiable", "InvalidRange", more, fields, bodiless);
    }
    if (partial)
        snprintf(more, sizeof more, "Content-Range: bytes %lld-%lld/%lld\r\n", (long long)start, (long long)stop - 1,
                 (long long)facts.st_size);
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %s\r\nx-amz-id-2: benchmark\r\nx-amz-request-id: %016lX\r\nLast-Modified: %s\r\n"
                     "ETag: \"%s\"\r\nAccept-Ranges: bytes\r\n%sContent-Type: binary/octet-stream\r\n"
                     "Content-Length: %lld\r\nServer: AmazonS3\r\n\r\n",
                     partial ? "206 Partial Content" : "200 OK", atomic_fetch_add(&numbers, 1), date, etag, more,
                     (long long)(stop - start));
    int alive = put(to, text, n, !bodiless && stop > start) && (bodiless || put_file(to, from, start, stop - start));
    close(from);
    return alive;
}

/* Replace %41 by A, in place. */
static void decode(char *text) {
    char *to = text;
    for (; *text; text++, to++) {
        unsigned code;
        if (*text == '%' && sscanf(text + 1, "%2x", &code) == 1 && text[1] && text[2])
            *to = (char)code, text += 2;
        else
            *to = *text;
    }
    *to = 0;
}

static int answer(int to, char *head) {
    double came = now();
    char method[16], target[4096], value[64];
    if (sscanf(head, "%15s %4095s", method, target) != 2) return 0;
    if (!strncmp(target, "/__", 3)) return inner(to, target);
    atomic_fetch_add(&requests, 1);
    if (latency > 0) sleep_until(came + latency);
    int bodiless = !strcmp(method, "HEAD"), last = header(head, "Connection", value, sizeof value) && !strcasecmp(value, "close");
    if (!bodiless && strcmp(method, "GET"))
        return refuse(to, 405, "The specified method is not allowed against this resource.", "MethodNotAllowed", "", "", 0);
    target[strcspn(target, "?")] = 0;
    decode(target);
    size_t length = strlen(bucket);
    if (target[0] != '/' || strncmp(target + 1, bucket, length) || !strchr("/", target[1 + length]))
        return refuse(to, 404, "The specified bucket does not exist", "NoSuchBucket", "", "", bodiless);
    if (strlen(target) < length + 3) /* the bucket itself: HeadBucket tells its region */
        return bodiless ? put(to, BUCKET, sizeof BUCKET - 1, 0)
                        : refuse(to, 501, "This server does not list.", "NotImplemented", "", "", 0);
    return object(to, head, target + 2 + length, bodiless) && !last;
}

static void *serve(void *argument) {
    int to = (int)(long)argument, one = 1;
    prctl(PR_SET_TIMERSLACK, 1); /* 50 us too late, as threads are by default, adds up over strides */
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *held = malloc(HEAD_MOST + 1);
    size_t have = 0;
    for (int alive = 1; alive;) {
        held[have] = 0;
        char *end = strstr(held, "\r\n\r\n");
        if (!end) {
            ssize_t n = have < HEAD_MOST ? recv(to, held + have, HEAD_MOST - have, 0) : 0;
            if (n <= 0) break;
            have += n;
            continue;
        }
        size_t size = end + 4 - held;
        char next = held[size];
        held[size] = 0;
        alive = answer(to, held);
        held[size] = next;
        memmove(held, held + size, have -= size);
    }
    free(held);
    close(to);
    return NULL;
}

static void *farewell(void *argument) {
    char byte;
    while (read(0, &byte, 1) > 0) {}
    exit(0);
    return argument;
}

int main(int count, char **argv) {
    if (count != 3) {
        fprintf(stderr, "usage: server FOLDER BUCKET\n");
        return 2;
    }
    root = argv[1], bucket = argv[2];
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    if (bind(listener, (struct sockaddr *)&where, size) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&where, &size)) {
        perror("server");
        return 1;
    }
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    pthread_create(&thread, &small, farewell, NULL);
    for (;;) {
        int to = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (to >= 0 && pthread_create(&thread, &small, serve, (void *)(long)to)) close(to);
    }
}
