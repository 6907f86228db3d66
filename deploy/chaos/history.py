"""The log as `controlplane events export` writes it, read without anything but Python."""

import base64
import json
import struct
from datetime import datetime

ENDS = ("execution.completed", "execution.failed")


class Event:
    __slots__ = ("at", "execution", "name", "payload", "version")

    def __init__(self, execution, version, name, at, payload):
        self.execution = execution
        self.version = version
        self.name = name
        self.at = at
        self.payload = payload

    @property
    def step(self):
        return self.payload.get("stepId")

    @property
    def is_end(self):
        return self.name in ENDS or (self.name == "plan.rejected" and self.payload["final"])

    def __str__(self):
        shown = ("stepId", "attempt", "takeover", "errorCode", "cause", "outcome")
        said = " ".join(str(self.payload[member]) for member in shown if self.payload.get(member))
        return f"{self.version:>3} {self.name} {said}"


def read(path):
    """The executions' events by execution, in the order of the log; and all incidents."""
    executions, incidents = {}, []
    with open(path, encoding="utf-8") as file:
        header = json.loads(next(file))
        if header["format"] != "cp.export.v1":
            raise ValueError(f"{path}: an export of another format, {header['format']}")
        for line in file:
            message = json.loads(line)
            _, _, aggregate, _, subject_id, version, name = message["subject"].split(".", 6)
            if aggregate not in ("execution", "incident"):
                continue
            headers = dict(message["headers"])
            payload = unpack(base64.b64decode(message["payload"]))
            event = Event(subject_id, int(version), name, instant(headers["ce-time"]), payload)
            if aggregate == "incident":
                incidents.append(event)
            else:
                executions.setdefault(subject_id, []).append(event)
    return executions, incidents


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def unpack(data):
    """MessagePack, as far as events use it."""
    value, end = _unpack(memoryview(data), 0)
    if end != len(data):
        raise ValueError("more than one value")
    return value


FIXED = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
LENGTHS = {
    0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
    0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I",
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def _unpack(data, at):
    tag = data[at]
    at += 1
    if tag <= 0x7F:
        return tag, at
    if tag >= 0xE0:
        return tag - 0x100, at
    if tag in CONSTANTS:
        return CONSTANTS[tag], at
    if tag in FIXED:
        form = FIXED[tag]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if tag <= 0x8F:
        return _map(data, at, tag & 0x0F)
    if tag <= 0x9F:
        return _list(data, at, tag & 0x0F)
    if tag <= 0xBF:
        return _text(data, at, tag & 0x1F)
    form = LENGTHS[tag]
    length = struct.unpack_from(form, data, at)[0]
    at += struct.calcsize(form)
    if tag <= 0xC6:
        return bytes(data[at : at + length]), at + length
    if tag <= 0xDB:
        return _text(data, at, length)
    return (_list if tag <= 0xDD else _map)(data, at, length)


def _text(data, at, length):
    return str(data[at : at + length], "utf-8"), at + length


def _list(data, at, length):
    items = []
    for _ in range(length):
        item, at = _unpack(data, at)
        items.append(item)
    return items, at


def _map(data, at, length):
    members = {}
    for _ in range(length):
        key, at = _unpack(data, at)
        members[key], at = _unpack(data, at)
    return members, at
