"""What a resident may like: items, what people did with them, candidates, ranking, reasons, trained rankers."""
