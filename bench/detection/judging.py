"""Trials: a story with one fault in it, or with none; what was alerted, against what should have been."""

import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from bench.detection import lookalikes
from bench.detection.counting import Counting
from bench.detection.faults import FAULTS, Fault
from bench.detection.fleet import DAY, Split, Story
from bench.detection.weather import Weather
from ike.detection.alert import KINDS, Alert
from ike.detection.watch import Watch

_TUNNELS = 6
_SHARE = 10  # fleets that a process judges at a time
_AROUND = 4 * 3600.0
_BEAT, _DISORDER = 120.0, 3.0
#: Of quiet fleets, those in which a Sunday begins or ends daylight saving time.
_CHANGING = 0.06


@dataclass
class Score:
    """Of one kind of alert."""

    expected: int = 0
    found: int = 0
    false: int = 0
    delays: list[float] = field(default_factory=list)

    def add(self, other: "Score") -> None:
        """Take what was found elsewhere as well."""
        self.expected += other.expected
        self.found += other.found
        self.false += other.false
        self.delays += other.delays

    @property
    def recall(self) -> float:
        return self.found / self.expected if self.expected else 1.0

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.false) if self.found + self.false else 1.0

    @property
    def delay(self) -> float:
        return median(self.delays) if self.delays else 0.0


@dataclass
class Verdict:
    """Of one split: by kind, by fault, and of the fleets in which nothing is wrong."""

    kinds: dict[str, Score] = field(default_factory=lambda: {kind: Score() for kind in KINDS})
    faults: dict[tuple[str, int], Score] = field(default_factory=dict)
    quiet_days: float = 0.0
    quiet_alarms: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Verdict") -> None:
        """Take what was found elsewhere as well."""
        for kind, score in other.kinds.items():
            self.kinds[kind].add(score)
        for key, score in other.faults.items():
            self.faults.setdefault(key, Score()).add(score)
        self.quiet_days += other.quiet_days
        self.quiet_alarms += other.quiet_alarms
        self.wrong += other.wrong

    def often(self, kind: str) -> float:
        """False alarms of one kind in 10,000 quiet tunnel-days."""
        return 10_000 * self.quiet_alarms[kind] / max(self.quiet_days, 1e-9)

    @property
    def false_per_10_000(self) -> float:
        return 10_000 * sum(self.quiet_alarms.values()) / max(self.quiet_days, 1e-9)


def watched(story: Story) -> list[Alert]:
    """What the rules say of it."""
    watch = Watch(story.bounds(), story.plans())
    if story.weather.live:
        _come(watch, story)
    else:
        watch.observe_all(story.lines())
    watch.settle()
    return watch.alerts()


def _come(watch: Watch, story: Story) -> None:
    """Batches of an agent: with nothing to tell it says so, but for hours in which nobody hears it."""
    draw = random.Random(story.seed + 4)
    lines, offline, begin = story.lines(), 0, 0
    lost = () if story.counting is None else story.counting.lost
    stamped = story.weather.stamped
    absences = [(stamped(away), stamped(back)) for away, back in sorted(lost, reverse=True)]
    while begin < len(lines):
        size = draw.randrange(1, 200)
        batch = lines[begin : begin + size]
        begin += size
        offline = offline - 1 if offline else draw.choice((0,) * 19 + (5,))
        for one, following in zip(batch, [*batch[1:], None], strict=True):
            watch.observe(one)
            at = (one if following is None else following).time or 0.0
            while absences and absences[-1][1] <= at:
                away, back = absences.pop()
                watch.doubt(away, back)
                watch.advance(back)
            if not offline and at - (one.time or 0.0) > _BEAT:
                watch.advance(at - _DISORDER)


def faulty(split: Split, fault: Fault, strength: int, number: int) -> tuple[Story, float]:
    """A day of a few tunnels, with `fault` in the first one; and when it began."""
    seed = hash_of(split.seed, fault.name, strength, number)
    story = Story(split, seed, days=1.0)
    tunnels = [story.make(index) for index in range(_TUNNELS)]
    hit = tunnels[0]
    hit.numbered = hit.numbered or "numbered" in fault.needs
    hit.known = hit.known or "known" in fault.needs
    hit.bytes_ = None
    hit.reauth = False
    hit.rekey = min(hit.rekey, 2700.0)
    if "short" in fault.needs:
        hit.rekey = 1200.0  # so that all of it happens within the day
    hit.rand = hit.rekey * split.jitters[0]
    if "short" in fault.needs:
        hit.ike_rekey = 3600.0
    if "counted" in fault.needs:
        story.counting = Counting(alone=True, seed=seed)
    began = story.start + DAY * (0.4 + 0.2 * story.random.random())
    story.weather.clear(began - _AROUND, story.end)
    for tunnel in tunnels:
        story.establish(tunnel)
        story.live(tunnel, began, lookalikes.rare)
    for plan in story.planned:
        if plan.connection == hit.name and plan.end > began:
            story.live(hit, plan.end + 1, None)  # what we do ourselves explains some of it
    hit.at = max(hit.at, hit.installed)
    hit.ike_due = max(hit.ike_due, hit.at + 2)
    if hit.at > hit.installed + 1:
        story.rekey(hit, hit.at + 1)
    first = hit.at
    fault.happen(story, hit, strength)
    for tunnel in tunnels:
        story.live(tunnel, story.end, lookalikes.rare)
    lookalikes.around(story)
    return story, first


