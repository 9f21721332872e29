"""Turn what happens into metrics, and ask the parts for what is to be shown at a scrape."""

from appliance.actions.health import HealthCheck
from appliance.engine.engine import Engine
from appliance.engine.served import Served
from appliance.metrics import Metrics
from appliance.store.database import Database
from appliance.store.disk import DiskWatch
