"""The filter of system calls, read as the kernel reads it, for both machines that it is written for."""

import pytest

from course_lib.classroom.grading import call_filter


def answer(program, number, arguments=(), machine=None):
    """What the kernel would read out of a filter: its little language, interpreted."""
    words = {0: number, 4: call_filter.AUDIT[machine]}
    for place, value in enumerate([*arguments, *[0] * (6 - len(arguments))]):
        words[16 + 8 * place], words[20 + 8 * place] = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    line, loaded = 0, 0
    while True:
        code, yes, no, value = program[line]
        line += 1
        if code == call_filter.ANSWER:
            return value
        if code == call_filter.LOAD:
            loaded = words[value]
        elif code == call_filter.MASK:
            loaded &= value
        else:
            tests = {call_filter.EQUAL: loaded == value, call_filter.AT_LEAST: loaded >= value}
            line += yes if tests.get(code, bool(loaded & value)) else no


OWN = 4321
CONDITIONS = [
    ("clone", [0x3D0F00], "ALLOW"), ("clone", [17], "NOT_PERMITTED"), ("clone3", [], "NO_SUCH_CALL"),
    ("socketpair", [1, 1], "ALLOW"), ("socketpair", [1, 1 | 0o2000000], "ALLOW"), ("socketpair", [1, 2], "NOT_PERMITTED"),
    ("socketpair", [2, 1], "NOT_PERMITTED"), ("kill", [OWN], "ALLOW"), ("kill", [OWN + 1], "NOT_PERMITTED"),
    ("kill", [-1], "NOT_PERMITTED"), ("tgkill", [OWN, 9], "ALLOW"), ("tgkill", [1, OWN], "NOT_PERMITTED"),
    ("prlimit64", [0, 7, 0], "ALLOW"), ("prlimit64", [0, 7, 1 << 40], "NOT_PERMITTED"),
    ("prlimit64", [0, 7, 8], "NOT_PERMITTED"),
    ("fcntl", [3, 1], "ALLOW"), ("fcntl", [3, 8], "NOT_PERMITTED"), ("fcntl", [3, 10], "NOT_PERMITTED"),
    ("ioctl", [0, 0x5401], "ALLOW"), ("ioctl", [0, 0x5412], "NOT_PERMITTED"), ("prctl", [15], "ALLOW"),
    ("prctl", [1], "NOT_PERMITTED"), ("prctl", [4, 1], "NOT_PERMITTED"),
]  # fmt: skip


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_answers_alike_on_both_machines(machine):
    program = call_filter.program(machine, OWN)
    refused, conditional = call_filter.numbers(machine)
    assert all(answer(program, n, machine=machine) == call_filter.NOT_PERMITTED for n in refused.values())
    assert not {*refused.values()} & {*conditional.values()}
    for name, arguments, expected in CONDITIONS:
        assert answer(program, conditional[name], arguments, machine) == getattr(call_filter, expected), (name, arguments)
    known = {*refused.values(), *conditional.values()}
    others = [n for n in range(call_filter.NEWEST + 1) if n not in known]
    assert all(answer(program, n, machine=machine) == call_filter.ALLOW for n in others)
    assert answer(program, call_filter.NEWEST + 1, machine=machine) == call_filter.NO_SUCH_CALL
    assert answer(program, 0x40000000 + 57, machine=machine) == call_filter.KILL
    foreign = next(m for m in call_filter.AUDIT if m != machine)
    assert answer(program, 0, machine=foreign) == call_filter.KILL
    assert len(call_filter.packed(program)) == 8 * len(program) < 8 * 4096
