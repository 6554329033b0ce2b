"""A recording client (SRC, RFC 7866) of our own: places a SIPREC call, plays audio, and checks what was recorded.

`await ProbeCall(plan, target).run()` gives a ProbeResult, `wait_for_recording(root, ...)` the folder, and
`verify(result, folder)` a VerifyReport. `PjsuaCall` does the same through a SIP stack written by others.
"""

from siprec.probe.call import ProbeCall
from siprec.probe.errors import CallFailed, ProbeError
from siprec.probe.pjsua_call import PjsuaCall
from siprec.probe.plan import CallPlan
from siprec.probe.report import Check, VerifyReport
from siprec.probe.result import LegResult, ProbeResult
from siprec.probe.search import wait_for_recording
from siprec.probe.target import Target
from siprec.probe.verify import verify

__all__ = [
    "CallFailed",
    "CallPlan",
    "Check",
    "LegResult",
    "PjsuaCall",
    "ProbeCall",
    "ProbeError",
    "ProbeResult",
    "Target",
    "VerifyReport",
    "verify",
    "wait_for_recording",
]
