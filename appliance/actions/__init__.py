"""What the product does: one file for each verb; no HTTP, no SQL, no OpenVINO."""
