"""Imports every `tables.py`, so that Alembic and the test database see all of them."""

from app.chat import tables as chat
from app.db import Base
from app.knowledge import tables as knowledge
from app.notices import tables as notices
from app.people import tables as people
from app.recommend import campaign_tables
from app.recommend import tables as recommend
from app.rest import tables as rest
from app.service_desk import duty_tables as duties
from app.service_desk import emergency_tables as emergencies
from app.service_desk import incident_tables, promise_tables
from app.service_desk import tables as service_desk
from app.service_desk import webhook_tables as webhooks

metadata = Base.metadata

__all__ = [
    "campaign_tables",
    "chat",
    "duties",
    "emergencies",
    "incident_tables",
    "knowledge",
    "metadata",
    "notices",
    "people",
    "promise_tables",
    "recommend",
    "rest",
    "service_desk",
    "webhooks",
]
