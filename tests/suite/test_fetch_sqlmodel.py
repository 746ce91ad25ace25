"""Table classes and response models of SQLModel work like any other."""

import json

from sqlalchemy import select
from sqlmodel import Field, Relationship, SQLModel

from tests.suite.support import AnyDatabase, resolve, run_sync, session


class Team(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=50)  # MySQL and MariaDB have no VARCHAR without a length
    heroes: list["Hero"] = Relationship(back_populates="team")


class Hero(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=50)  # MySQL and MariaDB have no VARCHAR without a length
    team_id: int | None = Field(default=None, foreign_key="team.id")
    team: Team | None = Relationship(back_populates="heroes")


class HeroOut(SQLModel):
    name: str


class TeamOut(SQLModel):
    id: int
    name: str
    heroes: list[HeroOut]


async def test_sqlmodel_tables_and_models(db: AnyDatabase) -> None:
    async with session(db) as opened:
        await run_sync(opened, lambda sync: SQLModel.metadata.create_all(sync.connection()))
        opened.add(Team(id=1, name="one", heroes=[Hero(id=1, name="a"), Hero(id=2, name="b")]))
        await resolve(opened.flush())
        row = json.loads(await resolve(opened.fetch(TeamOut, select(Team)).json_one()))
    assert row["name"] == "one"
    assert sorted(hero["name"] for hero in row["heroes"]) == ["a", "b"]
