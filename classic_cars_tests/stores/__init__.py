"""Tests of the stores: one suite for all of them, and what each can do beyond it."""
