/* floor: what the system calls alone cost. A limit, not a server.
 *
 * One thread, one epoll; one recv and one send for whatever a connection has sent by now, however many lines that is.
 * Every line, whatever it says, is answered with the same ready bytes: nothing is parsed, looked up or checked, no
 * file is read, no time limit is kept. A single-threaded server that does its work for every request cannot cost less
 * than this on the same machine, so "x floor" is how far from the possible a server is.
 *
 * It sends with a blocking send: a client that never reads would hold up all the others.
 *
 * usage: floor PORT        (127.0.0.1; the reply is the one to SHOW /snippets/snippet_500.txt)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char REPLY[] = "200 /snippets/snippet_500.txt OK\nThis is pre-defined snippet number 501\n";

enum { REPLY_BYTES = sizeof REPLY - 1, READ_BYTES = 65536, EVENTS = 512, BACKLOG = 4096 };

static char received[READ_BYTES];
static char replies[(size_t)READ_BYTES * REPLY_BYTES]; /* even if every byte received were a line end */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on(int port) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0) fail("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
    if (listen(listener, BACKLOG)) fail("listen");
    return listener;
}

static void accept_all(int epoll, int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, 0)) >= 0) {
        struct epoll_event interest = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest)) fail("epoll_ctl");
    }
}

static void answer(int fd) {
    ssize_t count = recv(fd, received, sizeof received, MSG_DONTWAIT);
    if (count <= 0) { /* level-triggered: what is readable gives bytes, an end or an error */
        close(fd);
        return;
    }
    size_t length = 0;
    for (char *at = received; (at = memchr(at, '\n', received + count - at)); at++) {
        memcpy(replies + length, REPLY, REPLY_BYTES);
        length += REPLY_BYTES;
    }
    for (size_t sent = 0; sent < length;) {
        ssize_t more = send(fd, replies + sent, length - sent, MSG_NOSIGNAL);
        if (more < 0) {
            close(fd);
            return;
        }
        sent += more;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: floor PORT\n");
        return 2;
    }
    int listener = listen_on(atoi(argv[1])), epoll = epoll_create1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener}, ready[EVENTS];
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &interest)) fail("epoll");
    for (;;) {
        int count = epoll_wait(epoll, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener)
                accept_all(epoll, listener);
            else
                answer(ready[i].data.fd);
        }
    }
}
