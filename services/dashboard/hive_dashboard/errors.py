"""Errors of the dashboard, under the root of hive_contracts.errors.

HiveError
├── NotSignedIn       401  no session, no token, or not a valid one
├── Forbidden         403  a form or page that is not ours asked for this
├── InvalidRequest    422  a field or parameter that does not fit
├── TooManyAttempts   429  sign-in was tried too often
├── Unreadable        503  what another service left or answered does not fit its type
└── AddressTaken      500  the port is in use, or may not be used
"""

from hive_contracts.errors import HiveError, Unavailable


class NotSignedIn(HiveError):
    code = "not_signed_in"
    status = 401


class Forbidden(HiveError):
    code = "forbidden"
    status = 403


class InvalidRequest(HiveError):
    code = "invalid_request"
    status = 422


class TooManyAttempts(HiveError):
    code = "too_many_attempts"
    status = 429


class Unreadable(Unavailable):
    code = "unreadable"


class AddressTaken(HiveError):
    code = "address_taken"
