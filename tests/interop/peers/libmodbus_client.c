/* A Modbus client on libmodbus: `client tcp <port>` or `client rtu <path>`, unit 1. Uses every function
 * once and says what came, a line each: "<name> <numbers>" or "<name> exception <code>". */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libmodbus leaves the silence of 3.5 characters before a request on a line to its caller, and our
 * simulator insists on it, as some devices do. */
enum { PATIENCE_S = 60, SILENCE_US = 10000 };

static modbus_t *ctx;

static modbus_t *quiet(void) {
    usleep(SILENCE_US);
    return ctx;
}

static void say(const char *name, int result) {
    if (result >= 0)
        printf("%s %d\n", name, result);
    else if (errno > MODBUS_ENOBASE && errno < EMBBADCRC)
        printf("%s exception %d\n", name, errno - MODBUS_ENOBASE);
    else {
        printf("%s failed: %s\n", name, modbus_strerror(errno));
        exit(1);
    }
}

static void words(const char *name, int result, const uint16_t *at) {
    if (result < 0) {
        say(name, result);
        return;
    }
    printf("%s", name);
    for (int i = 0; i < result; i++)
        printf(" %d", at[i]);
    printf("\n");
}

static void bits(const char *name, int result, const uint8_t *at) {
    if (result < 0) {
        say(name, result);
        return;
    }
    printf("%s", name);
    for (int i = 0; i < result; i++)
        printf(" %d", at[i]);
    printf("\n");
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    int is_rtu = strcmp(argv[1], "rtu") == 0;
    ctx = is_rtu ? modbus_new_rtu(argv[2], 115200, 'N', 8, 1)
                 : modbus_new_tcp("127.0.0.1", atoi(argv[2]));
    if (ctx == NULL || modbus_set_slave(ctx, 1) < 0)
        return 2;
    modbus_set_response_timeout(ctx, PATIENCE_S, 0);
    modbus_set_byte_timeout(ctx, PATIENCE_S, 0);
    say("connect", modbus_connect(ctx));

    uint8_t b[64];
    uint16_t w[125];
    bits("coils", modbus_read_bits(quiet(), 0, 10, b), b);
    bits("inputs", modbus_read_input_bits(quiet(), 0, 10, b), b);
    words("holding", modbus_read_registers(quiet(), 0, 5, w), w);
    words("input", modbus_read_input_registers(quiet(), 0, 5, w), w);
    words("nowhere", modbus_read_registers(quiet(), 5000, 2, w), w);

    say("write-coil", modbus_write_bit(quiet(), 1, 1));
    say("write-register", modbus_write_register(quiet(), 1, 4711));
    const uint8_t pattern[3] = {1, 0, 1};
    say("write-coils", modbus_write_bits(quiet(), 3, 3, pattern));
    const uint16_t numbers[2] = {0x1234, 0x5678};
    say("write-registers", modbus_write_registers(quiet(), 2, 2, numbers));
    /* Register 4: its low byte is kept, the high one becomes a5. */
    say("mask", modbus_mask_write_register(quiet(), 4, 0x00ff, 0xa500));
    say("refused", modbus_write_register(quiet(), 5000, 1));
    const uint16_t both[1] = {77};
    words("write-and-read", modbus_write_and_read_registers(quiet(), 0, 1, both, 0, 5, w), w);
    bits("coils-after", modbus_read_bits(quiet(), 0, 10, b), b);
    modbus_close(ctx);
    modbus_free(ctx);
    return 0;
}
