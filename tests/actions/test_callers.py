import pytest

from appliance.actions.callers import (
    Caller,
    Role,
    anonymous,
    local_admin,
    require_model,
    require_role,
    require_row_of,
)
from appliance.errors import Forbidden, NotFound, Unauthenticated


def caller(role, **given):
    return Caller(key_name="camera", key_id="abc123", address="192.0.2.1", role=role, **given)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.DEVICE, {Role.DEVICE}),
        (Role.OPERATOR, {Role.DEVICE, Role.OPERATOR}),
        (Role.ADMIN, {Role.DEVICE, Role.OPERATOR, Role.ADMIN}),
    ],
)
def test_each_role_includes_the_ones_before(role, may):
    for needed in Role:
        if needed in may:
            require_role(caller(role), needed)
        else:
            with pytest.raises(Forbidden, match=f"'camera' has the role {role}"):
                require_role(caller(role), needed)


def test_who_is_anonymous_is_asked_for_a_key():
    with pytest.raises(Unauthenticated, match="X-API-Key"):
        require_role(anonymous("192.0.2.1"), Role.DEVICE)


def test_a_scope_names_the_models_it_covers():
    scoped = caller(Role.OPERATOR, models=("vehicle-type", "step"))
    require_model(scoped, "step")
    with pytest.raises(Forbidden, match="only these models: vehicle-type, step"):
        require_model(scoped, "other")
    require_model(caller(Role.DEVICE), "other")


def test_a_device_finds_no_rows_but_its_own():
    device = caller(Role.DEVICE)
    require_row_of(device, "abc123", thing="prediction")
    for owner in ("xyz789", None, ""):
        with pytest.raises(NotFound, match="no such prediction"):
            require_row_of(device, owner, thing="prediction")


def test_rows_without_a_key_belong_to_no_device():
    keyless = Caller(key_name="odd", address="192.0.2.1", role=Role.DEVICE)
    assert not keyless.may_see_row_of(None)
    assert not anonymous("192.0.2.1").may_see_row_of(None)


def test_operators_and_admins_see_every_row():
    assert caller(Role.OPERATOR).may_see_row_of("xyz789")
    assert local_admin().may_see_row_of(None)
