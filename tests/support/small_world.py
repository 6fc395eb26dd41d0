"""A simulated machine kept page by page: what `_native/sim` decides lazily, by brute force."""

from dataclasses import dataclass, field

from isotherm.model.ranges import PAGE

_MASK = 2**64 - 1
#: Cumulative Poisson distribution of mean 1, by 32 bits.
_CELL = (
    1580030169, 3160060337, 3950075422, 4213413783, 4279248374, 4292415292, 4294609778, 4294923276,
    4294962463,
)  # fmt: skip
TABLE = 512
SECOND = 10**9


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & _MASK
    return x ^ x >> 31


@dataclass
class SmallPattern:
    """A tuple as `_core.SimWorld` takes it, page by page."""

    words: tuple
    _events: dict = field(default_factory=dict)

    def __post_init__(self):
        (self.kind, self.first, self.last, self.from_ns, self.until_ns, self.period_ns, self.on_ns,
         self.rate, self.rate_end, self.unit, self.group, self.levels, self.gain, self.seed,
         self.regular) = self.words  # fmt: skip

    def uses(self, ns):
        """Expected uses of a page of level 1 until a time."""
        if ns <= self.from_ns:
            return 0.0
        since = min(ns, self.until_ns) - self.from_ns
        active = float(since)
        if self.period_ns:
            active = since // self.period_ns * float(self.on_ns) + float(
                min(since % self.period_ns, self.on_ns)
            )
        active /= 1e9
        if self.rate == self.rate_end:
            return self.rate * active
        length = (self.until_ns - self.from_ns) / 1e9
        return self.rate * active + (self.rate_end - self.rate) * active * active / (2 * length)

    def level(self, page):
        if self.group == 1:
            return 1
        unit, level = (page - self.first) // self.unit, 0
        while level < self.levels:
            group, member = divmod(unit, self.group)
            hashed = mix(self.seed ^ mix(group * 64 + level + 1)) % self.group
            if member != (0 if self.regular else hashed):
                break
            unit, level = group, level + 1
        return level

    def weight(self, page):
        level = self.level(page)
        return self.gain ** (level - 1) if level else 0.0

    def events(self, name, until):
        """Every use of a bit, in its own uses, until so many; what was drawn stays drawn."""
        key, made = mix(self.seed ^ mix(name)), self._events.setdefault(name, [])
        for cell in range(len(made), int(until) + 1):
            random = mix(key ^ mix(cell))
            at, nr = [], sum(1 for bound in _CELL if random & 0xFFFFFFFF >= bound)
            for _ in range(nr):
                random = mix(random)
                at.append(cell + ((random >> 11) + 1) / 2**53)
            made.append(at)
        return [at for cell in made for at in cell]

    def used(self, pages, since_ns, now_ns):
        """Whether any of the pages that share a bit was used in (since, now]."""
        inside = [page for page in pages if self.first <= page < self.last]
        begin, end = self.uses(since_ns), self.uses(now_ns)
        if not inside or begin >= end:
            return False
        if self.kind == 1:
            nr = self.last - self.first
            if end - begin >= 1:
                return any(self.level(page) for page in inside)
            until = [int(at) * nr + int((at - int(at)) * nr) for at in (begin, end)]
            swept = range(until[0] + (begin > 0), until[1] + 1)
            touched = {place % nr for place in swept}
            return any(self.level(p) and p - self.first in touched for p in inside)
        weight = sum(self.weight(page) for page in inside)
        name = pages[0] | (1 << 63 if len(pages) > 1 else 0)
        return any(begin * weight < at <= end * weight for at in self.events(name, end * weight))


class SmallWorld:
    """When each bit was cleared is in a dictionary, and every use is drawn."""

    def __init__(self, areas, patterns):
        self.areas = areas
        self.patterns = [SmallPattern(words) for words in patterns]
        self.cleared = {}
        self.now_ns = 0

    def area_at(self, process, address):
        for area in self.areas:
            if (
                area[0] == process
                and area[1] <= address < area[2]
                and area[4] <= self.now_ns < area[5]
            ):
                return area
        return None

    def bit(self, area, address):
        frame = area[3] + (address - area[1]) // PAGE
        if area[6]:
            first = frame // TABLE * TABLE
            return tuple(range(first, first + TABLE))
        return (frame,)

    def young(self, bit):
        if bit not in self.cleared:
            return True
        since = self.cleared[bit]
        return any(pattern.used(bit, since, self.now_ns) for pattern in self.patterns)

    def state(self, process, address):
        area = self.area_at(process, address)
        if area is None:
            return 0
        if area[7]:
            return 3
        return 2 if self.young(self.bit(area, address)) else 1

    def clear(self, process, start, end):
        """Clear whole pages; return (bits inside, how many of them were young)."""
        bits = []
        for address in range(start, end, PAGE):
            area = self.area_at(process, address)
            if area is None or area[7]:
                continue
            bit = self.bit(area, address)
            if area[6]:
                base = address - address % (TABLE * PAGE)
                if base < start or base + TABLE * PAGE > end or bit in bits:
                    continue
            bits.append(bit)
        young = [bit for bit in bits if self.young(bit)]
        for bit in bits:
            self.cleared[bit] = self.now_ns
        return len(bits), len(young)
