"""A gallery of seeded bugs: ten small faulty servers, each with a mistake that gets written in real life.

Each module is one bug: what is wrong, how it comes to be written, and what the kit sees. `gallery` lists them,
`python -m tests.testing.bugs` hunts them all, and `docs/bugs.md` shows what was found.
"""
