"""Sealed secrets: back to what they were, for who holds the key, and for nobody else."""

import pytest
from pydantic import SecretStr

from app.notices import sealing
from app.settings import Settings


def test_a_sealed_secret_opens_with_the_same_key_only(settings: Settings):
    sealed = sealing.seal(settings, "whsec_一")
    assert "whsec" not in sealed
    assert sealing.unseal(settings, sealed) == "whsec_一"
    assert sealing.seal(settings, "whsec_一") != sealed, "two that are alike do not show it"
    other = settings.model_copy(update={"secret_key": SecretStr("another secret, long enough to sign with")})
    for broken in (sealed[:-4] + "AAAA", "", "not sealed at all"):
        with pytest.raises(sealing.SealBroken):
            sealing.unseal(settings, broken)
    with pytest.raises(sealing.SealBroken):
        sealing.unseal(other, sealed)