def hash_of(*parts: object) -> int:
    """A seed that is the same in every process."""
    value = 1469598103934665603
    for character in "|".join(map(str, parts)):
        value = (value ^ ord(character)) * 1099511628211 % 2**64
    return value


def quiet(split: Split, number: int, tunnels: int, days: float) -> Story:
    """Nothing is wrong."""
    seed = hash_of(split.seed, "quiet", number)
    story = Story(split, seed, days=days)
    if random.Random(seed + 3).random() < _CHANGING and days > 3:
        start, at, by = Weather.changing(number, days)
        story = Story(split, seed, start=start, days=days)
        story.weather.steps.append((at, by))
        story.weather.live = False  # an agent reads the time with its zone
    if story.weather.live:
        story.counting = Counting.of(seed, story.start, days)
    for index in range(tunnels):
        tunnel = story.make(index)
        story.establish(tunnel)
        story.live(tunnel, story.end, lookalikes.rare)
    lookalikes.around(story)
    return story


def judge(split: Split, trials: int, fleets: int, tunnels: int, days: float) -> Verdict:
    """All faults at all strengths `trials` times each, and `fleets` quiet ones; on all processors."""
    verdict = Verdict()
    with ProcessPoolExecutor() as pool:
        plan = [(split, fault.name, strength, trials) for fault in FAULTS for strength in range(3)]
        shares = [pool.submit(_tried, *each) for each in plan]
        shares += [
            pool.submit(_quieted, split, range(begin, min(begin + _SHARE, fleets)), tunnels, days)
            for begin in range(0, fleets, _SHARE)
        ]
        for share in shares:
            verdict.add(share.result())
    return verdict


def _tried(split: Split, name: str, strength: int, trials: int) -> Verdict:
    verdict = Verdict()
    fault = next(each for each in FAULTS if each.name == name)
    for number in range(trials):
        story, began = faulty(split, fault, strength, number)
        _score(verdict, fault, strength, watched(story), story, began)
    return verdict


def _quieted(split: Split, numbers: range, tunnels: int, days: float) -> Verdict:
    verdict = Verdict()
    for number in numbers:
        story = quiet(split, number, tunnels, days)
        verdict.quiet_days += tunnels * days
        for alert in untrue(watched(story), story):
            verdict.quiet_alarms[alert.kind] += 1
            verdict.wrong.append(f"quiet {number}: {told(alert)}")
    return verdict


def untrue(
    alerts: list[Alert], story: Story, truths: list[tuple[str, str, float, float]] | None = None
) -> list[Alert]:
    """Without those that tell what did happen: `truths`, or else all that is true beside the fault."""
    stamped = story.weather.stamped
    return [
        one
        for one in alerts
        if not any(
            (one.kind, one.connection) == (kind, connection)
            and stamped(begin) - _DISORDER <= (one.start or 0.0) <= stamped(end) + _DISORDER
            for kind, connection, begin, end in (story.truths if truths is None else truths)
        )
    ]


def _score(
    verdict: Verdict, fault: Fault, strength: int, alerts: list[Alert], story: Story, began: float
) -> None:
    score, hit = verdict.kinds[fault.kind], story.tunnels[0].name
    apart = verdict.faults.setdefault((fault.name, strength), Score())
    # What happened beside, or earlier, is not what is looked for.
    beside = [each for each in story.truths if not (each[1] == hit and each[2] >= began)]
    mine = [one for one in untrue(alerts, story, beside) if one.kind == fault.kind]
    for each in (score, apart):
        each.expected += 1
        if mine:
            each.found += 1
            each.delays.append(max(0.0, (mine[0].raised or 0.0) - began))
    if not mine:
        verdict.wrong.append(f"{fault.name}/{strength} seed {story.seed}: missed")
    for alert in untrue(alerts, story):
        if alert.kind != fault.kind and alert.kind not in fault.beside:
            verdict.kinds[alert.kind].false += 1
            apart.false += 1
            verdict.wrong.append(f"{fault.name}/{strength} seed {story.seed}: {told(alert)}")


def told(alert: Alert) -> str:
    """An alert in a line, to look into."""
    where = alert.connection or alert.peer
    return f"{alert.kind} {where} {dict(alert.evidence)} lines {alert.lines[:4]}"
