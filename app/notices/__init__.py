"""Telling people: messages and the ways they leave the house."""
