"""without_io_uring.py ERRNO PROGRAM [ARGUMENT]...

Becomes the program, which the kernel then refuses io_uring: what a container's seccomp profile does.
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RETURN_ERRNO, RETURN_ALLOW = 0x00050000, 0x7FFF0000
IO_URING_SETUP = 425  # on all machines but alpha


def rule(code, value, jump_true=0, jump_false=0):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def main():
    rules = b"".join((
        rule(LOAD_WORD, 0),  # the system call's number
        rule(JUMP_IF_EQUAL, IO_URING_SETUP, 0, 1),
        rule(RETURN, RETURN_ERRNO | int(sys.argv[1])),
        rule(RETURN, RETURN_ALLOW),
    ))
    held = ctypes.create_string_buffer(rules, len(rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules) // 8, ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, program):
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.execv(sys.argv[2], sys.argv[2:])


main()
