"""``analytics/sales_report``: one page per month for people who read mails and not dashboards.

Made of questions about the metrics of the current release, for all months at once; each page is one file that needs
nothing from anywhere.
"""
