"""Devices and listeners on pyserial: `talk`, `instrument`, `listen` and `ask`, each with a path.

`talk` says five NMEA sentences, made by pynmea2, over and over. `instrument` answers SCPI-like questions and
says "set <value>" for each it was told. `listen` reads until it has heard each of the five kinds once, checked
and taken apart by pynmea2. `ask` asks an instrument who it is and what it measures.
"""

import sys
import time

import pynmea2
import serial

PATIENCE_S = 60
what, path = sys.argv[1:]
port = serial.Serial(path, 115200, timeout=PATIENCE_S)


def talk():
    sentences = [
        pynmea2.GGA("GP", "GGA", ("120456.50", "5333.0750", "N", "00959.6250", "W", "1", "08", "0.9", "12.5", "M", "47.0", "M", "", "")),
        pynmea2.RMC("GN", "RMC", ("120456.50", "A", "3330.0000", "S", "00959.6250", "E", "8.0", "90.0", "200326", "", "", "A")),
        pynmea2.VTG("GP", "VTG", ("90.0", "T", "", "M", "8.0", "N", "14.8", "K", "A")),
        pynmea2.GSA("GP", "GSA", ("A", "3", "03", "05", "07", "09", "", "", "", "", "", "", "", "", "1.6", "0.9", "1.3")),
        pynmea2.ZDA("GP", "ZDA", ("120456.00", "20", "03", "2026", "00", "00")),
    ]
    while True:
        for sentence in sentences:
            port.write((str(sentence) + "\r\n").encode())
        time.sleep(0.1)


def instrument():
    volt = "5.000"
    print("ready", flush=True)
    while True:
        line = port.readline().decode().strip()
        if line == "SOUR:VOLT?":
            port.write(f"{volt}\n".encode())
        elif line == "MEAS:CURR?":
            port.write(b"0.125\n")
        elif line.startswith("SOUR:VOLT "):
            volt = line.split()[1]
            print("set", volt, flush=True)


def listen():
    heard = {}
    # The first may be cut.
    port.readline()
    while len(heard) < 5:
        sentence = pynmea2.parse(port.readline().decode(), check=True)
        kind = sentence.sentence_type
        if kind == "GGA":
            heard[kind] = f"{sentence.latitude:.4f} {sentence.longitude:.4f} {sentence.altitude} {int(sentence.num_sats)}"
        elif kind == "RMC":
            heard[kind] = f"{sentence.status} {sentence.latitude:.4f} {sentence.longitude:.4f} {sentence.spd_over_grnd} {sentence.true_course}"
        elif kind == "VTG":
            heard[kind] = f"{sentence.true_track} {float(sentence.spd_over_grnd_kts)} {float(sentence.spd_over_grnd_kmph):.1f}"
        elif kind == "GSA":
            heard[kind] = f"{sentence.mode_fix_type} {sentence.hdop}"
        elif kind == "ZDA":
            drift = abs(sentence.datetime.timestamp() - time.time())
            heard[kind] = "" if drift < PATIENCE_S else f"is {drift} s off"
    for kind, text in heard.items():
        print(kind, text) if text else print(kind)


def ask():
    port.write(b"*IDN?\n")
    print(port.readline().decode().strip())
    port.write(b"MEAS:VOLT?\n")
    print(float(port.readline().decode()))


{"talk": talk, "instrument": instrument, "listen": listen, "ask": ask}[what]()
