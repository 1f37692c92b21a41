"""The email service: writes to the customer."""
