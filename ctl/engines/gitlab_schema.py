"""GitLab's registry: every key of its configuration with its type, and since when it is known.

Taken from the structure that 4.32 decodes into and from its drivers' own parameters, compared with the
running program. It ignores keys that it does not know, and reads a bare number as nanoseconds where a
duration is meant.
"""

from __future__ import annotations

from collections.abc import Mapping

from ctl.engines.distribution_schema import (
    ANY,
    BOOL,
    DURATION,
    HEADERS,
    INT,
    MAP,
    TEXT,
    TEXTS,
    Kind,
    choice,
    each,
    section,
)

FLOAT = Kind("float")
_LEVEL = choice("error", "warn", "info", "debug", "trace", lower=True)
_FORMAT = choice("text", "json", lower=True)
_CHECK = {"interval": DURATION, "threshold": INT}
_TLS = {
    "certificate": TEXT,
    "key": TEXT,
    "clientcas": TEXTS,
    "minimumtls": choice("", "tls1.2", "tls1.3"),
}
_REDIS = {
    "enabled": BOOL,
    "addr": TEXT,
    "mainname": TEXT,
    "username": TEXT,
    "password": TEXT,
    "db": INT,
    "dialtimeout": DURATION,
    "readtimeout": DURATION,
    "writetimeout": DURATION,
    "tls": section(enabled=BOOL, insecure=BOOL),
    "pool": section(size=INT, maxlifetime=DURATION, idletimeout=DURATION),
    "sentinelusername": TEXT,
    "sentinelpassword": TEXT,
}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DATABASE = section(
    enabled=ANY,  # judged by its own rule: true, false or prefer
    host=TEXT, port=INT, user=TEXT, password=TEXT, dbname=TEXT, sslmode=choice("", *SSL_MODES),
    sslcert=TEXT, sslkey=TEXT, sslrootcert=TEXT, connecttimeout=DURATION, draintimeout=DURATION,
    preparedstatements=BOOL, primary=TEXT,
    pool=section(maxidle=INT, maxopen=INT, maxlifetime=DURATION, maxidletime=DURATION),
    backgroundmigrations=section(enabled=BOOL, maxjobretries=INT, jobinterval=DURATION),
    loadbalancing=section(
        enabled=BOOL, hosts=TEXTS, nameserver=TEXT, port=INT, record=TEXT, replicacheckinterval=DURATION
    ),
    metrics=section(enabled=BOOL, interval=DURATION, leaseduration=DURATION),
)  # fmt: skip
_GC = section(
    disabled=BOOL, noidlebackoff=BOOL, maxbackoff=DURATION, errorcooldownperiod=DURATION,
    transactiontimeout=DURATION, reviewafter=ANY,  # judged by its own rule: a duration, or -1
    blobs=section(disabled=BOOL, interval=DURATION, storagetimeout=DURATION),
    manifests=section(disabled=BOOL, interval=DURATION),
)  # fmt: skip
_NOTIFICATIONS = section(
    fanouttimeout=DURATION,
    events=section(includereferences=BOOL),
    endpoints=each(
        name=TEXT, disabled=BOOL, url=TEXT, headers=HEADERS, timeout=DURATION, threshold=INT, maxretries=INT,
        backoff=DURATION, ignoredmediatypes=TEXTS, ignore=section(mediatypes=TEXTS, actions=TEXTS),
        queuepurgetimeout=DURATION, queuesizelimit=INT,
    ),
)  # fmt: skip
_MIDDLEWARES = each(name=TEXT, disabled=BOOL, options=MAP)

