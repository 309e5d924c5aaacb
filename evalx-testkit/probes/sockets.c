/* Class 7: sockets. Nothing is ever sent to an address beyond loopback. */
#include "probe.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* socket FAMILY TYPE PROTOCOL: can't be made. */
static int refused_socket(int argc, char **argv) {
    int family = (int)number(argc, argv, 1, AF_INET), kind = (int)number(argc, argv, 2, SOCK_STREAM);
    int fd = socket(family, kind, (int)number(argc, argv, 3, 0));
    if (fd >= 0) return escaped("a socket of family %d, type %d was made", family, kind);
    int pair[2];
    return socketpair(family, kind, 0, pair) == 0 ? escaped("a pair of family %d was made", family) : HELD;
}

/* make-socket FAMILY: plainly makes one, for the strict policy to name the call. */
static int make_socket(int argc, char **argv) {
    int fd = socket((int)number(argc, argv, 1, AF_UNIX), SOCK_STREAM, 0);
    return fd < 0 ? REFUSED : 0;
}

static int fork_once(int argc, char **argv) {
    (void)argc, (void)argv;
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    return pid < 0 ? REFUSED : 0;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A service of the host on its loopback is out of reach. */
static int loopback_services(int argc, char **argv) {
    const int ports[] = {22, 25, 53, 80, 443, 631, 2375, 3306, 5432, 6379, 8080, 9200};
    (void)argc, (void)argv;
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0) return HELD;
        struct sockaddr_in to = loopback(ports[i]);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return escaped("port %d answered", ports[i]);
        close(fd);
    }
    return HELD;
}

/* loopback-talk: a server and a client of one program. */
static int loopback_talk(int argc, char **argv) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    char byte = 0;
    (void)argc, (void)argv;
    if (server < 0) return REFUSED;
    if (bind(server, (struct sockaddr *)&at, sizeof at) < 0 || listen(server, 1) < 0) return REFUSED;
    getsockname(server, (struct sockaddr *)&at, &size);
    if (fork() == 0) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&at, size) < 0 || write(client, "x", 1) != 1) _exit(1);
        _exit(0);
    }
    int peer = accept(server, NULL, NULL);
    return peer >= 0 && read(peer, &byte, 1) == 1 && byte == 'x' ? 0 : REFUSED;
}

/* loopback-listen PORT / loopback-connect PORT: across sessions, nothing connects. */
static int loopback_listen(int argc, char **argv) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = loopback((int)number(argc, argv, 1, 4321));
    if (server < 0) return REFUSED;
    if (bind(server, (struct sockaddr *)&at, sizeof at) < 0 || listen(server, 4) < 0) return setup_failed("bind");
    say("ready");
    pause_forever();
}

static int loopback_connect(int argc, char **argv) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = loopback((int)number(argc, argv, 1, 4321));
    if (client < 0) return HELD;
    return connect(client, (struct sockaddr *)&to, sizeof to) == 0 ? escaped("another session answered") : HELD;
}

/* only-loopback: there is no interface but `lo`, and no route. */
static int only_loopback(int argc, char **argv) {
    (void)argc, (void)argv;
    struct if_nameindex *list = if_nameindex();
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq devices[64];
    struct ifconf all = {.ifc_len = sizeof devices, .ifc_req = devices};
    for (struct if_nameindex *one = list; one && one->if_index; one++)
        if (strcmp(one->if_name, "lo") != 0 && strncmp(one->if_name, "tunl", 4) != 0 &&
            strncmp(one->if_name, "sit", 3) != 0 && strncmp(one->if_name, "ip6tnl", 6) != 0)
            return escaped("there is an interface %s", one->if_name);
    if (fd >= 0 && ioctl(fd, SIOCGIFCONF, &all) == 0)
        for (size_t i = 0; i < (size_t)all.ifc_len / sizeof *devices; i++)
            if (strcmp(devices[i].ifr_name, "lo") != 0)
                return escaped("the interface %s has an address", devices[i].ifr_name);
    FILE *routes = fopen("/proc/net/route", "r");
    char line[512];
    int lines = 0;
    while (routes && fgets(line, sizeof line, routes)) lines++;
    return lines > 1 ? escaped("there are routes") : HELD;
}

static socklen_t unix_address(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    strncpy(address->sun_path, path, sizeof address->sun_path - 1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + (path[0] != '@'));
    if (path[0] == '@') address->sun_path[0] = 0;
    return size;
}

/* unix-connect PATH...: none of them answers; `@name` is an abstract one. */
static int unix_connect(int argc, char **argv) {
    for (int i = 1; i < argc && (argv[i][0] == '/' || argv[i][0] == '@'); i++) {
        const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
        for (int k = 0; k < 3; k++) {
            struct sockaddr_un to;
            socklen_t size = unix_address(&to, argv[i]);
            int fd = socket(AF_UNIX, kinds[k], 0);
            if (fd < 0) continue;
            if (connect(fd, (struct sockaddr *)&to, size) == 0) return escaped("%s answered", argv[i]);
            close(fd);
        }
    }
    return HELD;
}

static int unix_listen(int argc, char **argv) {
    struct sockaddr_un at;
    socklen_t size = unix_address(&at, text(argc, argv, 1, "@evalx"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 4) < 0) return setup_failed("bind");
    say("ready");
    pause_forever();
}

/* No abstract name of anybody else is listed. */
static int unix_listed(int argc, char **argv) {
    char line[512];
    FILE *list = fopen("/proc/net/unix", "r");
    (void)argc, (void)argv;
    while (list && fgets(line, sizeof line, list)) {
        char *name = strchr(line, '@');
        if (name) return escaped("the abstract socket %s is listed", name);
    }
    return HELD;
}

const struct probe socket_probes[] = {
    {"socket", refused_socket},
    {"make-socket", make_socket},
    {"fork-once", fork_once},
    {"loopback-services", loopback_services},
    {"loopback-talk", loopback_talk},
    {"loopback-listen", loopback_listen},
    {"loopback-connect", loopback_connect},
    {"only-loopback", only_loopback},
    {"unix-connect", unix_connect},
    {"unix-listen", unix_listen},
    {"unix-listed", unix_listed},
    {0},
};
