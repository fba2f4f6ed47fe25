/* loadgen: loads an STTP server on this machine and measures it, at little cost to itself.
 *
 * One thread, one epoll, persistent connections, closed loop: each connection keeps PIPELINE requests in flight and is
 * topped up when half of them are answered. Every reply is compared with the only right one, byte for byte; the first
 * that differs ends the run, because the figures of a server that answers wrongly mean nothing.
 *
 * usage: loadgen [-T] [-c CONNECTIONS] [-P PIPELINE] [-w WARM_UP] [-d SECONDS] [-p PID]... PORT SCRIPT
 *
 * SCRIPT is a file of requests, one a line, each followed by its reply: two lines if the first begins with "200 ", else
 * one. Requests are drawn from it at random, the same ones in every run. Each PID's CPU time is read when the warm-up
 * is over and again at the end, before a connection is closed. -T speaks TLS and believes any certificate; it is there
 * if this was built with -DWITH_TLS, -lssl and -lcrypto.
 *
 * Prints one line of JSON (times in us, CPU and seconds in s) and exits with 0; or says why not, and exits with 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#ifdef WITH_TLS
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#endif
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_PIPELINE = 256,   /* requests of one connection then fit into its socket's buffer: send need not wait */
    MAX_PIDS = 128,
    EVENTS = 1024,
    SEND_BYTES = 65536,
    RECEIVE_BYTES = 262144,
    SILENCE_MS = 10000,   /* a server that answers nobody for so long has failed */
    SUB_BUCKETS = 64,     /* per power of two: a latency is off by at most 1.6 % */
    BUCKETS = 64 * SUB_BUCKETS,
    LAST_RESORT = 60      /* seconds beyond the run's own length after which the kernel ends us */
};

struct exchange {
    const char *request, *reply;
    size_t request_bytes, reply_bytes;
};

struct flight {
    const struct exchange *exchange;
    uint64_t sent_at;
};

struct connection {
    int fd;
    unsigned oldest, count;  /* of `flights`, a ring */
    size_t matched;          /* bytes of the oldest one's reply that have come */
    struct flight *flights;
#ifdef WITH_TLS
    SSL *ssl; /* NULL without -T */
#endif
};

static struct exchange *script;
static size_t script_length;
static unsigned pipeline = 1;
static uint64_t latencies[BUCKETS], answered;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time)) return 0; /* a process that has ended */
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t now(void) { return nanoseconds(CLOCK_MONOTONIC); }

/* -- The script -- */

static char *read_file(const char *name, size_t *length) {
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("%s: %s", name, strerror(errno));
    *length = (size_t)ftell(file);
    char *text = malloc(*length + 1);
    rewind(file);
    if (!text || fread(text, 1, *length, file) != *length) fail("%s: cannot be read", name);
    fclose(file);
    return text;
}

static const char *next_line(const char *at, const char *end, const char *name) {
    const char *line_end = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (!line_end) fail("%s: a request without its reply", name);
    return line_end + 1;
}

static void load_script(const char *name) {
    size_t length, room = 0;
    const char *at = read_file(name, &length), *end = at + length;
    while (at < end) {
        if (script_length == room) {
            room = room ? 2 * room : 1024;
            script = realloc(script, room * sizeof *script);
            if (!script) fail("out of memory");
        }
        struct exchange *exchange = &script[script_length++];
        const char *reply = next_line(at, end, name), *after = next_line(reply, end, name);
        if (!strncmp(reply, "200 ", 4)) after = next_line(after, end, name);
        *exchange = (struct exchange){at, reply, (size_t)(reply - at), (size_t)(after - reply)};
        if (exchange->request_bytes * MAX_PIPELINE > SEND_BYTES) fail("%s: a request is too long", name);
        at = after;
    }
    if (!script_length) fail("%s: it is empty", name);
}

/* xorshift64*: a few cycles a number, and the same sequence in every run. */
static const struct exchange *draw(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return &script[(state * 0x2545f4914f6cdd1du >> 32) % script_length];
}

/* -- Latencies: buckets that are exact below 2 * SUB_BUCKETS ns, then SUB_BUCKETS for each power of two -- */

static void record(uint64_t latency) {
    unsigned shift = latency < 2 * SUB_BUCKETS ? 0 : 57 - (unsigned)__builtin_clzll(latency);
    latencies[shift * SUB_BUCKETS + (latency >> shift)]++;
}

