"""Encoders and decoders of Debian's codec libraries and of pjproject, by ctypes: none of them is what we decode with.

Each encoder gives the frames of a signal, one after the other; what does not fill a frame is left out. Each decoder
gives the samples of frames or packets, int16[n].
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

I16 = npt.NDArray[np.int16]

PACKAGES = {
    "libbcg729.so.0": "libbcg729-0",
    "libvo-amrwbenc.so.0": "libvo-amrwbenc0",
    "libgsm.so.1": "libgsm1",
    "libspeex.so.1": "libspeex1",
    "libopus.so.0": "libopus0",
}
"Debian's packages by the libraries that are wanted of them."
_OPUS_VOIP, _OPUS_AUDIO, _OPUS_SET_BITRATE, _OPUS_SET_DTX = 2048, 2049, 4002, 4016
_SPEEX_SET_QUALITY, _SPEEX_SET_VAD, _SPEEX_SET_DTX = 4, 30, 34
_SPEEX_MODES = {8_000: 0, 16_000: 1, 32_000: 2}
_OPUS_LONGEST = 5760
"Samples of a packet at 48 kHz: 120 ms."
_ILBC_STATE_BYTES = 1 << 16
"More than pjproject's encoder state takes."
_LARGEST = 4000
"Bytes; no frame of any codec here is as long."


class MissingLibraryError(OSError):
    """A library is not installed; says which package has it."""


@cache
def _library(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as exc:
        raise MissingLibraryError(f"{name} is missing: apt-get install {PACKAGES[name]}") from exc


@cache
def _pjproject() -> ctypes.CDLL:
    """The library of pjsua2's wheel; it exports the codecs that it brings along."""
    found = importlib.util.find_spec("pjsua2")
    if found is None or found.origin is None:
        raise MissingLibraryError("pjsua2 is missing: pip install pjsua2-python")
    return ctypes.CDLL(str(next(Path(found.origin).parent.glob("_pjsua2*.so"))))


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]
    function.restype, function.argtypes = result, arguments
    return function


def _frames(samples: I16, size: int) -> Iterator[I16]:
    for at in range(0, samples.size - size + 1, size):
        yield np.ascontiguousarray(samples[at : at + size])


def g729(samples: I16, *, vad: bool = False) -> list[bytes]:
    """10 ms each: 10 bytes of speech, 2 of SID, or none (G.729 annexes A and B). samples: int16[n] of 8 kHz."""
    library = _library("libbcg729.so.0")
    begin = _function(library, "initBcg729EncoderChannel", ctypes.c_void_p, ctypes.c_uint8)
    encode = _function(library, "bcg729Encoder", None, *[ctypes.c_void_p] * 3, ctypes.POINTER(ctypes.c_uint8))
    end = _function(library, "closeBcg729EncoderChannel", None, ctypes.c_void_p)
    state, out, length = begin(vad), ctypes.create_string_buffer(10), ctypes.c_uint8()
    made = []
    for frame in _frames(samples, 80):
        encode(state, frame.ctypes.data, out, ctypes.byref(length))
        made.append(out.raw[: length.value])
    end(state)
    return made


def amr_wb(samples: I16, *, mode: int = 8, dtx: bool = False) -> list[bytes]:
    """20 ms each as in a file of RFC 4867 5.3: a header byte, then the speech bits. samples: int16[n] of 16 kHz."""
    library = _library("libvo-amrwbenc.so.0")
    begin = _function(library, "E_IF_init", ctypes.c_void_p)
    encode = _function(
        library,
        "E_IF_encode",
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
    )
    end = _function(library, "E_IF_exit", None, ctypes.c_void_p)
    state, out = begin(), ctypes.create_string_buffer(_LARGEST)
    made = []
    for frame in _frames(samples, 320):
        length = encode(state, mode, frame.ctypes.data, out, dtx)
        made.append(out.raw[:length])
    end(state)
    return made