TOP: dict[str, Kind] = {
    "version": ANY,
    "log": section(
        level=_LEVEL, formatter=_FORMAT, output=choice("stdout", "stderr", lower=True), fields=MAP,
        accesslog=section(disabled=BOOL, formatter=_FORMAT),
    ),
    "loglevel": _LEVEL,
    "storage": ANY,
    "database": _DATABASE,
    "gc": _GC,
    "http": section(
        addr=TEXT, net=choice("", "tcp", "unix"), host=TEXT, prefix=TEXT, secret=TEXT, relativeurls=BOOL,
        draintimeout=DURATION, headers=HEADERS,
        tls=section(
            **_TLS, ciphersuites=TEXTS, letsencrypt=section(cachefile=TEXT, email=TEXT, hosts=TEXTS)
        ),
        debug=section(
            addr=TEXT, tls=section(enabled=BOOL, **_TLS), prometheus=section(enabled=BOOL, path=TEXT),
            pprof=section(enabled=BOOL),
        ),
        http2=section(disabled=BOOL),
    ),
    "auth": ANY,
    "middleware": section(registry=_MIDDLEWARES, repository=_MIDDLEWARES, storage=_MIDDLEWARES),
    "notifications": _NOTIFICATIONS,
    "redis": section(
        **_REDIS, cache=section(**_REDIS), ratelimiter=section(**_REDIS), loadbalancing=section(**_REDIS)
    ),
    "health": section(
        storagedriver=section(enabled=BOOL, **_CHECK),
        database=section(enabled=BOOL, timeout=DURATION, **_CHECK),
        file=each(file=TEXT, **_CHECK),
        http=each(uri=TEXT, headers=HEADERS, statuscode=INT, timeout=DURATION, **_CHECK),
        tcp=each(addr=TEXT, timeout=DURATION, **_CHECK),
    ),
    "validation": section(
        enabled=BOOL, disabled=BOOL,
        manifests=section(
            referencelimit=INT, payloadsizelimit=INT, urls=section(allow=TEXTS, deny=TEXTS)
        ),
    ),
    "policy": section(repository=section(classes=TEXTS)),
    "rate_limiter": section(
        enabled=BOOL,
        limiters=each(
            name=TEXT, description=TEXT, log_only=BOOL, match=section(type=choice("ip")),
            precedence=INT,
            limit=section(rate=INT, period=choice("second", "minute", "hour"), burst=INT),
            action=section(
                warn_threshold=FLOAT, warn_action=choice("none", "log"),
                hard_action=choice("none", "log", "block"),
            ),
        ),
    ),
    "reporting": section(sentry=section(enabled=BOOL, dsn=TEXT, environment=TEXT)),
    "profiling": section(
        stackdriver=section(enabled=BOOL, service=TEXT, serviceversion=TEXT, projectid=TEXT, keyfile=TEXT)
    ),
}  # fmt: skip


def _any(words: str) -> dict[str, Kind]:
    return {word: ANY for word in words.split()}


_S3 = _any(
    "accesskey secretkey sessiontoken region regionendpoint bucket rootdirectory encrypt keyid secure"
    " skipverify v4auth chunksize multipartcopychunksize multipartcopymaxconcurrency"
    " multipartcopythresholdsize pathstyle maxrequestspersecond maxretries parallelwalk storageclass"
    " objectacl objectownership loglevel"
)
_AZURE = _any("accountname accountkey container realm rootdirectory legacyrootprefix trimlegacyrootprefix")
DRIVERS: dict[str, Mapping[str, Kind]] = {
    "filesystem": _any("rootdirectory maxthreads"),
    "inmemory": {},
    "s3": _S3,
    "s3aws": _S3,
    "s3_v2": {**_S3, **_any("checksum_algorithm checksum_disabled")},
    "gcs": _any(
        "bucket keyfile credentials rootdirectory chunksize maxconcurrency parallelwalk useragent debug_log"
    ),
    "azure": _AZURE,
    "azure_v2": {
        **_AZURE,
        **_any(
            "credentials_type tenant_id client_id secret serviceurl api_pool_initial_interval"
            " api_pool_max_interval api_pool_max_elapsed_time max_retries retry_try_timeout retry_delay"
            " max_retry_delay debug_log debug_log_events"
        ),
    },
}
REQUIRED: dict[str, tuple[str, ...]] = {
    "s3": ("bucket", "region"), "s3aws": ("bucket", "region"), "s3_v2": ("bucket", "region"),
    "gcs": ("bucket",),
    "azure": ("accountname", "accountkey", "container"), "azure_v2": ("container",),
}  # fmt: skip
STORAGE_EXTRAS: dict[str, Mapping[str, Kind]] = {
    "cache": _any("blobdescriptor layerinfo"),
    "delete": _any("enabled"),
    "redirect": _any("disable expirydelay exceptions"),
    "maintenance": _any("uploadpurging readonly"),
}
AUTH: dict[str, Mapping[str, Kind]] = {
    "silly": _any("realm service"),
    "token": _any("realm issuer service rootcertbundle autoredirect"),
    "none": {},
}
AUTH_REQUIRED: dict[str, tuple[str, ...]] = {
    "silly": ("realm", "service"),
    "token": ("realm", "issuer", "service", "rootcertbundle"),
}

