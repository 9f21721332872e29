"""Small facts under a name."""

from appliance.store import settings
from appliance.store.database import Database


def test_a_setting_that_was_never_put_is_none(database: Database) -> None:
    assert settings.get(database, "missing") is None


def test_a_later_value_takes_the_place_of_the_earlier(database: Database) -> None:
    settings.put(database, "a", 1)
    settings.put(database, "a", {"b": [2.5, "x"]})
    assert settings.get(database, "a") == {"b": [2.5, "x"]}


def test_a_removed_setting_is_gone(database: Database) -> None:
    settings.put(database, "a", 1)
    settings.remove(database, "a")
    assert settings.get(database, "a") is None


def test_settings_take_part_in_a_larger_transaction(database: Database) -> None:
    def work(connection: object) -> object:
        settings.put(connection, "a", 1)  # type: ignore[arg-type]
        return settings.get(connection, "a")  # type: ignore[arg-type]

    assert database.write(work) == 1
