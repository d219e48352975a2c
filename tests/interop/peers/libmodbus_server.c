/* A Modbus server on libmodbus: `server tcp` on a free port of the loopback, or `server rtu <path>`.
 *
 * Says "ready <port>", then for each request "request <unit> <PDU in hex>". Unit 1; 200 addresses in each
 * table: registers hold 7a + 1000 (holding) and 11a + 5 (input), every third coil and every fifth input
 * is set. Everything else, exceptions too, is libmodbus's own. */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ADDRESSES = 200, PATIENCE_S = 60 };

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static void fill(modbus_mapping_t *map) {
    for (int a = 0; a < ADDRESSES; a++) {
        map->tab_registers[a] = (uint16_t)(7 * a + 1000);
        map->tab_input_registers[a] = (uint16_t)(11 * a + 5);
        map->tab_bits[a] = a % 3 == 0;
        map->tab_input_bits[a] = a % 5 == 0;
    }
}

/* One request; negative when the connection is over. */
static int serve(modbus_t *ctx, modbus_mapping_t *map, int is_rtu) {
    uint8_t query[MODBUS_MAX_ADU_LENGTH];
    int length = modbus_receive(ctx, query);
    if (length <= 0)
        return length;
    int header = modbus_get_header_length(ctx);
    int end = is_rtu ? length - 2 : length;
    printf("request %d ", query[header - 1]);
    for (int i = header; i < end; i++)
        printf("%02x", query[i]);
    printf("\n");
    fflush(stdout);
    return modbus_reply(ctx, query, length, map);
}

static void serve_tcp(modbus_t *ctx, modbus_mapping_t *map) {
    int listener = modbus_tcp_listen(ctx, 8);
    if (listener < 0)
        fail("listen");
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("ready %d\n", ntohs(address.sin_port));
    fflush(stdout);
    fd_set all;
    FD_ZERO(&all);
    FD_SET(listener, &all);
    int highest = listener;
    for (;;) {
        fd_set ready = all;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0)
            fail("select");
        for (int fd = 0; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int fresh = modbus_tcp_accept(ctx, &listener);
                if (fresh < 0)
                    continue;
                FD_SET(fresh, &all);
                highest = fresh > highest ? fresh : highest;
                continue;
            }
            modbus_set_socket(ctx, fd);
            if (serve(ctx, map, 0) < 0) {
                close(fd);
                FD_CLR(fd, &all);
            }
        }
    }
}

int main(int argc, char **argv) {
    int is_rtu = argc == 3 && strcmp(argv[1], "rtu") == 0;
    modbus_t *ctx = is_rtu ? modbus_new_rtu(argv[2], 115200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES);
    if (ctx == NULL || map == NULL)
        fail("new");
    fill(map);
    modbus_set_slave(ctx, 1);
    /* The machine may stand still in the middle of a frame. */
    modbus_set_byte_timeout(ctx, PATIENCE_S, 0);
    if (!is_rtu) {
        serve_tcp(ctx, map);
        return 0;
    }
    if (modbus_connect(ctx) < 0)
        fail("connect");
    printf("ready 0\n");
    fflush(stdout);
    for (;;) {
        /* A broken frame is not answered, and the line goes on. */
        if (serve(ctx, map, 1) < 0 && errno != EMBBADCRC)
            usleep(10000);
    }
}
