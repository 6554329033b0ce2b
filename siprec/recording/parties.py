"""Who is on which leg, and which leg is on which channel. Pure: the same input gives the same plan.

How an m-line finds its participants; the first row that fits decides:

| what is known                                                  | participants of the m-line                          |
|----------------------------------------------------------------|-----------------------------------------------------|
| metadata: participant sends stream, stream has a label         | the senders of the stream with the m-line's label;  |
|                                                                | whichever label that is (Ribbon's points across)    |
| the same, but every m-line comes out with the same two or more | participants and m-lines, in order                  |
| metadata, m-lines and participants left over                   | participants and m-lines, in order                  |
| one m-line, labelled as one of several streams, no senders     | the participant at the place of that stream         |
| one m-line, else, and two or more participants                 | all of them: `mixed`, a file with one channel       |
| no metadata, X-Cisco-Recording-Participant                     | the one whose media-index names the m-line          |
| no metadata, From parameters of a forking phone                | near end or far end                                 |
| no metadata, other headers                                     | caller on the first m-line, callee on the second    |
| nothing                                                        | none                                                |

Who is the caller: the participant that an extension flags as the calling party (Oracle, Metaswitch); else, if From
and To of the INVITE are two of the participants, the one in From; else the first in the metadata.

Channels: the caller's legs are left (0), all others right (1). With several legs of which none is the caller's, the
first leg's participant is left. A single leg keeps its side free for a second one that a re-INVITE may add. A leg that
is in a file already stays on its channel, and a new one takes the free side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from siprec.recording.header_parties import Party, SipFacts, parse_name_address, parties_of, user_of
from siprec.recording.metadata_state import RecordingMetadata

LEFT, RIGHT = 0, 1
MAX_PEOPLE = 500
"People in a plan; of more those who send a stream come first."
MAX_ON_A_LEG = 100
"Of them named on one leg."
_CALLER_FLAGS = ("callingparty", "callingpartynumber")


class Role(StrEnum):
    """The part that the people on a leg play in the call."""

    CALLER = "caller"
    CALLEE = "callee"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLine:
    """An accepted m-line; `label` is None when the peer sent none."""

    index: int
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLeg:
    """One m-line with its people, its role and its channel in the file."""

    index: int
    label: str | None
    participants: tuple[Party, ...]
    role: Role
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPlan:
    """The legs in the order of their m-lines, everybody who takes part, and the number of channels (1: mixed)."""

    legs: tuple[PlannedLeg, ...]
    participants: tuple[Party, ...]
    channels: int

    def leg(self, index: int) -> PlannedLeg | None:
        return next((leg for leg in self.legs if leg.index == index), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Casting:
    """Who owns which m-line, before sides are given out."""

    people: tuple[Party, ...]
    owners: Mapping[int, tuple[Party, ...]]
    caller: Party | None
    mixed: bool = False
    roles_known: bool = True


def plan_channels(
    lines: Sequence[MediaLine],
    metadata: RecordingMetadata | None,
    facts: SipFacts,
    previous: ChannelPlan | None = None,
) -> ChannelPlan:
    """Give every m-line its people and its channel.

    metadata: None when none came, or none that could be read.   previous: the plan in force when the dialog changes;
    the number of channels and the channels of its legs are kept.
    """
    casting = _by_metadata(lines, metadata, facts) if metadata is not None else None
    casting = casting or _by_headers(lines, facts)
    channels = previous.channels if previous is not None else 1 if casting.mixed else 2
    placed = previous.legs if previous is not None else ()
    sides = _sides(lines, casting)
    legs = []
    for line in lines:
        owners = casting.owners.get(line.index, ())
        leg = PlannedLeg(
            index=line.index,
            label=line.label,
            participants=owners[:MAX_ON_A_LEG],
            role=_role(owners, casting),
            channel=_kept_or_free(line.index, sides[line.index], owners, placed) if channels == 2 else LEFT,
        )
        legs.append(leg)
    return ChannelPlan(legs=tuple(legs), participants=casting.people, channels=channels)


def _by_metadata(lines: Sequence[MediaLine], metadata: RecordingMetadata, facts: SipFacts) -> _Casting | None:
    people = _people(metadata, facts)
    if not people:
        return None
    caller = _caller(people, metadata, facts)
    owners = _stated_owners(lines, people, metadata)
    if len(lines) == 1:
        index = lines[0].index
        stated = owners.get(index, ())
        if not stated and (single := _at_place_of_stream(lines[0], people, metadata)):
            owners = {index: single}
        elif len(people) > 1 and (len(stated) != 1 or _is_mixed(lines[0], metadata)):
            everybody = stated if len(stated) > 1 else people
            return _Casting(people=people, owners={index: everybody}, caller=caller, mixed=True)
    elif _are_all_alike(lines, owners):
        owners = {}
    return _Casting(people=people, owners=_paired(lines, people, owners), caller=caller)


def _by_headers(lines: Sequence[MediaLine], facts: SipFacts) -> _Casting:
    named = parties_of(facts)
    owners: dict[int, tuple[Party, ...]] = {i: (party,) for i, party in named.by_line.items()}
    if not owners:
        in_order = zip(lines, (named.caller, named.callee), strict=False)
        owners = {line.index: (party,) for line, party in in_order if party is not None}
    people = tuple(
        dict.fromkeys(p for p in (named.caller, named.callee, *named.by_line.values()) if p is not None)
    )
    return _Casting(people=people, owners=owners, caller=named.caller, roles_known=not named.near_is_left)


def _people(metadata: RecordingMetadata, facts: SipFacts) -> tuple[Party, ...]:
    """Who takes part according to the metadata; a missing display name is taken from a header with the same user."""
    values = [facts.from_, facts.to, *facts.asserted_identity, *facts.remote_party_id]
    active = metadata.active_participants()
    if len(active) > MAX_PEOPLE:
        active = sorted(active, key=lambda p: not metadata.sends(p.id))[:MAX_PEOPLE]
    names: dict[str, str] = {}
    for address in map(parse_name_address, values):
        if address.name:
            names.setdefault(user_of(address.aor), address.name)
    return tuple(
        Party(aor=p.aor, name=p.name or (names.get(user_of(p.aor), "") if p.aor else ""), id=p.id)
        for p in active
    )


def _stated_owners(
    lines: Sequence[MediaLine], people: Sequence[Party], metadata: RecordingMetadata
) -> dict[int, tuple[Party, ...]]:
    """Sender to stream to label to m-line. Equal labels are given out one by one, the last m-line takes the rest."""
    senders: dict[str, list[Party]] = {}
    for person in people:
        for stream_id in metadata.sends(person.id):
            senders.setdefault(stream_id, []).append(person)
    by_label: dict[str, list[int]] = {}
    for line in lines:
        if line.label is not None:
            by_label.setdefault(line.label, []).append(line.index)
    owners: dict[int, dict[Party, None]] = {}
    for stream in metadata.active_streams().values():
        indices = by_label.get(stream.label, [])
        if indices and stream.id in senders:
            index = indices.pop(0) if len(indices) > 1 else indices[0]
            owners.setdefault(index, {}).update(dict.fromkeys(senders[stream.id]))
    return {index: tuple(group) for index, group in owners.items()}


def _paired(
    lines: Sequence[MediaLine], people: Sequence[Party], owners: Mapping[int, tuple[Party, ...]]
) -> dict[int, tuple[Party, ...]]:
    """The m-lines without people and the people without an m-line, in order."""
    placed = {person for group in owners.values() for person in group}
    free_people = [p for p in people if p not in placed]
    free_lines = [line.index for line in lines if line.index not in owners]
    return {**owners, **{i: (p,) for i, p in zip(free_lines, free_people, strict=False)}}


def _at_place_of_stream(
    line: MediaLine, people: Sequence[Party], metadata: RecordingMetadata
) -> tuple[Party, ...]:
    """One m-line of a call whose metadata names several streams: this one is not a mix."""
    labels = [s.label for s in metadata.active_streams().values()]
    if len(set(labels)) < 2 or line.label is None or line.label not in labels:
        return ()
    return tuple(people[labels.index(line.label) :][:1])


def _is_mixed(line: MediaLine, metadata: RecordingMetadata) -> bool:
    return any(s.mode == "mixed" and s.label == line.label for s in metadata.active_streams().values())


def _are_all_alike(lines: Sequence[MediaLine], owners: Mapping[int, tuple[Party, ...]]) -> bool:
    """Everybody sends everything: that says nothing about who is on which m-line."""
    groups = {frozenset(owners.get(line.index, ())) for line in lines}
    return len(groups) == 1 and len(groups.pop()) > 1


def _caller(people: Sequence[Party], metadata: RecordingMetadata, facts: SipFacts) -> Party | None:
    """The caller among the participants; None if the only one is the called party."""
    if flagged := _flagged_caller(people, metadata):
        return flagged
    sender, called = (user_of(parse_name_address(v).aor) for v in (facts.from_, facts.to))
    from_sender = [p for p in people if user_of(p.aor) == sender]
    from_called = [p for p in people if user_of(p.aor) == called]
    if sender != called and len(from_called) == 1 and len(from_sender) == 1:
        return from_sender[0]
    if len(people) == 1 and from_called and not from_sender:
        return None
    return people[0]


def _flagged_caller(people: Sequence[Party], metadata: RecordingMetadata) -> Party | None:
    """`callingParty` true in a participant, or a calling number that is exactly one participant's."""
    flags = [e for e in metadata.extensions if e.path.rpartition("/")[2].lower() in _CALLER_FLAGS]
    if not flags:
        return None
    by_id = {p.id: [p] for p in people}
    by_user: dict[str, list[Party]] = {}
    for person in people:
        by_user.setdefault(user_of(person.aor), []).append(person)
    for flag in flags:
        stated = flag.text.lower() == "true"
        matching = by_id.get(flag.owner, []) if stated else by_user.get(user_of(flag.text), [])
        if len(matching) == 1:
            return matching[0]
    return None


