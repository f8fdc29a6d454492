"""The composition root: lifecycle, health, settings, workers; one page that is a whole service.

Begin with `service.Service` and its `run`; `platform.Platform` runs several in one process. What
goes in: `settings.load_settings`, `health.Health` and `health.Check`, `admin.Admin`,
`workers.Worker`, `contract_pipelines.ContractPipelines`, anything that is a `component.Component`.
"""
