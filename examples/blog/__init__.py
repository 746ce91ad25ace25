"""A blog: users write posts, posts have comments and tags. Every read is one SQL statement."""
