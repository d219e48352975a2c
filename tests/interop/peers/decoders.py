"""The authors' own decoders of Bluetooth advertisements: bthome-ble and ruuvitag-sensor.

`make` invents advertisements with a fixed seed and says what the decoders make of them; `read <file>` does
the same with those of a file. A line has, between tabs: format, address, key or "-", data in hex, and for
each value "name|unit|value". In a file the values are left out.
"""

import logging
import random
import sys
from datetime import datetime

from bthome_ble.const import MEAS_TYPES
from bthome_ble.parser import BTHomeBluetoothDeviceData
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from habluetooth import BluetoothServiceInfoBleak
from ruuvitag_sensor.decoder import get_decoder

# What the libraries think of the data is in the values.
logging.disable(logging.CRITICAL)

SERVICE = "0000fcd2-0000-1000-8000-00805f9b34fb"
ADDRESS = "a4c138010203"
KEY = "231d39c1d7cc1ab1aee224cd096db932"
# Device information, and commands of which each maker has its own: no values.
WITHOUT_VALUE = {0x3B, 0xF0, 0xF1, 0xF2}
SENSORS = 3


def bthome(address, key, data):
    """Name, unit and value of each measurement."""
    device = BTHomeBluetoothDeviceData(bindkey=bytes.fromhex(key) if key != "-" else None)
    colons = ":".join(address[i : i + 2] for i in range(0, 12, 2)).upper()
    update = device.update(
        BluetoothServiceInfoBleak(
            name="sensor",
            address=colons,
            rssi=-60,
            manufacturer_data={},
            service_data={SERVICE: bytes.fromhex(data)},
            service_uuids=[SERVICE],
            source="",
            device=None,
            advertisement=None,
            connectable=False,
            time=0.0,
            tx_power=None,
        )
    )
    values = []
    units = {key: each.native_unit_of_measurement for key, each in update.entity_descriptions.items()}
    for name, value in update.entity_values.items():
        if name.key == "signal_strength":
            continue
        unit = units.get(name)
        value = value.native_value
        if isinstance(value, datetime):
            value = int(value.timestamp())
        values.append((name.key, getattr(unit, "value", unit) or "", value))
    for name, value in update.binary_entity_values.items():
        values.append((name.key, "", str(value.native_value).lower()))
    for name, event in update.events.items():
        kind, properties = event.event_type, event.event_properties
        if kind in ("rotate_left", "rotate_right"):
            kind = properties["steps"] * (-1 if kind == "rotate_left" else 1)
        values.append((name.key, "", kind))
    return values


# From the library's units to those of the maker's description, and the names there.
RUUVI = {
    "temperature": ("temperature", "°C", 1),
    "humidity": ("humidity", "%", 1),
    "pressure": ("pressure", "Pa", 100),
    "acceleration_x": ("acceleration_x", "g", 0.001),
    "acceleration_y": ("acceleration_y", "g", 0.001),
    "acceleration_z": ("acceleration_z", "g", 0.001),
    "battery": ("voltage", "V", 0.001),
    "tx_power": ("tx_power", "dBm", 1),
    "movement_counter": ("movements", "", 1),
    "measurement_sequence_number": ("sequence", "", 1),
    "pm_2_5": ("pm25", "µg/m³", 1),
    "co2": ("co2", "ppm", 1),
    "voc": ("voc", "", 1),
    "nox": ("nox", "", 1),
}


def ruuvi(data):
    kind = int(data[:2], 16)
    decoded = get_decoder(kind).decode_data(data)
    values = []
    for theirs, (name, unit, factor) in RUUVI.items():
        if decoded.get(theirs) is not None:
            values.append((name, unit, decoded[theirs] * factor))
    return values


def say(kind, address, key, data):
    values = bthome(address, key, data) if kind == "bthome" else ruuvi(data)
    shown = [f"{name}|{unit}|{value}" for name, unit, value in values]
    print(kind, address, key, data, *shown, sep="\t")


def measured(kind):
    """The bytes of one object with a random value."""
    about = MEAS_TYPES[kind]
    if about.data_format in ("string", "raw"):
        text = "".join(random.choice("abc ÄÖß€") for _ in range(random.randint(1, 6))).encode()
        return bytes([kind, len(text)]) + text
    if str(about.meas_format) == "button":
        return bytes([kind, random.choice([1, 2, 3, 4, 5, 6])])
    if str(about.meas_format) == "dimmer":
        return bytes([kind, random.choice([1, 2]), random.randint(1, 255)])
    if "BinarySensor" in type(about.meas_format).__name__:
        return bytes([kind, random.randint(0, 1)])
    return bytes([kind]) + random.randbytes(about.data_length)


def make():
    random.seed(2026)
    kinds = [kind for kind in MEAS_TYPES if kind not in WITHOUT_VALUE]
    for kind in kinds:
        for _ in range(SENSORS):
            say("bthome", ADDRESS, "-", "40" + measured(kind).hex())
    nonce = bytes.fromhex(ADDRESS) + bytes.fromhex("d2fc41")
    for counter in range(50):
        # Both kinds of mass have one name in the library, and the second hides the first.
        several = sorted(random.sample([k for k in kinds if k < 0x10 and k != 0x07], 3))
        plain = b"".join(measured(kind) for kind in several)
        count = random.randrange(1 << 32).to_bytes(4, "little")
        sealed = AESCCM(bytes.fromhex(KEY), tag_length=4).encrypt(nonce + count, plain, None)
        data = b"\x41" + sealed[:-4] + count + sealed[-4:]
        say("bthome", ADDRESS, KEY, data.hex())
        say("bthome", ADDRESS, "-", "40" + plain.hex())
    for _ in range(200):
        # Format 3: hundredths are below a hundred.
        head = bytes([3, random.randrange(201), random.randrange(256), random.randrange(100)])
        say("ruuvi", ADDRESS, "-", (head + random.randbytes(10)).hex())
        say("ruuvi", ADDRESS, "-", "05" + random.randbytes(17).hex() + ADDRESS)
        say("ruuvi", ADDRESS, "-", "06" + random.randbytes(16).hex() + ADDRESS[6:])


if sys.argv[1] == "make":
    make()
else:
    with open(sys.argv[2], encoding="utf-8") as file:
        for line in file:
            say(*line.rstrip("\n").split("\t"))
