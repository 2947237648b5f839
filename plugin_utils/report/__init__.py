"""The report of a run: report.json and its page; docs/report.md describes them."""
