"""Who is notified when something is late or wrong: incidents, messages, delivery."""

from classic_cars.automation.alerts.sensor import alerts_sensor, sender

__all__ = ["alerts_sensor", "sender"]
