"""The blog's HTTP interface."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import FastAPI, Path, Query, status
from sqlalchemy import select

from examples.blog.models import Post, Tag, User
from examples.blog.schemas import LARGEST_ID, PostIn, PostOut, PostPatch, PostSummary, UserIn, UserOut
from querywright import AsyncDatabase, AsyncSession, NotFound
from querywright.fastapi import Json, Reader, Writer, install, lifespan

# As large as the column: what OpenAPI allows, the database can look for.
Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=10_000)]


def create_app(db: AsyncDatabase) -> FastAPI:
    """Make the application for a database."""
    app = FastAPI(title="Blog", lifespan=lifespan(db))
    install(app, db)

    @app.get("/users")
    async def list_users(db: Reader, limit: Limit = 20, offset: Offset = 0) -> Json[list[UserOut]]:
        active = select(User).where(User.is_active).order_by(User.id)
        return Json(await db.fetch(UserOut, active.limit(limit).offset(offset)).json())

    @app.get("/users/{user_id}")
    async def get_user(user_id: Id, db: Reader) -> Json[UserOut]:
        return Json(await db.fetch(UserOut, select(User).where(User.id == user_id)).json_one())

    @app.post("/users", status_code=status.HTTP_201_CREATED)
    async def create_user(data: UserIn, tx: Writer) -> UserOut:
        user = User(**data.model_dump(), created_at=dt.datetime.now(dt.timezone.utc))
        tx.add(user)
        await tx.flush()
        return await tx.fetch(UserOut, select(User).where(User.id == user.id)).one()

    @app.get("/posts")
    async def search_posts(
        db: Reader, q: Annotated[str, Query(min_length=2, max_length=100)], limit: Limit = 20, offset: Offset = 0
    ) -> Json[list[PostSummary]]:
        found = select(Post).where(Post.title.icontains(q, autoescape=True)).order_by(Post.id)
        return Json(await db.fetch(PostSummary, found.limit(limit).offset(offset)).json())

    @app.get("/posts/{post_id}")
    async def get_post(post_id: Id, db: Reader) -> Json[PostOut]:
        return Json(await db.fetch(PostOut, select(Post).where(Post.id == post_id)).json_one())

    @app.post("/posts", status_code=status.HTTP_201_CREATED)
    async def create_post(data: PostIn, tx: Writer) -> PostOut:
        post = Post(**data.model_dump(exclude={"tags"}), created_at=dt.datetime.now(dt.timezone.utc))
        post.tags = await _tags(tx, data.tags)
        tx.add(post)
        await tx.flush()
        return await tx.fetch(PostOut, select(Post).where(Post.id == post.id)).one()

    @app.patch("/posts/{post_id}")
    async def update_post(post_id: Id, data: PostPatch, tx: Writer) -> PostOut:
        post = await _post(tx, post_id)
        for name, value in data.model_dump(exclude_none=True).items():
            setattr(post, name, value)
        return await tx.fetch(PostOut, select(Post).where(Post.id == post_id)).one()

    @app.delete("/posts/{post_id}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete_post(post_id: Id, tx: Writer) -> None:
        await tx.delete(await _post(tx, post_id))

    return app


async def _post(tx: AsyncSession, post_id: int) -> Post:
    post = await tx.get(Post, post_id)
    if post is None:
        raise NotFound("Post")
    return post


async def _tags(tx: AsyncSession, names: list[str]) -> list[Tag]:
    """Find the tags of these names, and make those that are new."""
    wanted = dict.fromkeys(names)
    known = {tag.name: tag for tag in await tx.scalars(select(Tag).where(Tag.name.in_(wanted)))}
    return [known.get(name) or Tag(name=name) for name in wanted]
