"""Certificates by ACME (RFC 8555), proven with http-01 challenges."""

from __future__ import annotations

import datetime
from pathlib import Path

import josepy
import msgspec
import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from patchbay_runner import __version__
from patchbay_runner.results.files import write_atomically

_DEADLINE_S = 120
_ACCOUNT_KEY_NAME = "account.pem"
_SECRET = 0o600


class AcmeFailed(Exception):
    """There is no certificate, for the reason that the message gives."""


class Request(msgspec.Struct, frozen=True):
    """Whose certificate, from where. `email` is told to the certificate authority."""

    directory_url: str
    domain: str
    email: str


class Issuer:
    """Asks for certificates. `answers` has what `/.well-known/acme-challenge/<token>` gives, while it is asked for."""

    def __init__(self, request: Request, directory: Path) -> None:
        """`directory` keeps the account's key, so that the account is the same after a restart."""
        self.answers: dict[str, str] = {}
        self._request = request
        self._key_path = directory / _ACCOUNT_KEY_NAME

    def issue(self) -> bytes:
        """A new private key, its certificate and the chain, as one PEM text; takes seconds. Raises AcmeFailed."""
        try:
            return self._issue()
        except errors.ValidationError as error:
            raise AcmeFailed(_reasons(error)) from error
        except (errors.Error, josepy.errors.Error, requests.RequestException, ValueError, KeyError) as error:
            raise AcmeFailed(f"{self._request.directory_url}: {str(error) or type(error).__name__}") from error
        finally:
            self.answers.clear()

    def _issue(self) -> bytes:
        network = client.ClientNetwork(self._account_key(), alg=ES256, user_agent=f"patchbay-serve/{__version__}")
        authority = client.ClientV2(client.ClientV2.get_directory(self._request.directory_url, network), network)
        self._log_in(authority)
        key = _new_key()
        order = authority.new_order(crypto_util.make_csr(key, [self._request.domain]))
        for authorization in order.authorizations:
            if authorization.body.status != messages.STATUS_VALID:
                self._answer(authority, authorization)
        deadline = datetime.datetime.now() + datetime.timedelta(seconds=_DEADLINE_S)  # the library counts local time
        return key + authority.poll_and_finalize(order, deadline).fullchain_pem.encode()

    def _log_in(self, authority: client.ClientV2) -> None:
        """The account of the key, made when there is none. Who names an address agrees to the terms."""
        wish = messages.NewRegistration.from_data(email=self._request.email, terms_of_service_agreed=True)
        try:
            authority.new_account(wish)
        except errors.ConflictError as known:
            account = messages.RegistrationResource(body=messages.Registration(), uri=known.location)
            authority.net.account = account

    def _answer(self, authority: client.ClientV2, authorization: messages.AuthorizationResource) -> None:
        offers = [offer for offer in authorization.body.challenges if isinstance(offer.chall, challenges.HTTP01)]
        if not offers:
            raise AcmeFailed(f"{self._request.directory_url} does not offer http-01 for {self._request.domain}")
        response, text = offers[0].response_and_validation(authority.net.key)
        self.answers[offers[0].chall.encode("token")] = text
        authority.answer_challenge(offers[0], response)

    def _account_key(self) -> JWKEC:
        if not self._key_path.exists():
            write_atomically(self._key_path, _new_key(), mode=_SECRET)
        loaded = serialization.load_pem_private_key(self._key_path.read_bytes(), password=None)
        return JWKEC(key=loaded)


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _reasons(error: errors.ValidationError) -> str:
    found = [
        f"{authorization.body.identifier.value}: {offer.error.detail or offer.error}"
        for authorization in error.failed_authzrs
        for offer in authorization.body.challenges
        if offer.error is not None
    ]
    return "; ".join(found) or "the domain could not be proven"
