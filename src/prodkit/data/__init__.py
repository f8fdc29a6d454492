"""What a service keeps: database, unit of work, sagas, pages. They need the `sql` extra.

`cache.Cache` and `loader.Loader` keep and gather what others answered; they need no extra.
`database.Database` (SQLite or PostgreSQL), `migrations`, `unit_of_work.UnitOfWork`,
`lock.SqlLock`, `saga.Saga` of `saga.Step`s run by `saga_runner.SagaRunner`, `pagination`.
"""
