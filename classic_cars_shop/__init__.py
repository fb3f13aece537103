"""The retailer's shop, simulated: an order system of any size to try a platform with. The platform does not know it."""
