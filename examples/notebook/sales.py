"""Ten questions to the warehouse, and one wrong answer that was once published. A marimo notebook.

    pip install 'classic-cars[notebook]'
    marimo edit examples/notebook/sales.py    # or: marimo run; python examples/notebook/sales.py

It asks the current release below ``CLASSIC_CARS_HOME``.
"""

import marimo

app = marimo.App(width="medium", app_title="Classic Cars")


@app.cell
def _():
    from contextlib import ExitStack

    import altair as alt
    import marimo as mo

    from classic_cars import warehouse

    stack = ExitStack()  # the release stays open as long as the notebook
    release = stack.enter_context(warehouse.open())
    return alt, mo, release, warehouse


@app.cell
def _(mo, release):
    mo.md(f"""
    # Classic Cars: ten questions

    All answers are from **release {release.number}**, made {release.made:%Y-%m-%d %H:%M} UTC. Its tables agree with
    each other and with the order system, to the cent:

    {chr(10).join(f"- {line}" for line in release.proof)}
    """)


@app.cell
def _(alt, mo):
    def drawn(chart):
        """With marimo's own Vega: Altair's would be loaded from the web."""
        return mo.ui.altair_chart(chart.properties(width=520), chart_selection=False, legend_selection=False)

    def bars(rows, name, measure):
        """A bar for each row, the longest first."""
        chart = alt.Chart(rows[[name, measure]].astype({measure: float})).mark_bar()
        return drawn(chart.encode(x=alt.X(f"{measure}:Q"), y=alt.Y(f"{name}:N").sort("-x")))

    return bars, drawn


@app.cell
def _(bars, mo, release, warehouse):
    product_lines = release.metrics("netSales, grossProfit, margin", by="productLine").to_pandas()
    mo.vstack(
        [
            mo.md(
                f"## 1. Which product lines are more successful?\n\n{warehouse.describe('netSales').splitlines()[0]}."
            ),
            bars(product_lines, "productLine", "netSales"),
            product_lines,
        ]
    )
    return (product_lines,)


@app.cell
def _(bars, mo, release):
    countries = release.metrics("bookedAmount, netSales, orders", by="country").to_pandas()
    mo.vstack(
        [
            mo.md("## 2. How are sales distributed across countries?"),
            bars(countries, "country", "netSales"),
            countries,
        ]
    )
    return (countries,)


@app.cell
def _(alt, drawn, mo, release):
    months = release.metrics("netSales, units", by="month").to_pandas()
    line = alt.Chart(months.astype({"netSales": float})).mark_line(point=True)
    mo.vstack(
        [
            mo.md("## 3. How do sales develop, month by month?"),
            drawn(line.encode(x="month:O", y="netSales:Q")),
        ]
    )
    return (months,)


@app.cell
def _(mo, release):
    quarter = release.metrics("netSales, orders", period="2003-Q2", compare="before").to_pandas()
    mo.vstack([mo.md("## 4. Is this quarter better than the one before?"), quarter])
    return (quarter,)


@app.cell
def _(mo, release):
    best = release.metrics("netSales", by="customer", top=10).to_pandas()
    share = best["netSales"].sum() / release.metrics("netSales").to_pandas()["netSales"].sum()
    mo.vstack(
        [
            mo.md("## 5. Who are the ten best customers?"),
            best,
            mo.md(f"## 6. How much of all sales do these ten bring?\n\n{share:.1%}"),
        ]
    )
    return best, share


@app.cell
def _(mo, release):
    offices = release.metrics("netSales, orders", by="office", where="productLine=Classic Cars").to_pandas()
    mo.vstack([mo.md("## 7. Which offices sell most of the classic cars?"), offices])
    return (offices,)


@app.cell
def _(bars, mo, release):
    discounts = release.metrics("discount, discountAmount", by="productLine").to_pandas()
    mo.vstack(
        [mo.md("## 8. How far below the list price is sold?"), bars(discounts, "productLine", "discount"), discounts]
    )
    return (discounts,)


@app.cell
def _(mo, release):
    lines = release.table("warehouse.fact_orders")
    amounts = lines.group_by("orderNumber").agg(amount=lines.orderAmount.sum(), units=lines.quantityOrdered.sum())
    largest = amounts.order_by(amounts.amount.desc(), amounts.orderNumber).limit(5).to_pandas()
    mo.vstack([mo.md("## 9. Which orders are the largest?"), largest])
    return (largest,)


@app.cell
def _(mo, release):
    scales = release.sql("""
        SELECT productScale, count(*) AS models, count(o.productCode) AS ordered
        FROM warehouse.dim_products p
        LEFT JOIN (SELECT DISTINCT productCode FROM warehouse.fact_orders) o USING (productCode)
        GROUP BY productScale ORDER BY productScale
    """).to_pandas()
    mo.vstack([mo.md("## 10. How many models of each scale are there, and how many were ever ordered?"), scales])
    return (scales,)


@app.cell
def _(mo):
    mo.md("""
    # The wrong answer

    A published pipeline for this very database joins orders to places on the postal code, once where it makes the
    facts and once more where it reports. Several cities share a postal code, so each join repeats order lines;
    customers without one are dropped. Nothing in it could notice. Here is the same, asked of the tables of this
    release, beside the right answer.
    """)


@app.cell
def _(countries, mo, release):
    places = release.table("warehouse.dim_locations").select("postalCode", "country")
    facts = release.table("warehouse.fact_orders").select("postalCode", "orderAmount")
    made = facts.join(places.select("postalCode"), "postalCode")
    reported = made.join(places, "postalCode").group_by("country")
    published = reported.agg(wrong=lambda rows: rows.orderAmount.sum(), rows=lambda rows: rows.count()).to_pandas()
    beside = countries[["country", "bookedAmount"]].rename(columns={"bookedAmount": "right"})
    beside = beside.merge(published, on="country", how="left").sort_values("right", ascending=False, ignore_index=True)
    codes = release.table("warehouse.dim_locations").group_by("postalCode")
    shared = codes.agg(cities=lambda rows: rows.count()).to_pandas()
    shared = shared[(shared["cities"] > 1) & shared["postalCode"].notna()]
    shared = shared.sort_values("cities", ascending=False, ignore_index=True)
    mo.vstack([beside, mo.md("Postal codes that several places share:"), shared])
    return beside, shared


@app.cell
def _(beside, mo):
    caught_by = ("analytics/sales_by_country", "reconciliation")
    first = beside.iloc[0]
    mo.md(f"""
    {first["country"]}: **{first["wrong"]:,.2f}** instead of **{first["right"]:,.2f}**.

    Here this cannot be published. A place is known by its postal code, city, state and country together
    (`locationKey`, which check `keys` proves to be unique), and whoever joins on the postal code all the same is
    caught by check **`{caught_by[1]}`** of **`{caught_by[0]}`**: it works the same numbers out from the order system
    another way, compares every country to the cent, and blocks the table, so that readers keep the version before.
    """)
    return (caught_by,)


if __name__ == "__main__":
    app.run()
