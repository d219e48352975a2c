"""A Modbus client on pymodbus: `tcp <port>` or `rtu <path>`, unit 1. The same questions and the same words
as the libmodbus client's."""

import sys
import time

from pymodbus.client import ModbusSerialClient, ModbusTcpClient

PATIENCE_S = 60
# pymodbus leaves the silence of 3.5 characters before a request on a line to its caller, and our simulator
# insists on it, as some devices do.
SILENCE_S = 0.01
where = sys.argv[2]
if sys.argv[1] == "rtu":
    client = ModbusSerialClient(where, baudrate=115200, timeout=PATIENCE_S, retries=0)
else:
    client = ModbusTcpClient("127.0.0.1", port=int(where), timeout=PATIENCE_S, retries=0)
print("connect", 0 if client.connect() else "failed")


def say(name, answer, value=None):
    time.sleep(SILENCE_S)
    if answer.isError():
        print(name, "exception", answer.exception_code)
        return
    value = 1 if value is None else value(answer)
    print(name, *(value if isinstance(value, list) else [value]))


def bits(count):
    return lambda answer: [int(bit) for bit in answer.bits[:count]]


def words(answer):
    return list(answer.registers)


say("coils", client.read_coils(0, count=10), bits(10))
say("inputs", client.read_discrete_inputs(0, count=10), bits(10))
say("holding", client.read_holding_registers(0, count=5), words)
say("input", client.read_input_registers(0, count=5), words)
say("nowhere", client.read_holding_registers(5000, count=2), words)
say("write-coil", client.write_coil(1, True))
say("write-register", client.write_register(1, 4711))
say("write-coils", client.write_coils(3, [True, False, True]), lambda _: 3)
say("write-registers", client.write_registers(2, [0x1234, 0x5678]), lambda _: 2)
say("mask", client.mask_write_register(address=4, and_mask=0x00FF, or_mask=0xA500))
say("refused", client.write_register(5000, 1))
both = client.readwrite_registers(read_address=0, read_count=5, write_address=0, values=[77])
say("write-and-read", both, words)
say("coils-after", client.read_coils(0, count=10), bits(10))
client.close()
