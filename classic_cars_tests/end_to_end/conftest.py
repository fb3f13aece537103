"""The shared shops, for the tests of this folder."""

from classic_cars_tests.shops import published, published_home, real_data, shop, shop_file

__all__ = ["published", "published_home", "real_data", "shop", "shop_file"]