/* In us: the smallest latency that this share of the requests did not exceed. */
static double quantile(double share) {
    uint64_t needed = (uint64_t)(share * (double)answered), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += latencies[i];
        if (seen > needed || (seen == answered && seen)) {
            unsigned shift = i < 2 * SUB_BUCKETS ? 0 : i / SUB_BUCKETS - 1;
            return (double)((uint64_t)(i - shift * SUB_BUCKETS + 1) << shift) / 1e3;
        }
    }
    return 0;
}

/* -- Bytes, plain or by TLS: as send and recv(MSG_DONTWAIT) -- */

#ifdef WITH_TLS
static SSL_CTX *tls;

static void shake_hands(struct connection *connection) {
    connection->ssl = SSL_new(tls);
    if (!connection->ssl || !SSL_set_fd(connection->ssl, connection->fd) || SSL_connect(connection->ssl) != 1)
        fail("no TLS handshake");
    fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK);
}

static ssize_t send_tls(struct connection *connection, const char *data, size_t length) {
    for (;;) {
        int sent = SSL_write(connection->ssl, data, (int)length);
        if (sent > 0) return sent;
        struct pollfd until = {.fd = connection->fd, .events = POLLOUT};
        if (SSL_get_error(connection->ssl, sent) != SSL_ERROR_WANT_WRITE || poll(&until, 1, SILENCE_MS) != 1) return -1;
    }
}

/* One record at most. There is room for it, so the rest is in the kernel, and epoll tells. */
static ssize_t receive_tls(struct connection *connection, char *data, size_t length) {
    int received = SSL_read(connection->ssl, data, (int)length);
    if (received > 0) return received;
    int reason = SSL_get_error(connection->ssl, received);
    if (reason == SSL_ERROR_ZERO_RETURN) return 0;
    errno = reason == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
    return -1;
}
#endif

static ssize_t send_some(struct connection *connection, const char *data, size_t length) {
#ifdef WITH_TLS
    if (connection->ssl) return send_tls(connection, data, length);
#endif
    return send(connection->fd, data, length, MSG_NOSIGNAL);
}

static ssize_t receive_some(struct connection *connection, char *data, size_t length) {
#ifdef WITH_TLS
    if (connection->ssl) return receive_tls(connection, data, length);
#endif
    return recv(connection->fd, data, length, MSG_DONTWAIT);
}

/* -- Connections -- */

static void open_connection(struct connection *connection, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = SILENCE_MS / 1000};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect obeys it too */
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to port %d: %s", port, strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#ifdef WITH_TLS
    if (tls) shake_hands(connection);
#endif
    connection->flights = calloc(pipeline, sizeof *connection->flights);
    if (!connection->flights) fail("out of memory");
}

static void top_up(struct connection *connection) {
    static char requests[SEND_BYTES];
    size_t length = 0;
    uint64_t sent_at = now();
    for (; connection->count < pipeline; connection->count++) {
        const struct exchange *exchange = draw();
        unsigned newest = (connection->oldest + connection->count) % pipeline;
        connection->flights[newest] = (struct flight){exchange, sent_at};
        memcpy(requests + length, exchange->request, exchange->request_bytes);
        length += exchange->request_bytes;
    }
    for (size_t sent = 0; sent < length;) {
        ssize_t more = send_some(connection, requests + sent, length - sent);
        if (more < 0) fail("a request could not be sent: %s", strerror(errno));
        sent += (size_t)more;
    }
}

static void complain(const struct exchange *exchange, const char *data, size_t length) {
    const char *end = memchr(data, '\n', length);
    fail("a wrong reply to '%.*s': '%.*s', expected '%.*s'", (int)exchange->request_bytes - 1, exchange->request,
         (int)(end ? (size_t)(end - data) : length), data, (int)exchange->reply_bytes - 1, exchange->reply);
}

static void take_in(struct connection *connection) {
    static char data[RECEIVE_BYTES];
    ssize_t received = receive_some(connection, data, sizeof data);
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0) fail("the server closed a connection: %s", received ? strerror(errno) : "end of stream");
    size_t at = 0, length = (size_t)received;
    uint64_t came_at = now();
    while (at < length) {
        const struct flight *flight = &connection->flights[connection->oldest];
        const struct exchange *exchange = flight->exchange;
        if (!connection->count) fail("the server sent what nobody asked for: '%.*s'", (int)(length - at), data + at);
        size_t piece = exchange->reply_bytes - connection->matched;
        if (piece > length - at) piece = length - at;
        if (memcmp(data + at, exchange->reply + connection->matched, piece)) complain(exchange, data + at, length - at);
        at += piece;
        connection->matched += piece;
        if (connection->matched < exchange->reply_bytes) break;
        record(came_at - flight->sent_at);
        answered++;
        connection->matched = 0;
        connection->oldest = (connection->oldest + 1) % pipeline;
        connection->count--;
    }
    if (connection->count <= pipeline / 2) top_up(connection);
}

