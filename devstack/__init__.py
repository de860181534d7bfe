"""Embedded services: a real Kafka, Valkey and PostgreSQL from Python wheels, for one checkout.

Owns how they are installed, configured, started, watched and stopped. Knows nothing of the sale.
Only its management command and its app configuration know Django.
"""
