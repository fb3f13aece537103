"""Contracts of the answers about customers: whether they come back, and what they owe.

Customers are numbers here: who they are is in ``warehouse/dim_customers``. Both tables are made from partial
aggregates, and reconciled with the control totals of source.
"""

from __future__ import annotations

from typing import Annotated

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandera.ibis as pa

from classic_cars.contracts import proofs
from classic_cars.contracts.measures import MEASURES
from classic_cars.contracts.origins import derived
from classic_cars.contracts.vocabulary import (
    Amount,
    Bool,
    Date,
    Int,
    Long,
    Money,
    Reconciliation,
    Reference,
    TableModel,
    facts,
    row_rule,
)

#: A part of a whole, rounded half up to a hundredth of a percent.
Share = Annotated[dt.Decimal, 18, 4, True]

SALES, DAYS = "analytics/monthly_sales_by_customer", "warehouse/dim_dates.date"
NET, PAID = f"{SALES}.netSales", "warehouse/fact_payments.amount"
LIMIT = "warehouse/dim_customers.creditLimit"


def quarter_number(day: ir.DateValue) -> ir.IntegerValue:
    """Quarters since the year 0: consecutive ones differ by 1."""
    return day.year() * 4 + day.quarter() - 1


# The other way to the numbers ----------------------------------------------------------------------------


def _with_orders(sales_by_customer: ibis.Table) -> ibis.Table:
    """Control totals of known customers with orders that were not cancelled, by number of the quarter."""
    sold, known = sales_by_customer.soldOrders > 0, sales_by_customer.customerNumber != proofs.NO_NUMBER
    found = sales_by_customer.filter(sold, known)
    return found.mutate(number=quarter_number(found.orderMonth))


def _bought(customer_cohorts: ibis.Table) -> ibis.Table:
    return customer_cohorts.select(
        "quartersSince", "customers", "soldOrders", "netSales", cohort=quarter_number(customer_cohorts.cohort)
    )


def _bought_by_month(control_sales_by_customer: ibis.Table) -> ibis.Table:
    bought = _with_orders(control_sales_by_customer)
    bought = bought.mutate(cohort=bought.number.min().over(group_by="customerNumber"))
    return bought.group_by("cohort", quartersSince=bought.number - bought.cohort).aggregate(
        customers=bought.customerNumber.nunique(), soldOrders=bought.soldOrders.sum(), netSales=bought.netSales.sum()
    )


def _cohorts(customer_cohorts: ibis.Table) -> ibis.Table:
    cohort = quarter_number(customer_cohorts.cohort)
    return customer_cohorts.group_by(cohort=cohort).aggregate(
        quarters=customer_cohorts.count(),
        cohortCustomers=customer_cohorts.cohortCustomers.max(),
        least=customer_cohorts.cohortCustomers.min(),
    )


def _cohorts_by_month(control_sales_by_customer: ibis.Table) -> ibis.Table:
    bought = _with_orders(control_sales_by_customer)
    customers = bought.group_by("customerNumber").aggregate(cohort=bought.number.min(), last=bought.number.max())
    customers = customers.mutate(last=customers["last"].max().over(ibis.window()))
    found = customers.group_by("cohort", "last").aggregate(cohortCustomers=customers.count())
    return found.select("cohort", "cohortCustomers", quarters=found["last"] - found.cohort + 1, least="cohortCustomers")


def _owed(customer_balances: ibis.Table) -> ibis.Table:
    return customer_balances.select("customerNumber", "netSales", "payments", "balance")


def _owed_by_payment(control_sales_by_customer: ibis.Table, payments: ibis.Table) -> ibis.Table:
    nothing = ibis.literal(0).cast("decimal(18, 2)")
    sold = control_sales_by_customer
    flows = ibis.union(
        sold.select("customerNumber", sold=sold.netSales, paid=nothing),
        payments.select("customerNumber", sold=nothing, paid=payments.amount.cast("decimal(18, 2)")),
    )
    found = flows.group_by("customerNumber").aggregate(netSales=flows.sold.sum(), payments=flows.paid.sum())
    return found.mutate(balance=found.netSales - found.payments)


# Tables --------------------------------------------------------------------------------------------------


