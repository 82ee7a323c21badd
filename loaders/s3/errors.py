"""What the AWS SDK reports, in sentences: what, where, why and what to do.

Of an error only its code is shown: its message may hold names of people's files and accounts.
"""

from __future__ import annotations

from botocore import exceptions

from larder.errors import LandingError, LandingUnavailableError

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
NOT_ACCEPTED = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "AccountProblem",
    "AllAccessDisabled",
    "KMSAccessDeniedException",
}
NOT_THERE = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}
WRONG_REGION = {
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
}
OVERLOADED = {
    "429",
    "503",
    "BandwidthLimitExceeded",
    "KMSThrottlingException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
}
BROKEN = {"500", "502", "504", "InternalError", "InternalFailure", "RequestTimeout"}

NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
UNREACHABLE = (
    exceptions.ConnectionClosedError,
    exceptions.ConnectTimeoutError,
    exceptions.EndpointConnectionError,
    exceptions.ProxyConnectionError,
    exceptions.ReadTimeoutError,
    exceptions.ResponseStreamingError,
    exceptions.SSLError,
)
LANDING = "LARDER_LANDING (s3://bucket/prefix) or LARDER_LANDING_QUEUE"
KEPT = "Nothing was lost: what was loaded before stays, the rest waits for the next load."


def code_of(error: Exception) -> str:
    """Return the code of what the service answered, empty if it did not."""
    if isinstance(error, exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def status_of(error: Exception) -> int:
    """Return the HTTP status of what the service answered, 0 if it did not."""
    if isinstance(error, exceptions.ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0


def is_passing(error: Exception) -> bool:
    """Tell whether the same request may succeed in a while."""
    if isinstance(error, UNREACHABLE):
        return True
    return code_of(error) in OVERLOADED | BROKEN or status_of(error) >= 500


def explain(error: Exception, what: str, right: str, kept: str = KEPT) -> LandingError:
    """Return the error of ours for one of the SDK's.

    `what` could not be done begins the sentence; `right` is the permission that it takes; `kept`
    says how things stand now.
    """
    why, remedy = reason_of(error, right, LANDING)
    kind = LandingUnavailableError if is_passing(error) else LandingError
    return kind(f"{what}: {why}. {remedy} {kept}")


def reason_of(error: Exception, right: str, setting: str) -> tuple[str, str]:
    """Return why one of the SDK's errors came, and what to do.

    `right` is the permission that it takes, `setting` what names the thing.
    """
    code = code_of(error)
    named = f" ({code})" if code else ""
    if code in EXPIRED:
        return (
            f"the credentials have expired{named}",
            "Get new ones for the AWS SDK (`aws sso login`, a new session token, a role) and run "
            "again.",
        )
    if code in NOT_ACCEPTED:
        return (
            f"the credentials are not accepted{named}",
            "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    if code == "RequestTimeTooSkewed":
        return f"this computer's clock is wrong{named}", "Set it and run again."
    if code in OVERLOADED:
        return (
            f"there were too many requests{named}, also when tried again",
            "Run again later, or let AWS_MAX_ATTEMPTS allow more tries.",
        )
    if code in BROKEN or status_of(error) >= 500:
        return f"the service failed{named or ''}", "Run again later."
    if code in NOT_THERE:
        return (
            f"there is none of that name{named}",
            f"Correct {setting}.",
        )
    if code in DENIED:
        return f"it is not allowed{named}", f"Give the credentials the right {right}."
    if code in WRONG_REGION or isinstance(error, exceptions.NoRegionError):
        return f"the region is missing or wrong{named}", "Set AWS_REGION to the one that it is in."
    if isinstance(error, NO_CREDENTIALS):
        return (
            f"the AWS SDK has no usable credentials ({type(error).__name__})",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run with a role.",
        )
    if isinstance(error, UNREACHABLE):
        return (
            f"the service cannot be reached ({type(error).__name__})",
            "Check the network, AWS_REGION and AWS_ENDPOINT_URL.",
        )
    if isinstance(error, ValueError):  # how the SDK says that AWS_ENDPOINT_URL is no URL
        return "AWS_ENDPOINT_URL cannot be used", "Correct it, or unset it for AWS itself."
    return (
        f"the service answered {code or type(error).__name__}",
        f"Check AWS_ENDPOINT_URL and what {setting} names.",
    )