def _sides(lines: Sequence[MediaLine], casting: _Casting) -> dict[int, int]:
    """A side for every m-line as if the file began now."""
    owned = [line.index for line in lines if casting.owners.get(line.index)]
    left = casting.caller
    if len(lines) > 1 and owned and not any(left in casting.owners[i] for i in owned):
        left = casting.owners[owned[0]][0]
    sides = {i: LEFT if left in casting.owners[i] else RIGHT for i in owned}
    for line in lines:
        if line.index not in sides:
            sides[line.index] = RIGHT if LEFT in sides.values() else LEFT
    return sides


def _kept_or_free(index: int, side: int, owners: Sequence[Party], placed: Sequence[PlannedLeg]) -> int:
    """The channel of a leg in a file that may have legs already: its own, its people's, else a free one."""
    before = [leg for leg in placed if leg.index == index] or [leg for leg in placed if _share(leg, owners)]
    if before:
        return before[0].channel
    used = {leg.channel for leg in placed}
    return RIGHT - side if used == {side} else side


def _share(leg: PlannedLeg, owners: Sequence[Party]) -> bool:
    """Whether somebody is on both: the same id, or the same address where one of them has no id."""
    ids = {p.id for p in leg.participants if p.id}
    addresses = {p.aor for p in leg.participants}
    without_id = {p.aor for p in leg.participants if not p.id}
    return any(p.id in ids or p.aor in without_id if p.id else p.aor in addresses for p in owners)


def _role(owners: Sequence[Party], casting: _Casting) -> Role:
    if casting.mixed:
        return Role.MIXED
    if not owners or not casting.roles_known:
        return Role.UNKNOWN
    return Role.CALLER if casting.caller in owners else Role.CALLEE
