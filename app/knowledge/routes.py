"""Documents over REST (being written)."""

from fastapi import APIRouter

router = APIRouter(tags=["knowledge"])
