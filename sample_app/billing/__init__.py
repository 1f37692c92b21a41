"""The billing service: charges each order once."""
