"""`siprec probe`: place a SIPREC call at a recorder, and check what it recorded."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from siprec.cli.options import AsJson, ConfigFile, configuration

_Target = Annotated[
    str, typer.Argument(metavar="sip:HOST:PORT", help="The recorder; ;transport=tcp may follow.")
]
_Duration = Annotated[
    float | None,
    typer.Option("--duration", metavar="S", help="Seconds of audio; 5, or as long as the longer file."),
]
_Transport = Annotated[Literal["udp", "tcp"] | None, typer.Option(help="Of SIP; udp if nothing says tcp.")]
_Left = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Sound of the caller; any rate, any channels.")
]
_Right = Annotated[Path | None, typer.Option(metavar="FILE", help="Sound of the callee.")]
_Tunes = Annotated[bool, typer.Option("--tunes", help="Two tunes instead of two voices.")]
_Codec = Annotated[Literal["pcmu", "pcma"], typer.Option(help="Encoding of the audio.")]
_Loss = Annotated[float, typer.Option(metavar="PCT", help="Leave out so many packets, in percent.")]
_Reorder = Annotated[int, typer.Option(metavar="N", help="Let packets overtake each other by up to N.")]
_Duplicate = Annotated[float, typer.Option(metavar="PCT", help="Send so many packets twice, in percent.")]
_Hold = Annotated[float, typer.Option(metavar="S", help="Hold the call for so long in the middle.")]
_Dtmf = Annotated[str, typer.Option(metavar="DIGITS", help="Keys that the caller presses (RFC 4733).")]
_SsrcChange = Annotated[bool, typer.Option("--ssrc-change", help="Change the SSRC during the call.")]
_Srtp = Annotated[
    Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"]
    | None,
    typer.Option(
        metavar="SUITE", help="Encrypt the audio, with keys in the SDP, e.g. AES_CM_128_HMAC_SHA1_80."
    ),
]
_NoMetadata = Annotated[bool, typer.Option("--no-metadata", help="Send no rs-metadata.")]
_OneLeg = Annotated[bool, typer.Option("--one-leg", help="One m-line with both parties mixed.")]
_Seed = Annotated[int, typer.Option(help="The same seed gives the same sound and the same losses.")]
_Client = Annotated[Literal["siprec", "pjsua2"], typer.Option(help="Whose SIP stack places the call.")]
_Verify = Annotated[
    bool,
    typer.Option("--verify", help="Compare the recording, which is below storage.path, with what was sent."),
]


def probe(
    target: _Target,
    config: ConfigFile = None,
    *,
    duration: _Duration = None,
    transport: _Transport = None,
    left: _Left = None,
    right: _Right = None,
    tunes: _Tunes = False,
    codec: _Codec = "pcmu",
    loss: _Loss = 0.0,
    reorder: _Reorder = 0,
    duplicate: _Duplicate = 0.0,
    hold: _Hold = 0.0,
    dtmf: _Dtmf = "",
    ssrc_change: _SsrcChange = False,
    srtp: _Srtp = None,
    no_metadata: _NoMetadata = False,
    one_leg: _OneLeg = False,
    seed: _Seed = 1,
    client: _Client = "siprec",
    verify: _Verify = False,
    as_json: AsJson = False,
) -> None:
    """Place a call of two legs at a recorder."""
    from siprec.cli import placing  # only this command needs the client and all that it loads

    root = configuration(config).storage.path if verify else None
    sound = placing.sound_files(left, right, duration)
    values = {
        "codec": codec,
        "loss_pct": loss,
        "reorder": reorder,
        "duplicate_pct": duplicate,
        "hold_s": hold,
        "digits": dtmf,
        "ssrc_change": ssrc_change,
        "srtp": srtp or "",
        "metadata": not no_metadata,
        "mixed": one_leg,
        "seed": seed,
    }
    plan = placing.planned(duration, sound, values)
    call = placing.prepared(plan, target, transport, sound, tune=tunes, pjsua2=client == "pjsua2")
    placing.place(call, root, as_json=as_json)