def gsm(samples: I16) -> list[bytes]:
    """20 ms each: 33 bytes of GSM 06.10, signature 0xD (RFC 3551 4.5.8). samples: int16[n] of 8 kHz."""
    library = _library("libgsm.so.1")
    begin = _function(library, "gsm_create", ctypes.c_void_p)
    encode = _function(library, "gsm_encode", None, *[ctypes.c_void_p] * 3)
    end = _function(library, "gsm_destroy", None, ctypes.c_void_p)
    state, out = begin(), ctypes.create_string_buffer(33)
    made = []
    for frame in _frames(samples, 160):
        encode(state, frame.ctypes.data, out)
        made.append(out.raw)
    end(state)
    return made


def ilbc(samples: I16, *, mode_ms: int = 20) -> list[bytes]:
    """20 ms in 38 bytes, or 30 ms in 50 (RFC 3951). samples: int16[n] of 8 kHz."""
    library = _pjproject()
    begin = _function(library, "initEncode", ctypes.c_short, ctypes.c_void_p, ctypes.c_int)
    encode = _function(library, "iLBC_encode", None, *[ctypes.c_void_p] * 3)
    state = ctypes.create_string_buffer(_ILBC_STATE_BYTES)
    begin(state, mode_ms)
    out = ctypes.create_string_buffer({20: 38, 30: 50}[mode_ms])
    made = []
    for frame in _frames(samples, 8 * mode_ms):
        block = frame.astype(np.float32)
        encode(out, block.ctypes.data, state)
        made.append(out.raw)
    return made


