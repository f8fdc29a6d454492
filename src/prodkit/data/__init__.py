"""What a service keeps: database, unit of work, sagas, pages. Needs the `sql` extra.

`database.Database`, `unit_of_work.UnitOfWork`, `saga.Saga` of `saga.Step`s run by
`saga_runner.SagaRunner`, `pagination`.
"""
