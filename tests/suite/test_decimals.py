"""Exact decimals: the same statement means the same on every database, or is refused where it would not be exact."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

import pytest
from pydantic import create_model
from sqlalchemy import (
    Double,
    ForeignKey,
    Integer,
    Numeric,
    String,
    case,
    cast,
    func,
    insert,
    literal,
    null,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import CompileError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from querywright import Avg, ExactDecimal, Expr, Max, Min, Sum
from querywright.engine.databases.errors import classify
from querywright.errors import InvalidValue
from querywright.fetching.plan.related_rows import adapted as on_alias
from tests.suite.support import AnyDatabase, resolve, run_sync, session

D = Decimal
ROWS = [
    ("10.00", "0.125", 3),
    ("20.05", "20.050", 1),
    ("-0.05", "1.000", 7),
    ("1.15", "9.999", 2),
    ("0.00", "0.001", 2),
]
PRICES = [D(price) for price, _, _ in ROWS]
NO_ROUNDING = pytest.mark.drivers("sqlite+pysqlite", "postgresql+psycopg", "postgresql+asyncpg", "mariadb+pymysql")


class Base(DeclarativeBase):
    pass


class Cart(Base):
    __tablename__ = "decimal_carts"
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship()


class Item(Base):
    __tablename__ = "decimal_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    cart_id: Mapped[int] = mapped_column(ForeignKey("decimal_carts.id"))
    price: Mapped[Decimal] = mapped_column(ExactDecimal(12, 2))
    cost: Mapped[Decimal] = mapped_column("cost_column", ExactDecimal(10, 3))
    quantity: Mapped[int]
    rate: Mapped[Decimal] = mapped_column(Numeric(10, 4), default=D("1.5"))
    weight: Mapped[float] = mapped_column(Double, default=0.5)


@pytest.fixture
async def shop(db: AnyDatabase) -> AsyncIterator[Any]:
    """A session with some items, which is rolled back."""
    async with session(db) as opened:
        if db.engine.dialect.name == "mariadb":
            # Its DDL commits, so the table of the test before is still there.
            await run_sync(opened, lambda sync: Base.metadata.drop_all(sync.connection()))
        await run_sync(opened, lambda sync: Base.metadata.create_all(sync.connection()))
        opened.add_all([Cart(id=1), Cart(id=2)])
        await resolve(opened.flush())
        rows = [Item(id=n, cart_id=1, price=D(p), cost=D(c), quantity=q) for n, (p, c, q) in enumerate(ROWS)]
        rows[0].id = len(rows)
        opened.add_all(rows)
        await resolve(opened.flush())
        opened.expunge_all()
        yield opened


def of_each(python: Callable[[Decimal, Decimal, int], Any]) -> list[Any]:
    return [python(D(price), D(cost), quantity) for price, cost, quantity in [*ROWS[1:], ROWS[0]]]


def rounded(value: Decimal, digits: int) -> Decimal:
    return value.quantize(D(1).scaleb(-digits), ROUND_HALF_UP)


NOTHING = func.nullif(Item.price, Item.price, type_=Item.price.type)
# What a statement computes of each row, and what Python does; exact, with the same digits.
EXACT: dict[str, tuple[Any, Callable[[Decimal, Decimal, int], Any]]] = {
    "itself": (Item.price, lambda p, _c, _q: p),
    "twice": (Item.price * 2, lambda p, _c, _q: p * 2),
    "two times": (2 * Item.price, lambda p, _c, _q: p * 2),
    "taxed": (Item.price * D("1.19"), lambda p, _c, _q: p * D("1.19")),
    "tax": (D("0.075") * Item.price, lambda p, _c, _q: p * D("0.075")),
    "times a float": (Item.price * 1.1, lambda p, _c, _q: p * D("1.1")),
    "squared": (Item.price * Item.price, lambda p, _c, _q: p * p),
    "of other scale": (Item.price * Item.cost, lambda p, c, _q: p * c),
    "times a column": (Item.price * Item.quantity, lambda p, _c, q: p * q),
    "column times": (Item.quantity * Item.price, lambda p, _c, q: p * q),
    "plus": (Item.price + 5, lambda p, _c, _q: p + 5),
    "from": (5 - Item.price, lambda p, _c, _q: 5 - p),
    "plus less than a unit": (Item.price + D("0.005"), lambda p, _c, _q: p + D("0.005")),
    "plus a column": (Item.price + Item.quantity, lambda p, _c, q: p + q),
    "column plus": (Item.quantity + Item.price, lambda p, _c, q: p + q),
    "column minus": (Item.quantity - Item.price, lambda p, _c, q: q - p),
    "minus other scale": (Item.price - Item.cost, lambda p, c, _q: p - c),
    "negative": (-Item.price, lambda p, _c, _q: -p if p else p),
    "rest": (Item.price % 3, lambda p, _c, _q: p % 3),
    "profit": ((Item.price - Item.cost) * Item.quantity, lambda p, c, q: (p - c) * q),
    "grouped": (Item.quantity * (Item.price + Item.price), lambda p, _c, q: q * (p + p)),
    "coalesce": (func.coalesce(Item.price, 5), lambda p, _c, _q: p),
    "nothing, or": (func.coalesce(NOTHING, 5), lambda _p, _c, _q: D("5.00")),
    "case": (case((Item.price > 5, Item.price), else_=5), lambda p, _c, _q: p if p > 5 else D("5.00")),
    "case of one": (case((Item.price > 5, Item.price)), lambda p, _c, _q: p if p > 5 else None),
    "rounded": (cast(Item.price * D("1.1"), ExactDecimal(12, 2)), lambda p, _c, _q: rounded(p * D("1.1"), 2)),
    "more digits": (cast(Item.price, ExactDecimal(12, 4)), lambda p, _c, _q: p + D("0.0000")),
    "a number": (cast(Item.quantity, ExactDecimal(12, 2)), lambda _p, _c, q: q + D("0.00")),
    "of its own": (type_coerce(Item.price, ExactDecimal(12, 2)), lambda p, _c, _q: p),
}  # fmt: skip


@NO_ROUNDING
@pytest.mark.parametrize("name", EXACT)
async def test_arithmetic_is_exact(shop: Any, name: str) -> None:
    expression, python = EXACT[name]
    wanted = of_each(python)
    got = (await resolve(shop.execute(select(expression).order_by(Item.id)))).scalars().all()
    assert list(map(repr, got)) == list(map(repr, wanted))
    model = create_model("M", value=(Annotated[Decimal | None, Expr(lambda item: adapted(expression, item))], ...))
    written = b",".join(b'{"value":null}' if each is None else f'{{"value":"{each}"}}'.encode() for each in wanted)
    asked = shop.fetch(model, select(Item).order_by(Item.id))
    assert await resolve(asked.json()) == b"[" + written + b"]"
    assert [row.value for row in await resolve(asked.all())] == wanted


def adapted(expression: Any, item: Any) -> Any:
    """Write an expression of the class for an alias of it."""
    return expression if item is Item else on_alias(expression, item)


# Sums of all rows.
TOTALS: dict[str, tuple[Any, Any]] = {
    "sum": (func.sum(Item.price), sum(PRICES)),
    "sum of nothing": (func.coalesce(func.sum(case((Item.id < 0, Item.price))), 0), D("0.00")),
    "sum of some": (func.sum(case((Item.price > 5, Item.price), else_=0)), D("30.05")),
    "sum of products": (func.sum(Item.price * Item.quantity), D("52.00")),
    "turnover": (func.sum(Item.quantity * Item.price), D("52.00")),
    "different": (func.sum(Item.price.distinct()), sum(PRICES)),
    "most": (func.max(Item.price), D("20.05")),
    "least": (func.min(Item.cost), D("0.001")),
    "difference": (func.max(Item.price) - func.min(Item.price), D("20.10")),
    "in a subquery": (select(func.sum(Item.price)).scalar_subquery() + 1, sum(PRICES) + 1),
    "filtered": (func.count(Item.price.distinct()), 5),
}


@NO_ROUNDING
@pytest.mark.parametrize("name", TOTALS)
async def test_totals_are_exact(shop: Any, name: str) -> None:
    expression, wanted = TOTALS[name]
    [got] = (await resolve(shop.execute(select(expression)))).scalars().all()[:1]
    assert repr(got) == repr(wanted)


# Numbers like any other: not exact on any database, and never in the wrong unit.
NUMBERS: dict[str, tuple[Any, Callable[[Decimal, Decimal, int], Any]]] = {
    "half": (Item.price / 2, lambda p, _c, _q: p / 2),
    "third": (Item.price / 3, lambda p, _c, _q: p / 3),
    "each": (Item.price / Item.quantity, lambda p, _c, q: p / q),
    "inverse": (100 / Item.cost, lambda _p, c, _q: 100 / c),
    "ratio": (Item.price / Item.cost, lambda p, c, _q: p / c),
    "by weight": (Item.price * Item.weight, lambda p, _c, _q: p / 2),
    "by rate": (Item.price * Item.rate, lambda p, _c, _q: p * D("1.5")),
    "rated": (Item.price + Item.rate, lambda p, _c, _q: p + D("1.5")),
    "absolute": (func.abs(Item.price), lambda p, _c, _q: abs(p)),
    "rounded": (func.round(Item.cost, 1), lambda _p, c, _q: rounded(c, 1)),
    "typed": (func.abs(Item.price, type_=Item.price.type), lambda p, _c, _q: abs(p)),
    "cast": (cast(Item.price, Numeric(12, 2)), lambda p, _c, _q: p),
    "case of a number": (case((Item.price > 5, 1), else_=Item.price), lambda p, _c, _q: 1 if p > 5 else p),
    "greatest": (func.coalesce(null(), Item.price), lambda p, _c, _q: p),
    "before": (func.lag(Item.price).over(order_by=Item.id), lambda p, _c, _q: None),
}  # fmt: skip


@NO_ROUNDING
@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "before"])
async def test_numbers_are_in_the_right_unit(shop: Any, name: str) -> None:
    expression, python = NUMBERS[name]
    got = (await resolve(shop.execute(select(expression).order_by(Item.id)))).scalars().all()
    assert [float(each) for each in got] == pytest.approx([float(each) for each in of_each(python)], abs=1e-3)
    assert [round(float(each), 4) for each in got][-1] == pytest.approx(float(python(D("10.00"), D("0.125"), 3)), 1e-4)


@NO_ROUNDING
async def test_window_functions(shop: Any) -> None:
    prices = of_each(lambda p, _c, _q: float(p))
    lag = (await resolve(shop.execute(select(func.lag(Item.price).over(order_by=Item.id)).order_by(Item.id)))).scalars()
    assert [each if each is None else float(each) for each in lag] == [None, *prices[:-1]]
    [average] = set((await resolve(shop.execute(select(func.avg(Item.price).over())))).scalars())
    assert float(average) == pytest.approx(6.23)
    [total] = set((await resolve(shop.execute(select(func.sum(Item.price).over())))).scalars())
    assert total == sum(PRICES)
    [average] = (await resolve(shop.execute(select(func.avg(Item.price.distinct()))))).scalars()
    assert float(average) == pytest.approx(6.23)


# Conditions, and the prices for which they hold.
CONDITIONS: dict[str, tuple[Any, list[str]]] = {
    "more digits": (Item.price > D("1.005"), ["20.05", "1.15", "10.00"]),
    "a float": (Item.price > 1.005, ["20.05", "1.15", "10.00"]),
    "equal to a float": (Item.price == 1.15, ["1.15"]),
    "never equal": (Item.price == D("1.1500000000000000000000001"), []),
    "just not": (Item.price >= D("1.1500000000000000000000001"), ["20.05", "10.00"]),
    "just so": (Item.price <= D("-0.049999999999999999999999999"), ["-0.05"]),
    "huge": (Item.price < D("1e300"), ["20.05", "-0.05", "1.15", "0.00", "10.00"]),
    "as huge a float": (Item.price > -1e300, ["20.05", "-0.05", "1.15", "0.00", "10.00"]),
    "too huge": (Item.price >= 10**40, []),
    "integer": (Item.price == 10, ["10.00"]),
    "on the right": (D("10.001") > Item.price, ["-0.05", "1.15", "0.00", "10.00"]),
    "among": (Item.price.in_([10, D("1.15"), 0.001]), ["1.15", "10.00"]),
    "not among": (Item.price.not_in([10, D("1.155")]), ["20.05", "-0.05", "1.15", "0.00"]),
    "between": (Item.price.between(D("1.149"), 10), ["1.15", "10.00"]),
    "twice": (Item.price * 2 > 30, ["20.05"]),
    "sum": (Item.price + Item.price > D("20.001"), ["20.05"]),
    "a column": (Item.price > Item.quantity, ["20.05", "10.00"]),
    "a column on the left": (Item.quantity < Item.price, ["20.05", "10.00"]),
    "other scale": (Item.price == Item.cost, ["20.05"]),
    "a numeric": (Item.rate < Item.price, ["20.05", "10.00"]),
    "than a numeric": (Item.price > Item.rate, ["20.05", "10.00"]),
    "average": (Item.price > select(func.avg(Item.price)).scalar_subquery(), ["20.05", "10.00"]),
    "below average": (select(func.avg(Item.price)).scalar_subquery() > Item.price, ["-0.05", "1.15", "0.00"]),
    "most": (Item.price == select(func.max(Item.price)).scalar_subquery(), ["20.05"]),
    "function": (func.abs(Item.price) < D("0.5"), ["-0.05", "0.00"]),
    "quotient": (Item.price / 2 > D("5.01"), ["20.05"]),
    "nothing": (Item.price.is_(None), []),
    "something": (Item.price.is_not(None), ["20.05", "-0.05", "1.15", "0.00", "10.00"]),
    "literal": (literal(10) == Item.price, ["10.00"]),
    "text": (cast(Item.price, String(20)) == "10.00", ["10.00"]),
    "whole": (cast(Item.price, Integer) == 1, ["1.15"]),
}  # fmt: skip


@NO_ROUNDING
@pytest.mark.parametrize("name", CONDITIONS)
async def test_conditions(shop: Any, name: str) -> None:
    condition, wanted = CONDITIONS[name]
    got = (await resolve(shop.execute(select(Item.price).where(condition).order_by(Item.id)))).scalars().all()
    assert list(map(str, got)) == wanted
    model = create_model("M", price=(Decimal, ...))
    rows = await resolve(shop.fetch(model, select(Item).where(condition).order_by(Item.id)).all())
    assert [str(row.price) for row in rows] == wanted


CHANGES: dict[str, tuple[Any, Callable[[Decimal, Decimal, int], Any]]] = {
    "product": (Item.price * D("1.1"), lambda p, _c, _q: rounded(p * D("1.1"), 2)),
    "product with a float": (Item.price * 1.5, lambda p, _c, _q: rounded(p * D("1.5"), 2)),
    "sum": (Item.price + 1, lambda p, _c, _q: p + 1),
    "other scale": (Item.cost, lambda _p, c, _q: rounded(c, 2)),
    "integer": (Item.quantity, lambda _p, _c, q: D(q)),
    "value": (D("7.25"), lambda _p, _c, _q: D("7.25")),
    "case": (case((Item.price > 5, Item.price * 2), else_=3), lambda p, _c, _q: p * 2 if p > 5 else D(3)),
    "rounded float": (cast(Item.price / 4, ExactDecimal(12, 2)), lambda p, _c, _q: rounded(p / 4, 2)),
}


@NO_ROUNDING
@pytest.mark.parametrize("name", CHANGES)
async def test_columns_are_set_to_what_is_exact(shop: Any, name: str) -> None:
    value, python = CHANGES[name]
    wanted = of_each(python)
    await resolve(shop.execute(update(Item).values(price=value).execution_options(synchronize_session=False)))
    assert (await resolve(shop.execute(select(Item.price).order_by(Item.id)))).scalars().all() == wanted


@NO_ROUNDING
async def test_other_columns_are_set_to_numbers(shop: Any) -> None:
    statement = update(Item).values(rate=Item.price, weight=Item.price * 2)
    await resolve(shop.execute(statement.execution_options(synchronize_session=False)))
    rows = (await resolve(shop.execute(select(Item.price, Item.rate, Item.weight)))).all()
    assert [(price, float(price) * 2) for price, _, _ in rows] == [(rate, weight) for _, rate, weight in rows]


@NO_ROUNDING
async def test_attributes_are_set_to_expressions(shop: Any) -> None:
    item = (await resolve(shop.execute(select(Item).where(Item.id == 3)))).scalars().one()
    item.price = Item.price * D("1.1")
    await resolve(shop.flush())
    await resolve(shop.refresh(item))
    assert item.price == D("1.27")


INEXACT: dict[str, Any] = {
    "quotient": update(Item).values(price=Item.price / 3),
    "average": update(Item).values(price=select(func.avg(Item.price)).scalar_subquery()),
    "numeric": update(Item).values(price=Item.rate),
    "by mapped name": update(Item).values(cost=Item.rate),
    "in an insert": insert(Item).values(id=99, cart_id=1, price=literal(D("1.5")) / 3, cost=0, quantity=1),
    "copied": insert(Item).from_select(
        ["cart_id", "price", "cost_column", "quantity", "rate", "weight"],
        select(Item.cart_id, Item.cost, Item.cost, Item.quantity, Item.rate, Item.weight),
    ),
    "numeric on the left": select(Item.rate * Item.price),
}


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
@pytest.mark.parametrize("name", INEXACT)
async def test_what_cannot_be_exact_is_refused(shop: Any, name: str) -> None:
    with pytest.raises(CompileError, match="On SQLite"):
        await resolve(shop.execute(INEXACT[name]))


@NO_ROUNDING
async def test_a_value_with_more_digits_is_the_clients_mistake(shop: Any) -> None:
    for value in (D("1.005"), D("1e300"), D("NaN")):
        with pytest.raises(StatementError) as caught:
            await resolve(shop.execute(update(Item).values(price=value)))
        assert isinstance(classify(caught.value), InvalidValue)


@pytest.mark.drivers("sqlite+pysqlite", "sqlite+aiosqlite")
async def test_more_than_64_bits_are_never_rows(shop: Any) -> None:
    large = select(Item.price * D("1e15") * D("1e15"))
    with pytest.raises(ValueError, match="a result beyond 64 bits"):
        (await resolve(shop.execute(large))).scalars().all()


@NO_ROUNDING
async def test_aggregates_of_a_relationship(shop: Any) -> None:
    model = create_model(
        "M",
        total=(Annotated[Decimal, Sum("items", of="price")], ...),
        maybe=(Annotated[Decimal | None, Sum("items", of="price")], ...),
        numeric=(Annotated[Decimal, Sum("items", of="rate")], ...),
        average=(Annotated[float | None, Avg("items", of="price")], ...),
        most=(Annotated[Decimal | None, Max("items", of="price")], ...),
        least=(Annotated[Decimal | None, Min("items", of="cost")], ...),
        turnover=(Annotated[Decimal, Sum("items", of=lambda item: item.price * item.quantity)], ...),
        weight=(Annotated[float, Sum("items", of="weight")], ...),
        number=(Annotated[int, Sum("items", of="quantity")], ...),
    )
    asked = shop.fetch(model, select(Cart).order_by(Cart.id))
    expected = (
        b'[{"total":"31.15","maybe":"31.15","numeric":"7.5000","average":6.23,"most":"20.05","least":"0.001",'
        b'"turnover":"52.00","weight":2.5,"number":15},'
        b'{"total":"0.00","maybe":null,"numeric":"0.0000","average":null,"most":null,"least":null,'
        b'"turnover":"0.00","weight":0.0,"number":0}]'
    )
    assert await resolve(asked.json()) == expected
    assert b",".join([row.model_dump_json().encode() for row in await resolve(asked.all())]) == expected[1:-1]
