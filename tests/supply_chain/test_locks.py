"""What a lock names is read to the last line."""

import pytest

from supply_chain.locks import Pin, pins, read

DIGEST = "0123456789abcdef" * 4


def entry(requirement):
    """Write a pin with one hash."""
    return f"{requirement} \\\n    --hash=sha256:{DIGEST}\n"


def test_a_pin_has_its_hashes(tmp_path):
    """Name, version and every hash of an entry are read, its marker is not in the way."""
    lock = tmp_path / "lock"
    lock.write_text(entry("anyio==4.0") + entry("cffi==2.0 ; platform_python_implementation != 'PyPy'"))

    assert read(lock) == {Pin("anyio", "4.0"): [DIGEST], Pin("cffi", "2.0"): [DIGEST]}


@pytest.mark.parametrize(
    ("marker", "is_read"),
    [
        ("sys_platform == 'win32'", False),
        ("python_full_version >= '3.12' and sys_platform == 'emscripten'", False),
        ("sys_platform != 'emscripten'", True),
        ("python_full_version < '3.12' or sys_platform == 'win32'", True),
        ("sys_platform == 'win32' and python_full_version < '3.12' or python_full_version < '3.13'", True),
    ],
)
def test_what_is_for_other_systems_alone_is_left_out(tmp_path, marker, is_read):
    """The server does not run on Windows, nor in browsers, so nobody installs such a package."""
    lock = tmp_path / "lock"
    lock.write_text(entry("anyio==4.0") + entry(f"odd==312 ; {marker}"))

    assert list(read(lock)) == [Pin("anyio", "4.0"), *([Pin("odd", "312")] if is_read else [])]


@pytest.mark.parametrize("text", ["", "anyio==4.0\n", "anyio @ https://example.com/anyio.whl\n", entry("anyio==4.0") + "-r other\n"])
def test_a_line_that_is_no_pin_is_an_error(tmp_path, text):
    """What can not be read would not be checked."""
    lock = tmp_path / "lock"
    lock.write_text(text)

    with pytest.raises(ValueError, match="neither a pin nor a hash"):
        read(lock)


def test_a_pin_of_several_locks_is_named_once(tmp_path):
    """Locks share most of what they hold."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(entry("idna==3.0") + entry("anyio==4.0"))

    assert list(pins([tmp_path / "one", tmp_path / "two"])) == [Pin("anyio", "4.0"), Pin("idna", "3.0")]
