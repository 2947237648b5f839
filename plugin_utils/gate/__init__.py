"""The gate as people meet it: a soak's progress, and a report judged anew."""