# path -> the first version that knows it (its change log)
SINCE: dict[str, str] = {
    "storage.azure_v2": "4.15.0",
    "storage.s3_v2": "4.20.0",
    "database.backgroundmigrations": "4.6.0",
    "database.loadbalancing": "4.6.0",
    "database.metrics": "4.27.0",
    "redis.loadbalancing": "4.18.0",
    "redis.ratelimiter": "4.22.0",
    "rate_limiter": "4.22.0",
}
PREFER_SINCE = "4.31.0"
# sections that an operator may bring from another version or engine, and what to say
STRANGERS: dict[str, str] = {
    "migration": "gone since 3.70: an import is `regctl registry import`, its settings are options",
    "import": "gone: an import is `regctl registry import`, its settings are options",
    "compatibility": "schema 1 images are gone; remove the section",
    "proxy": "a pull-through cache is distribution's; this program would ignore it",
    "tags": "tags.maxtags is distribution's; this program would ignore it",
    "catalog": "catalog.maxentries is distribution's; this program would ignore it",
}
# Go's name of a field, where it is not the key of the file: the names that environment variables use
ENVIRONMENT_NAMES: dict[str, str] = {
    "notifications.events": "EVENTCONFIG",
    "health.file": "FILECHECKERS",
    "health.http": "HTTPCHECKERS",
    "health.tcp": "TCPCHECKERS",
    "rate_limiter": "RATELIMITER",
    "rate_limiter.limiters.log_only": "LOGONLY",
    "rate_limiter.limiters.action.warn_threshold": "WARNTHRESHOLD",
    "rate_limiter.limiters.action.warn_action": "WARNACTION",
    "rate_limiter.limiters.action.hard_action": "HARDACTION",
}
# names with an underscore of their own, which does not part a path
PROTECTED = (
    "AUTH_PROVIDER_X509_CERT_URL", "API_POOL_INITIAL_INTERVAL", "API_POOL_MAX_ELAPSED_TIME",
    "BUCKET_OWNER_FULL_CONTROL", "API_POOL_MAX_INTERVAL", "CLIENT_X509_CERT_URL", "DEFAULT_URL_VALIDITY",
    "DEFAULT_CREDENTIALS", "CHECKSUM_ALGORITHM", "REDUCED_REDUNDANCY", "RETRY_TRY_TIMEOUT",
    "CHECKSUM_DISABLED", "CREDENTIALS_TYPE", "DEBUG_LOG_EVENTS", "MIN_URL_VALIDITY", "MAX_RETRY_DELAY",
    "PRIVATE_KEY_ID", "CLIENT_SECRET", "STORAGE_CLASS", "CLIENT_EMAIL", "MAX_RETRIES", "PRIVATE_KEY",
    "RETRY_DELAY", "PROJECT_ID", "SHARED_KEY", "TENANT_ID", "CLIENT_ID", "DEBUG_LOG", "TOKEN_URI",
    "AUTH_URI", "AZURE_V2", "DRY_RUN", "S3_V2",
)  # fmt: skip