class CustomerCohorts(TableModel):
    """Do customers come back? One row per cohort and quarter since, up to the last one with sales.

    A cohort is the customers whose first order was in one quarter. Cancelled orders, orders without lines, and orders
    that name no customer do not count. A quarter in which nobody of a cohort bought has a row, too.
    """

    cohort: Date = pa.Field(
        description="First day of the quarter of the customers' first order", metadata=derived(f"{SALES}.orderMonth")
    )
    quarter: Date = pa.Field(description="First day of the quarter in which they bought", metadata=derived(DAYS))
    quartersSince: Long = pa.Field(
        ge=0,
        description="Quarters between the two; 0: the one of the first order",
        metadata=derived(DAYS, f"{SALES}.orderMonth"),
    )
    cohortCustomers: Long = pa.Field(
        ge=1, description="Customers of the cohort", metadata=derived(f"{SALES}.customerNumber")
    )
    customers: Long = pa.Field(
        ge=0,
        description="Those of them who bought in the quarter; not to be summed over quarters",
        metadata=derived(f"{SALES}.customerNumber"),
    )
    retention: Share = pa.Field(
        in_range={"min_value": 0, "max_value": 1},
        description="Share of the cohort who bought in the quarter; half of 0.0001 rounded up",
        metadata=derived(f"{SALES}.customerNumber"),
    )
    soldOrders: Long = pa.Field(
        ge=0,
        description="Their orders in the quarter that were not cancelled",
        metadata=derived(f"{SALES}.soldOrders"),
    )
    netSales: Amount = pa.Field(ge=0, description="Net sales of these orders, in USD", metadata=derived(NET))

    @row_rule("quarter is quartersSince quarters after cohort")
    def so_many_quarters_later(cls, cohorts: ibis.Table) -> ir.BooleanValue:
        return quarter_number(cohorts.quarter) == quarter_number(cohorts.cohort) + cohorts.quartersSince

    @row_rule("in the quarter of their first order all customers of the cohort bought, in later ones some of them")
    def all_bought_at_first(cls, cohorts: ibis.Table) -> ir.BooleanValue:
        everybody = cohorts.customers == cohorts.cohortCustomers
        return ibis.ifelse(cohorts.quartersSince == 0, everybody, cohorts.customers <= cohorts.cohortCustomers)

    @row_rule("retention is customers divided by cohortCustomers")
    def retention_is_a_share(cls, cohorts: ibis.Table) -> ir.BooleanValue:
        shares = (cohorts.customers * 20_000 + cohorts.cohortCustomers) // (cohorts.cohortCustomers * 2)
        return (cohorts.retention * 10_000).cast("int64") == shares

    class Config:
        name = "analytics/customer_cohorts"
        unique = ["cohort", "quarter"]
        metadata = facts(
            totals={"netSales": lambda cohorts: cohorts.netSales.sum()},
            reconciliations=[
                Reconciliation(
                    "by cohort and quarter, from source",
                    by=("cohort", "quartersSince"),
                    actual=_bought,
                    expected=_bought_by_month,
                    assumes=proofs.ASSUMES,
                ),
                Reconciliation("by cohort, from source", by=("cohort",), actual=_cohorts, expected=_cohorts_by_month),
            ],
        )


class CustomerBalances(TableModel):
    """What do customers owe, and how much of their credit do they use? One row per customer.

    Of all orders that were not cancelled and of all payments, whatever their day.
    """

    customerNumber: Int = pa.Field(description="Customer, in dim_customers; -1: the customer of orders that name none")
    netSales: Amount = pa.Field(ge=0, description=MEASURES["netSales"].description, metadata=derived(NET))
    payments: Amount = pa.Field(description="Payments of the customer, in USD", metadata=derived(PAID))
    balance: Amount = pa.Field(
        description="Net sales less payments, in USD; above 0 is owed, below 0 was paid in advance",
        metadata=derived(NET, PAID),
    )
    creditLimit: Money = pa.Field(ge=0, nullable=True, description="Credit limit, in USD; missing: not known")
    creditUsed: Share = pa.Field(
        ge=0,
        nullable=True,
        description="What is owed as a share of the credit limit, half of 0.0001 rounded up; 0 when nothing is owed, "
        "missing where the limit is 0 or not known",
        metadata=derived(NET, PAID, LIMIT),
    )
    isOverLimit: Bool = pa.Field(
        nullable=True,
        description="Whether more is owed than the credit limit; missing where it is not known",
        metadata=derived(NET, PAID, LIMIT),
    )

    @row_rule("balance is netSales less payments, to the cent")
    def balance_is_what_is_left(cls, balances: ibis.Table) -> ir.BooleanValue:
        return balances.balance == balances.netSales - balances.payments

    @row_rule("creditUsed times creditLimit is what is owed, there is one where there is a limit")
    def used_is_a_share(cls, balances: ibis.Table) -> ir.BooleanValue:
        owed = ibis.greatest(balances.balance, 0).cast("decimal(18, 2)")
        apart = (balances.creditUsed * balances.creditLimit - owed).abs() * 20_000
        return ibis.ifelse(
            (balances.creditLimit > 0).fill_null(False),
            (apart <= balances.creditLimit).fill_null(False),
            balances.creditUsed.isnull(),
        )

    @row_rule("isOverLimit says whether balance is more than creditLimit")
    def over_is_more(cls, balances: ibis.Table) -> ir.BooleanValue:
        return balances.isOverLimit.identical_to(balances.balance > balances.creditLimit)

    class Config:
        name = "analytics/customer_balances"
        unique = ["customerNumber"]
        metadata = facts(
            totals={
                "netSales": lambda balances: balances.netSales.sum(),
                "payments": lambda balances: balances.payments.sum(),
                "balance": lambda balances: balances.balance.sum(),
            },
            references=[Reference("customerNumber", "warehouse/dim_customers", "customerNumber")],
            reconciliations=[
                Reconciliation(
                    "by customer, from source and payment by payment",
                    by=("customerNumber",),
                    actual=_owed,
                    expected=_owed_by_payment,
                    assumes=proofs.ASSUMES,
                )
            ],
        )
