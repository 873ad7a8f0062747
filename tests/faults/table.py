"""All faults, by name."""

from tests.faults import client_faults, clock_faults, disk_faults, engine_faults, process_faults, store_faults
from tests.faults.fault import Fault

TABLES = (
    process_faults.FAULTS,
    store_faults.FAULTS,
    disk_faults.FAULTS,
    engine_faults.FAULTS,
    client_faults.FAULTS,
    clock_faults.FAULTS,
)
FAULTS: dict[str, Fault] = {fault.name: fault for table in TABLES for fault in table}
