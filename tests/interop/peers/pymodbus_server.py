"""A Modbus server on pymodbus: `tcp` on a free port of the loopback, or `rtu <path>`.

Says "ready <port>", then "request <unit> <PDU in hex>" for each request. The same tables as the libmodbus
server's: 200 addresses each, unit 1.
"""

import asyncio
import sys

from pymodbus import FramerType
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer

ADDRESSES = range(200)


def block(value):
    # A block begins at 1: the context adds one to every address.
    return ModbusSequentialDataBlock(1, [value(a) for a in ADDRESSES])


def said(sending, pdu):
    if not sending:
        print("request", pdu.dev_id, bytes([pdu.function_code]).hex() + pdu.encode().hex(), flush=True)
    return pdu


async def main():
    unit = ModbusDeviceContext(
        hr=block(lambda a: 7 * a + 1000),
        ir=block(lambda a: 11 * a + 5),
        co=block(lambda a: a % 3 == 0),
        di=block(lambda a: a % 5 == 0),
    )
    context = ModbusServerContext(devices={1: unit}, single=False)
    if sys.argv[1] == "rtu":
        server = ModbusSerialServer(
            context, framer=FramerType.RTU, port=sys.argv[2], baudrate=115200, trace_pdu=said
        )
    else:
        server = ModbusTcpServer(context, address=("127.0.0.1", 0), trace_pdu=said)
    await server.serve_forever(background=True)
    port = 0
    if sys.argv[1] == "tcp":
        port = server.transport.sockets[0].getsockname()[1]
    print("ready", port, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
