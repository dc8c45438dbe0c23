"""A second opinion on where the time of a call goes: cProfile, which sees the call as it is, and slows each function that it sees."""

import cProfile
import time
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType, MethodType

Function = FunctionType | MethodType


def shares(
    call: Callable[[], object],
    whole: Function,
    stages: Mapping[str, Iterable[Function]],
    seconds: float = 1.0,
    timer: Callable[[], float] = time.perf_counter,
) -> Mapping[str, float]:
    """Find which part of a call each stage takes, what it calls included.

    Args:
        call: made again and again.
        whole: the function of this project that it runs, once.
        stages: functions of each stage; none may call another of its stage.
        seconds: to go on for.
        timer: tells the seconds that are shared out.

    Returns:
        Parts of one by stage, of those that are reached.
    """
    profile = cProfile.Profile(timer)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        profile.enable()
        call()
        profile.disable()
    took = {entry.code: entry.totaltime for entry in profile.getstats()}
    found = {name: [took[code] for each in functions if (code := _code(each)) in took] for name, functions in stages.items()}
    return {name: sum(parts) / took[_code(whole)] for name, parts in found.items() if parts}


def _code(function: Function) -> CodeType:
    """Find what a function and its bound methods have in common."""
    return function.__code__ if isinstance(function, FunctionType) else function.__func__.__code__
