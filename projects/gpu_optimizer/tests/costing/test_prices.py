"""Price books: read exactly, refused when old or wrong, with the place."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpu_optimizer import cli
from gpu_optimizer.costing import Price, PriceBook, prices, read_gpuhunt, read_skypilot
from gpu_optimizer.costing.prices import COLUMNS
from gpu_optimizer.costing.resources import find_config
from gpu_optimizer.errors import PriceError

TODAY = date(2026, 11, 20)
HEADER = ",".join(COLUMNS)
ROW = "aws,g6.xlarge,us-east-1,L4,1,24,4,16,0.8048,false,2026-11-01,a page"


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def offer(**changes: object) -> Price:
    values = dict(zip(COLUMNS, ROW.split(","), strict=True)) | {"date": TODAY}
    return Price.from_dict(values | changes)


def test_row_is_read_exactly(tmp_path: Path) -> None:
    (price,) = PriceBook.load(write(tmp_path, ROW), today=TODAY).prices
    assert price == Price(
        provider="aws",
        instance="g6.xlarge",
        region="us-east-1",
        gpu="L4",
        gpus=1,
        gpu_memory_gib=24,
        vcpus=4,
        memory_gib=16,
        usd_per_hour=0.8048,
        spot=False,
        date=date(2026, 11, 1),
        source="a page",
    )
    assert price.device_memory_bytes == 24 * 2**30
    assert price.name == "aws g6.xlarge (L4)"


def test_machine_without_gpu_computes_in_the_host_memory() -> None:
    price = offer(gpu="", gpus=0, gpu_memory_gib="")
    assert price.device_memory_bytes == 16 * 2**30
    assert price.usd_per_gpu_hour == price.usd_per_hour
    assert price.name == "aws g6.xlarge (CPU)"


def test_price_of_one_gpu_is_a_share() -> None:
    assert offer(gpus=8, usd_per_hour=8).usd_per_gpu_hour == 1


def test_columns_may_stand_in_any_order_and_some_may_lack(tmp_path: Path) -> None:
    header = "source,date,spot,usd_per_hour,gpus,instance,provider,gpu,gpu_memory_gib"
    (price,) = PriceBook.load(write(tmp_path, "page,2026-11-01,TRUE,1.5,2,x,y,T4,16", header=header), today=TODAY).prices
    assert (price.spot, price.gpus, price.region, price.memory_gib) == (True, 2, "", None)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("usd_per_hour", "0", "usd_per_hour: expected a number above 0"),
        ("usd_per_hour", "-1", "usd_per_hour: expected a number above 0"),
        ("usd_per_hour", "nan", "usd_per_hour: expected a number above 0"),
        ("usd_per_hour", "cheap", "usd_per_hour: expected a number, got 'cheap'"),
        ("usd_per_hour", "", "usd_per_hour: missing"),
        ("source", "", "source: missing"),
        ("provider", " ", "provider: must not be empty"),
        ("date", "01.11.2026", "date: expected YYYY-MM-DD"),
        ("date", "2027-01-01", "dated 2027-01-01, which is after 2026-11-20"),
        ("spot", "perhaps", "spot: expected true or false"),
        ("gpus", "1.5", "gpus: expected a whole number"),
        ("gpus", "0", "gpu, gpus and gpu_memory_gib go together"),
        ("gpu", "", "gpu, gpus and gpu_memory_gib go together"),
        ("gpu_memory_gib", "", "gpu, gpus and gpu_memory_gib go together"),
        ("memory_gib", "inf", "memory_gib: expected a number above 0"),
    ],
)
def test_wrong_row_is_refused_with_its_reason(tmp_path: Path, column: str, value: str, problem: str) -> None:
    values = dict(zip(COLUMNS, ROW.split(","), strict=True)) | {column: value}
    with pytest.raises(PriceError, match=problem):
        PriceBook.load(write(tmp_path, ",".join(values[name] for name in COLUMNS)), today=TODAY)


def test_wrong_row_is_refused_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, ROW, ROW.replace("0.8048", "free"))
    with pytest.raises(PriceError, match=r"prices\.csv, line 3: usd_per_hour"):
        PriceBook.load(path, today=TODAY)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"provider,instance\n", "column gpus, usd_per_hour, spot, date, source is missing; there are provider, instance"),
        (b"", "is missing; there are none"),
        (b"\xff\xfe\x00", "cannot read the prices"),
        ((HEADER + "\naws,g6\n").encode(), "line 2: its number of fields"),
        ((HEADER + "\n" + ROW + ",more\n").encode(), "line 2: its number of fields"),
        ((HEADER + '\n"aws').encode(), "cannot read the prices"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(content)
    with pytest.raises(PriceError, match=problem):
        PriceBook.load(path, today=TODAY)


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PriceError, match=r"cannot read the prices .*missing\.csv"):
        PriceBook.load(tmp_path / "missing.csv")
    with pytest.raises(PriceError, match=r"has no \.csv file"):
        PriceBook.load(tmp_path)
    monkeypatch.setenv("GPU_CONFIG_DIR", str(tmp_path))
    (tmp_path / "prices").mkdir()
    write(tmp_path / "prices", ROW)
    assert [price.instance for price in PriceBook.load(today=TODAY).prices] == ["g6.xlarge"]


def test_old_prices_are_refused_until_told_otherwise(tmp_path: Path) -> None:
    old = TODAY - timedelta(days=91)
    path = write(tmp_path, ROW, ROW.replace("2026-11-01", old.isoformat()).replace("g6.xlarge", "g6.old"))
    book = PriceBook.load(path, today=TODAY)
    assert [price.instance for price in book.prices] == ["g6.xlarge"]
    assert [price.instance for price in book.refused] == ["g6.old"]
    assert len(PriceBook.load(path, today=TODAY, max_age_days=91).prices) == 2
    assert len(PriceBook.load(path, today=TODAY, allow_old=True).prices) == 2


def test_book_in_which_all_is_old_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    with pytest.raises(PriceError) as refused:
        PriceBook.load(path, today=date(2027, 6, 1))
    assert "all 1 prices are older than 90 days, the newest is of 2026-11-01; import a newer catalogue" in str(refused.value)
    for way in ("read_gpuhunt", "read_skypilot", "--prices", "price_file", "allow_old=True", "--allow-old", "?allow_old=true"):
        assert way in str(refused.value)
    with pytest.raises(PriceError, match="max_age_days"):
        PriceBook.load(path, today=TODAY, max_age_days=-1)


def test_prices_that_age_are_told_with_what_to_do(tmp_path: Path) -> None:
    old = TODAY - timedelta(days=100)
    assert PriceBook.load(write(tmp_path, ROW), today=TODAY).notes() == ()
    path = write(tmp_path, ROW, ROW.replace("2026-11-01", old.isoformat()).replace("g6.xlarge", "g6.old"))
    (left_out,) = PriceBook.load(path, today=TODAY).notes()
    assert left_out.startswith(f"1 offers are left out because their prices are older than 90 days, the newest of them of {old}; import a")
    assert "--allow-old" in left_out
    (used,) = PriceBook.load(path, today=TODAY, allow_old=True).notes()
    assert used.startswith(f"1 of these prices are older than 90 days, the oldest of {old}: ")
    assert "import a newer catalogue" in used
    assert left_out in PriceBook.load(path, today=TODAY).cheapest(2**30).notes


def test_the_age_counts_from_the_day_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path, ROW)
    monkeypatch.setattr(prices, "current_day", lambda: date(2026, 11, 20))
    assert len(PriceBook.load(path).prices) == 1
    monkeypatch.setattr(prices, "current_day", lambda: date(2027, 11, 20))
    with pytest.raises(PriceError, match="all 1 prices are older"):
        PriceBook.load(path)


def test_the_command_says_what_to_do_when_all_prices_are_old(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(prices, "current_day", lambda: date(2030, 1, 1))
    with pytest.raises(SystemExit) as ended:
        cli.main(["cost", "--memory", "20GiB"])
    assert ended.value.code != 0
    error = capsys.readouterr().err
    assert "import a newer catalogue" in error
    assert "--allow-old" in error
    told = CliRunner().invoke(cli.app, ["cost", "--memory", "20GiB", "--allow-old"], env={"COLUMNS": "300"})
    assert told.exit_code == 0
    assert "of these prices are older than 90 days" in told.output


def test_newest_price_of_an_offer_counts() -> None:
    rows = [offer(usd_per_hour=2, date=TODAY - timedelta(days=9)), offer(usd_per_hour=3), offer(usd_per_hour=1, spot=True)]
    book = PriceBook.of(rows, today=TODAY)
    assert sorted(price.usd_per_hour for price in book.prices) == [1, 3]
    newer = book.with_prices([offer(usd_per_hour=5, date=TODAY + timedelta(days=1))])
    assert sorted(price.usd_per_hour for price in newer.prices) == [1, 5]


def test_selection_is_by_what_people_write() -> None:
    rows = [
        offer(),
        offer(instance="spot", spot=True, usd_per_hour=0.3),
        offer(provider="RunPod", instance="pod", region="", gpu="H100 SXM", gpu_memory_gib=80, usd_per_hour=2.69),
        offer(instance="cpu", gpu="", gpus=0, gpu_memory_gib="", usd_per_hour=0.1),
    ]
    book = PriceBook.of(rows, today=TODAY)

    def names(**filters: object) -> list[str]:
        return [price.instance for price in book.select(**filters)]  # pyright: ignore[reportArgumentType]

    assert names() == ["cpu", "spot", "g6.xlarge", "pod"]  # by price
    assert names(gpu="h100") == ["pod"]
    assert names(gpu="") == ["cpu"]
    assert names(spot=False) == ["cpu", "g6.xlarge", "pod"]
    assert names(spot=True) == ["spot"]
    assert names(provider="runpod") == ["pod"]
    assert names(region="us-east") == ["cpu", "spot", "g6.xlarge", "pod"]  # the pod's price holds everywhere
    assert names(region="eu-") == ["pod"]
    assert names(min_memory_bytes=25 * 2**30) == ["pod"]


def test_saved_book_is_read_back_equal(tmp_path: Path) -> None:
    book = PriceBook.of([offer(), offer(instance="cpu", gpu="", gpus=0, gpu_memory_gib="", source='a "page", quoted')], today=TODAY)
    again = PriceBook.load(book.save(tmp_path / "saved.csv"), today=TODAY)
    assert set(again.prices) == set(book.prices)
    assert Price.from_dict(book.prices[0].to_dict()) == book.prices[0]
    with pytest.raises(PriceError, match="cannot write"):
        book.save(tmp_path / "no" / "folder.csv")


def test_the_prices_that_come_along_are_sound() -> None:
    folder = find_config("prices")
    assert folder is not None
    book = PriceBook.load(folder, today=TODAY)
    assert len(book.prices) >= 25
    assert {price.gpu for price in book.refused} == {"A10G", ""}  # of June 2026
    for price in (*book.prices, *book.refused):
        assert price.date <= TODAY
        assert "." in price.source  # a page
        assert 0.01 < price.usd_per_gpu_hour < 20
        assert price.gpu_memory_gib is None or 16 <= price.gpu_memory_gib <= 192


GPUHUNT = """instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size
g6.xlarge,us-east-1,0.8048,4,16,1,L4,24.0,False,
g6.xlarge,us-east-1,0.31,4,16,1,L4,24.0,True,
m5.large,us-east-1,0.096,2,8,0,,,False,
p9.unknown,us-east-1,9.0,4,16,1,X9,,False,
p5.unpriced,us-east-1,,4,16,1,H100,80,False,
"""


def test_gpuhunt_catalogue_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "aws.csv"
    path.write_text(GPUHUNT, "utf-8")
    rows = read_gpuhunt(path, date=date(2026, 11, 2))
    assert [(row.instance, row.gpu, row.gpus, row.spot, row.usd_per_hour) for row in rows] == [
        ("g6.xlarge", "L4", 1, False, 0.8048),
        ("g6.xlarge", "L4", 1, True, 0.31),
        ("m5.large", "", 0, False, 0.096),
    ]
    assert rows[0].provider == "aws"
    assert rows[0].source == "gpuhunt catalogue aws.csv"
    assert read_gpuhunt(path, date=date(2026, 11, 2), provider="other")[0].provider == "other"


# The columns of two clouds stand in different order.
SKYPILOT = """InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice
cpu_4x_general,,,4.0,16.0,0.2,us-east-1,,
gpu_8x_v100,V100,8.0,92.0,448.0,6.32,us-east-1,"{'Gpus': [{'Name': 'V100', 'MemoryInfo': {'SizeInMiB': 16384}}]}",2.5
tpu,TPU-V5,1.0,8,16,4.2,us-east-1,,
part,L4,0.5,2,8,0.4,us-east-1,"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 24576}}]}",
bad,L4,1,2,8,0.4,us-east-1,"__import__('os').system('true')",
"""


def test_skypilot_catalogue_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "vms.csv"
    path.write_text(SKYPILOT, "utf-8")
    rows = read_skypilot(path, provider="lambda", date=date(2026, 11, 2))
    assert [(row.instance, row.gpus, row.gpu_memory_gib, row.spot, row.usd_per_hour) for row in rows] == [
        ("cpu_4x_general", 0, None, False, 0.2),
        ("gpu_8x_v100", 8, 16, False, 6.32),
        ("gpu_8x_v100", 8, 16, True, 2.5),
        ("part", 1, 24, False, 0.4),
    ]
    assert rows[0].source == "skypilot catalogue of lambda"


def test_damaged_catalogues_are_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(GPUHUNT.replace("0.096", "much"), "utf-8")
    with pytest.raises(PriceError, match="line 4: usd_per_hour"):
        read_gpuhunt(path, date=TODAY)
    path.write_text(GPUHUNT.replace(",1,L4", ",one,L4"), "utf-8")
    with pytest.raises(PriceError, match="line 2: gpu_count"):
        read_gpuhunt(path, date=TODAY)
    path.write_text(SKYPILOT.replace("8.0,92", "-8,92"), "utf-8")
    with pytest.raises(PriceError, match="line 3: AcceleratorCount"):
        read_skypilot(path, provider="x", date=TODAY)
    path.write_text(GPUHUNT, "utf-8")
    with pytest.raises(PriceError, match="column InstanceType"):
        read_skypilot(path, provider="x", date=TODAY)
