"""Questions about measures: one function from a question to an expression, whatever surface asks.

    question = ask(["netSales"], by=["country", "month"], where=["productLine=Planes"], period="2004", compare="year")
    rows = expression(question, store.read).to_pyarrow()

A question is checked when it is made, before anything is opened: unknown names, and dimensions that a measure cannot
be cut by, are a ``QuestionError``. The expression reads facts and dimensions of the warehouse and nothing else.
"""

from classic_cars.serving.metrics.columns import POINTS, AnswerColumn, columns_of
from classic_cars.serving.metrics.expression import expression
from classic_cars.serving.metrics.periods import Period
from classic_cars.serving.metrics.question import Question, ask, facts_about
from classic_cars.serving.metrics.values import hints, latest, not_over, unknown_values, values_near

__all__ = [
    "POINTS",
    "AnswerColumn",
    "Period",
    "Question",
    "ask",
    "columns_of",
    "expression",
    "facts_about",
    "hints",
    "latest",
    "not_over",
    "unknown_values",
    "values_near",
]
