"""Records: tables, transactions, the audit log, the outbox, leases, job runs, migrations.

One `Store` per process (`store.engine.open_store`). The same code runs on SQLite and on PostgreSQL.
"""