static void exchange_until(int epoll, uint64_t end) {
    static struct epoll_event events[EVENTS];
    while (now() < end) {
        uint64_t left_ms = (end - now()) / 1000000u + 1, before = now();
        int count = epoll_wait(epoll, events, EVENTS, left_ms < SILENCE_MS ? (int)left_ms : SILENCE_MS);
        if (!count && now() - before >= SILENCE_MS * 1000000ull) fail("no reply for %d s", SILENCE_MS / 1000);
        for (int i = 0; i < count; i++) take_in(events[i].data.ptr);
    }
}

/* -- The run -- */

/* A process's CPU clock as the kernel numbers it (clock_getcpuclockid(3)): all its threads, the ended ones included,
 * to the nanosecond. /proc/PID/stat has the same figure in steps of 10 ms, which a short run cannot live with. */
static uint64_t cpu_time(const pid_t *pids, int count) {
    uint64_t total = 0;
    for (int i = 0; i < count; i++) total += nanoseconds((clockid_t)(~(unsigned)pids[i] << 3 | 2));
    return total;
}

static void raise_file_limit(void) {
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void print_result(double seconds, uint64_t server_cpu, uint64_t own_cpu) {
    printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f, \"server_cpu\": %.9f, \"generator_cpu\": %.9f, ", answered,
           seconds, (double)server_cpu / 1e9, (double)own_cpu / 1e9);
    printf("\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f}\n", quantile(0.5), quantile(0.99), quantile(0.999));
}

static void usage(void) {
    fputs("usage: loadgen [-T] [-c CONNECTIONS] [-P PIPELINE] [-w WARM_UP] [-d SECONDS] [-p PID]... PORT SCRIPT\n", stderr);
    exit(2);
}

int main(int argc, char **argv) {
    int connections = 50, pids_count = 0, option;
    double warm_up = 0, seconds = 1;
    pid_t pids[MAX_PIDS];
    while ((option = getopt(argc, argv, "Tc:P:w:d:p:")) != -1) {
#ifdef WITH_TLS
        if (option == 'T') {
            tls = SSL_CTX_new(TLS_client_method());
            if (!tls) fail("no TLS");
            SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
            continue;
        }
#endif
        if (option == 'c')
            connections = atoi(optarg);
        else if (option == 'P')
            pipeline = (unsigned)atoi(optarg);
        else if (option == 'w')
            warm_up = atof(optarg);
        else if (option == 'd')
            seconds = atof(optarg);
        else if (option == 'p' && pids_count < MAX_PIDS)
            pids[pids_count++] = (pid_t)atoi(optarg);
        else
            usage();
    }
    if (argc - optind != 2 || connections < 1 || pipeline < 1 || pipeline > MAX_PIPELINE || seconds <= 0) usage();
    alarm((unsigned)(warm_up + seconds) + LAST_RESORT);
    raise_file_limit();
    load_script(argv[optind + 1]);

    int epoll = epoll_create1(0), port = atoi(argv[optind]);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (epoll < 0 || !all) fail("out of memory");
    for (int i = 0; i < connections; i++) {
        struct epoll_event interest = {.events = EPOLLIN, .data.ptr = &all[i]};
        open_connection(&all[i], port);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &interest)) fail("epoll_ctl: %s", strerror(errno));
    }
    for (int i = 0; i < connections; i++) top_up(&all[i]);
    exchange_until(epoll, now() + (uint64_t)(warm_up * 1e9));

    memset(latencies, 0, sizeof latencies);
    answered = 0;
    uint64_t began = now(), server_cpu = cpu_time(pids, pids_count), own_cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    exchange_until(epoll, began + (uint64_t)(seconds * 1e9));
    double elapsed = (double)(now() - began) / 1e9;
    if (!answered) fail("no reply within %g s", seconds);
    server_cpu = cpu_time(pids, pids_count) - server_cpu;
    print_result(elapsed, server_cpu, nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own_cpu);
    return 0;
}
