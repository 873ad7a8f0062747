"""The service desk: work orders from the report to the return visit, and who does what by when."""
