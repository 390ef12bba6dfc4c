"""Prices of machines by the hour, each with its date and source.

CSV files go in (`config/prices`, or one's own), a `PriceBook` comes out. Prices change: a row that is older than
a set age is refused, and a book in which nothing is younger is an error. All prices are in US dollars before tax.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_optimizer.costing.resources import find_config
from gpu_optimizer.errors import PriceError

if TYPE_CHECKING:
    from gpu_optimizer.costing.costs import CostTable

MAX_AGE_DAYS = 90
COLUMNS = (
    "provider",
    "instance",
    "region",
    "gpu",
    "gpus",
    "gpu_memory_gib",
    "vcpus",
    "memory_gib",
    "usd_per_hour",
    "spot",
    "date",
    "source",
)
# Said wherever prices are too old, on the command line, over HTTP and in Python.
_NEWER = (
    "import a newer catalogue (gpu_optimizer.costing.read_gpuhunt or read_skypilot, then PriceBook.save) and name its file "
    "(path=, --prices, the service's price_file)"
)
_OPTIONAL = frozenset({"region", "gpu", "gpu_memory_gib", "vcpus", "memory_gib"})
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


def current_day() -> date:
    """The day from which the age of prices counts, in UTC."""
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one machine costs by the hour.

    Args:
        provider: Who rents it out.
        instance: Name of the machine there.
        usd_per_hour: Price of the whole machine, US dollars.
        date: When the price was read.
        source: Where.
        region: Where the machine is; empty if the price is the same everywhere.
        gpu: Model of its GPUs; empty without any.
        gpus: How many they are.
        gpu_memory_gib: Memory of each, GiB.
        vcpus: Processor threads, if known.
        memory_gib: Memory of the host, GiB, if known; what a machine without GPU computes in.
        spot: Whether it can be taken away at any time.

    Raises:
        PriceError: A field is missing or makes no sense; the text names it.
    """

    provider: str
    instance: str
    usd_per_hour: float
    date: date
    source: str
    region: str = ""
    gpu: str = ""
    gpus: int = 0
    gpu_memory_gib: float | None = None
    vcpus: float | None = None
    memory_gib: float | None = None
    spot: bool = False

    def __post_init__(self) -> None:
        for name in ("provider", "instance", "source"):
            if not str(getattr(self, name)).strip():
                raise PriceError(f"{name}: must not be empty; a price without it cannot be checked by anyone")
        for name in ("usd_per_hour", "gpu_memory_gib", "vcpus", "memory_gib"):
            number = getattr(self, name)
            if number is not None and not (math.isfinite(number) and number > 0):
                raise PriceError(f"{name}: expected a number above 0, got {number!r}")
        if self.gpus < 0 or bool(self.gpus) != bool(self.gpu) or bool(self.gpus) != (self.gpu_memory_gib is not None):
            raise PriceError(
                "gpu, gpus and gpu_memory_gib go together: all three, or none for a machine without GPU; got "
                f"{self.gpu!r}, {self.gpus}, {self.gpu_memory_gib}"
            )

    @property
    def device_memory_bytes(self) -> int | None:
        """Memory that one model can use: of one GPU, or of the host where there is none; None if not known."""
        gib = self.gpu_memory_gib if self.gpus else self.memory_gib
        return None if gib is None else round(gib * 2**30)

    @property
    def usd_per_gpu_hour(self) -> float:
        """Price of one of its GPUs; of the whole machine where it has none."""
        return self.usd_per_hour / max(self.gpus, 1)

    @property
    def name(self) -> str:
        """`"aws p5.48xlarge (8 x H100 SXM)"`; without the brackets where the instance's name tells the GPU already."""
        many = f"{self.gpus} x " if self.gpus > 1 else ""
        what = "" if self.gpus == 1 and self.gpu in self.instance else f" ({many}{self.gpu or 'CPU'})"
        return f"{self.provider} {self.instance}{what}{' spot' if self.spot else ''}"

    def age_days(self, today: date) -> int:
        """Days since it was read."""
        return (today - self.date).days

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the date as text."""
        return {**asdict(self), "date": self.date.isoformat()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Price:
        """A price from texts (of a CSV file) or from the values of `to_dict`.

        Raises:
            PriceError: A field is missing or cannot be read; the text names it.
        """
        missing = [name for name in COLUMNS if name not in _OPTIONAL and str(values.get(name) if name != "spot" else 0) in ("", "None")]
        if missing:
            raise PriceError(f"{', '.join(missing)}: missing")
        return cls(
            provider=str(values["provider"]).strip(),
            instance=str(values["instance"]).strip(),
            usd_per_hour=_number(values, "usd_per_hour") or 0.0,
            date=_date(values["date"]),
            source=str(values["source"]).strip(),
            region=str(values.get("region") or "").strip(),
            gpu=str(values.get("gpu") or "").strip(),
            gpus=_whole(values, "gpus"),
            gpu_memory_gib=_number(values, "gpu_memory_gib"),
            vcpus=_number(values, "vcpus"),
            memory_gib=_number(values, "memory_gib"),
            spot=_truth(values.get("spot", "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Prices that may be used, and those that were refused for their age.

    Args:
        prices: The newest price of every offer.
        refused: Rows that are too old.
        today: The day the book was opened.
        max_age_days: Oldest a price may be.

    Example:
        >>> book = PriceBook.load(today=date(2026, 11, 20))
        >>> min(price.usd_per_hour for price in book.select(gpu="H100 PCIe"))
        1.99
    """

    prices: tuple[Price, ...]
    refused: tuple[Price, ...]
    today: date
    max_age_days: int

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        max_age_days: int = MAX_AGE_DAYS,
        allow_old: bool = False,
        today: date | None = None,
    ) -> PriceBook:
        """Open price lists.

        Args:
            path: A CSV file or a folder of them; default: `config/prices`.
            max_age_days: Oldest a price may be, in days.
            allow_old: Use older ones too.
            today: The day to count from; default: today's date in UTC.

        Raises:
            PriceError: A file cannot be read, a row is wrong (file and line are named), or no price is young enough.
        """
        rows = [row for file in _files(path) for row in _read(file)]
        return cls.of(rows, max_age_days=max_age_days, allow_old=allow_old, today=today)

    @classmethod
    def of(
        cls, rows: Iterable[Price], *, max_age_days: int = MAX_AGE_DAYS, allow_old: bool = False, today: date | None = None
    ) -> PriceBook:
        """A book of prices from any source; of several prices of one offer the newest counts.

        Raises:
            PriceError: No price is young enough, one lies in the future, or `max_age_days` is negative.
        """
        if max_age_days < 0:
            raise PriceError(f"max_age_days: expected 0 or more, got {max_age_days}")
        day = today or current_day()
        newest: dict[tuple[Any, ...], Price] = {}
        for row in rows:
            if row.date > day + timedelta(days=1):
                raise PriceError(f"{row.name}: its price is dated {row.date}, which is after {day}; correct the date")
            key = (row.provider, row.instance, row.region, row.gpu, row.spot)
            if key not in newest or newest[key].date < row.date:
                newest[key] = row
        fresh = tuple(row for row in newest.values() if allow_old or row.age_days(day) <= max_age_days)
        refused = tuple(row for row in newest.values() if row not in fresh)
        if newest and not fresh:
            last = max(row.date for row in refused)
            raise PriceError(
                f"all {len(refused)} prices are older than {max_age_days} days, the newest is of {last}; {_NEWER}, or use the old "
                "prices all the same (allow_old=True, --allow-old, ?allow_old=true)"
            )
        return cls(prices=fresh, refused=refused, today=day, max_age_days=max_age_days)

    def notes(self) -> tuple[str, ...]:
        """What a reader should know about the age of the prices, and what to do about it; nothing while all are young."""
        found = []
        if self.refused:
            last = max(row.date for row in self.refused)
            found.append(
                f"{len(self.refused)} offers are left out because their prices are older than {self.max_age_days} days, the newest of "
                f"them of {last}; {_NEWER}, or use them all the same (allow_old=True, --allow-old, ?allow_old=true)."
            )
        old = [row.date for row in self.prices if row.age_days(self.today) > self.max_age_days]
        if old:
            found.append(
                f"{len(old)} of these prices are older than {self.max_age_days} days, the oldest of {min(old)}: machines may cost "
                f"something else today. To be sure, {_NEWER}."
            )
        return tuple(found)

    def select(
        self,
        *,
        gpu: str | None = None,
        provider: str | None = None,
        region: str | None = None,
        spot: bool | None = None,
        min_memory_bytes: int = 0,
    ) -> tuple[Price, ...]:
        """Prices that fit, cheapest first.

        Args:
            gpu: Part of the GPU's name, any case; "" for machines without one.
            provider: Provider's name, any case.
            region: Part of the region's name; prices that hold everywhere fit too.
            spot: Only machines that can be taken away, or only others; None = both.
            min_memory_bytes: Memory of one GPU (or of the host without one); machines of unknown memory do not fit.
        """
        fitting = (
            row
            for row in self.prices
            if (gpu is None or (gpu.lower() in row.gpu.lower() if gpu else not row.gpu))
            and (provider is None or provider.lower() == row.provider.lower())
            and (region is None or not row.region or region.lower() in row.region.lower())
            and (spot is None or spot == row.spot)
            and (not min_memory_bytes or (row.device_memory_bytes or 0) >= min_memory_bytes)
        )
        return tuple(sorted(fitting, key=lambda row: (row.usd_per_hour, row.provider, row.instance, row.region)))

    def cheapest(self, memory_bytes: int, **options: Any) -> CostTable:
        """Machines on which a job fits, cheapest first; `options` are those of `gpu_optimizer.costing.cheapest`."""
        from gpu_optimizer.costing.costs import cheapest

        return cheapest(self, memory_bytes, **options)

    def with_prices(self, rows: Iterable[Price], *, allow_old: bool = False) -> PriceBook:
        """The book with more prices, for example imported ones; the newest of each offer counts."""
        return PriceBook.of([*self.prices, *self.refused, *rows], max_age_days=self.max_age_days, allow_old=allow_old, today=self.today)

    def save(self, path: str | Path) -> Path:
        """Write the prices as a CSV file that `load` reads.

        Raises:
            PriceError: The file cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in sorted(self.prices, key=lambda row: (row.provider, row.instance, row.region, row.spot)):
            values = row.to_dict()
            writer.writerow(str(values[name]).lower() if name == "spot" else values[name] for name in COLUMNS)
        try:
            Path(path).write_text(text.getvalue(), "utf-8")
        except OSError as error:
            raise PriceError(f"cannot write the prices to {path}: {error.strerror or error}") from error
        return Path(path)


def rows_of(path: Path, columns: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV file by column name, each with its place for error messages.

    Raises:
        PriceError: The file cannot be read or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise PriceError(
                    f"{path}: column {', '.join(missing)} is missing; there are {', '.join(reader.fieldnames or ()) or 'none'}"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise PriceError(f"{path}, line {reader.line_num}: its number of fields is not that of the header")
                yield f"{path}, line {reader.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PriceError(f"cannot read the prices {path}: {error}") from error


def _files(path: str | Path | None) -> list[Path]:
    place = find_config("prices") if path is None else Path(path)
    if place is None:
        raise PriceError("config/prices is missing; reinstall the package, set GPU_CONFIG_DIR or name a file")
    if not place.is_dir():
        return [place]
    files = sorted(place.glob("*.csv"))
    if not files:
        raise PriceError(f"{place} has no .csv file")
    return files


def _read(path: Path) -> Iterator[Price]:
    for place, row in rows_of(path, (name for name in COLUMNS if name not in _OPTIONAL)):
        try:
            yield Price.from_dict(row)
        except PriceError as error:
            raise PriceError(f"{place}: {error}") from error


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None or not str(value).strip():
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise PriceError(f"{name}: expected a number, got {value!r}") from error


def _whole(values: Mapping[str, Any], name: str) -> int:
    number = _number(values, name) or 0.0
    if number != int(number):
        raise PriceError(f"{name}: expected a whole number, got {values[name]!r}")
    return int(number)


def _date(value: Any) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value).strip())
    except ValueError as error:
        raise PriceError(f"date: expected YYYY-MM-DD, got {value!r}") from error


def _truth(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUTH:
        raise PriceError(f"spot: expected true or false, got {value!r}")
    return _TRUTH[text]