def speex(
    samples: I16, *, rate: int = 8_000, frames_per_packet: int = 1, quality: int = 8, dtx: bool = False
) -> list[bytes]:
    """Payloads of RFC 5574 with frames of 20 ms. samples: int16[n] of `rate`, 8, 16 or 32 kHz.

    dtx: with voice activity detection; what carries no voice takes a few bits.
    """
    library = _library("libspeex.so.1")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    mode = _function(library, "speex_lib_get_mode", pointer, number)(_SPEEX_MODES[rate])
    state = _function(library, "speex_encoder_init", pointer, pointer)(mode)
    control = _function(library, "speex_encoder_ctl", number, pointer, number, pointer)
    bits = ctypes.create_string_buffer(256)
    _function(library, "speex_bits_init", None, pointer)(bits)
    reset = _function(library, "speex_bits_reset", None, pointer)
    encode = _function(library, "speex_encode_int", number, pointer, pointer, pointer)
    close_packet = _function(library, "speex_bits_insert_terminator", None, pointer)
    write = _function(library, "speex_bits_write", number, pointer, pointer, number)
    requests = {_SPEEX_SET_QUALITY: quality, _SPEEX_SET_VAD: dtx, _SPEEX_SET_DTX: dtx}
    for request, value in requests.items():
        control(state, request, ctypes.byref(number(value)))
    out = ctypes.create_string_buffer(_LARGEST)
    made: list[bytes] = []
    reset(bits)
    for count, frame in enumerate(_frames(samples, rate // 50), start=1):
        encode(state, frame.ctypes.data, bits)
        if count % frames_per_packet == 0:
            close_packet(bits)
            length = write(bits, out, _LARGEST)
            made.append(out.raw[:length])
            reset(bits)
    _function(library, "speex_bits_destroy", None, pointer)(bits)
    _function(library, "speex_encoder_destroy", None, pointer)(state)
    return made


def opus(
    samples: I16, *, channels: int = 1, frame_ms: float = 20, bit_rate: int = 32_000, dtx: bool = False
) -> list[bytes]:
    """Packets of 2.5 to 120 ms; with `dtx` those of one or two bytes need not be sent (RFC 6716, RFC 7587 3.1.3).

    samples: int16[n] of 48 kHz, interleaved for two channels.
    """
    library = _library("libopus.so.0")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    begin = _function(library, "opus_encoder_create", pointer, number, number, number, ctypes.POINTER(number))
    encode = _function(library, "opus_encode", number, pointer, pointer, number, pointer, number)
    control = library.opus_encoder_ctl
    error = number()
    # for speech the encoder cuts what is low, and so shifts it; but only so it leaves out what is silent
    state = begin(48_000, channels, _OPUS_VOIP if dtx else _OPUS_AUDIO, ctypes.byref(error))
    for request, value in ((_OPUS_SET_BITRATE, bit_rate), (_OPUS_SET_DTX, int(dtx))):
        control(pointer(state), request, number(value))
    out = ctypes.create_string_buffer(_LARGEST)
    size = int(48 * frame_ms)
    made = []
    for frame in _frames(samples, size * channels):
        length = encode(state, frame.ctypes.data, size, out, _LARGEST)
        made.append(out.raw[:length])
    _function(library, "opus_encoder_destroy", None, pointer)(state)
    return made


def decode_g729(frames: list[bytes]) -> I16:
    """Frames of 10 bytes; of 8 kHz."""
    library = _library("libbcg729.so.0")
    pointer, flag = ctypes.c_void_p, ctypes.c_uint8
    state = _function(library, "initBcg729DecoderChannel", pointer)()
    decode = _function(library, "bcg729Decoder", None, pointer, pointer, flag, flag, flag, flag, pointer)
    made = np.zeros((len(frames), 80), np.int16)
    for frame, out in zip(frames, made, strict=True):
        decode(state, frame, len(frame), 0, 0, 0, out.ctypes.data)
    _function(library, "closeBcg729DecoderChannel", None, pointer)(state)
    return made.reshape(-1)


def decode_ilbc(frames: list[bytes], *, mode_ms: int) -> I16:
    """Without the enhancer of RFC 3951 4.6, and so without its delay; of 8 kHz."""
    library = _pjproject()
    begin = _function(library, "initDecode", ctypes.c_short, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    decode = _function(library, "iLBC_decode", None, *[ctypes.c_void_p] * 3, ctypes.c_int)
    state = ctypes.create_string_buffer(_ILBC_STATE_BYTES)
    begin(state, mode_ms, 0)
    made = np.zeros((len(frames), 8 * mode_ms), np.float32)
    for frame, out in zip(frames, made, strict=True):
        decode(out.ctypes.data, frame, state, 1)
    return np.clip(np.rint(made.reshape(-1)), -32_768, 32_767).astype(np.int16)


def decode_speex(payloads: list[bytes], *, rate: int = 8_000) -> I16:
    """Payloads of RFC 5574; of `rate`."""
    library = _library("libspeex.so.1")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    mode = _function(library, "speex_lib_get_mode", pointer, number)(_SPEEX_MODES[rate])
    state = _function(library, "speex_decoder_init", pointer, pointer)(mode)
    bits = ctypes.create_string_buffer(256)
    _function(library, "speex_bits_init", None, pointer)(bits)
    read = _function(library, "speex_bits_read_from", None, pointer, pointer, number)
    decode = _function(library, "speex_decode_int", number, pointer, pointer, pointer)
    made = []
    for payload in payloads:
        read(bits, payload, len(payload))
        out = np.zeros(rate // 50, np.int16)
        while decode(state, bits, out.ctypes.data) == 0:
            made.append(out.copy())
    _function(library, "speex_bits_destroy", None, pointer)(bits)
    _function(library, "speex_decoder_destroy", None, pointer)(state)
    return np.concatenate(made)


def decode_opus(packets: list[bytes]) -> I16:
    """Mixed down to one channel; of 48 kHz."""
    library = _library("libopus.so.0")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    error = number()
    state = _function(library, "opus_decoder_create", pointer, number, number, ctypes.POINTER(number))(
        48_000, 2, ctypes.byref(error)
    )
    decode = _function(library, "opus_decode", number, pointer, pointer, number, pointer, number, number)
    out = np.zeros((_OPUS_LONGEST, 2), np.int16)
    made = []
    for packet in packets:
        count = decode(state, packet, len(packet), out.ctypes.data, _OPUS_LONGEST, 0)
        made.append((out[:count].sum(axis=1, dtype=np.int32) // 2).astype(np.int16))
    _function(library, "opus_decoder_destroy", None, pointer)(state)
    return np.concatenate(made)
