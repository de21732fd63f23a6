"""distribution's configuration by major version: every known key with its type.

Taken from the structures that the binaries decode into (configuration.go of 2.8.2 and 3.1.1) and from the
storage drivers' and access controllers' own parameters. The binaries ignore keys they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """What a key may hold. `loose` means that the binary takes what it gets as text, so no type is wrong."""

    name: str  # text | bool | int | duration | texts | headers | map | any | section | list | choice
    keys: Mapping[str, Kind] = field(default_factory=dict)  # of a section, or of each list entry
    choices: tuple[str, ...] = ()
    lower: bool = False  # the binary lower-cases the word before it compares


TEXT, BOOL, INT, DURATION = Kind("text"), Kind("bool"), Kind("int"), Kind("duration")
TEXTS, HEADERS, MAP, ANY = Kind("texts"), Kind("headers"), Kind("map"), Kind("any")


def section(**keys: Kind) -> Kind:
    """Make a map with exactly these keys."""
    return Kind("section", keys)


def each(**keys: Kind) -> Kind:
    """Make a list of maps with exactly these keys."""
    return Kind("list", keys)


def choice(*words: str, lower: bool = False) -> Kind:
    """Make one of these words."""
    return Kind("choice", choices=words, lower=lower)


_LEVEL = choice("error", "warn", "info", "debug", lower=True)
_CHECK = {"interval": DURATION, "threshold": INT}

_LOG = {
    "accesslog": section(disabled=BOOL),
    "level": _LEVEL,
    "formatter": choice("text", "json", "logstash"),
    "fields": MAP,
    "hooks": each(
        disabled=BOOL,
        type=TEXT,
        levels=TEXTS,
        options=section(
            smtp=section(addr=TEXT, username=TEXT, password=TEXT, insecure=BOOL), to=TEXTS, **{"from": TEXT}
        ),
    ),
}
_TLS = {
    "certificate": TEXT, "key": TEXT, "clientcas": TEXTS, "ciphersuites": TEXTS,
    "minimumtls": choice("tls1.0", "tls1.1", "tls1.2", "tls1.3"),
}  # fmt: skip
_LETSENCRYPT = {"cachefile": TEXT, "email": TEXT, "hosts": TEXTS}
_HTTP = {
    "addr": TEXT,
    "net": choice("tcp", "unix"),
    "host": TEXT,
    "prefix": TEXT,
    "secret": TEXT,
    "relativeurls": BOOL,
    "draintimeout": DURATION,
    "headers": HEADERS,
    "debug": section(addr=TEXT, prometheus=section(enabled=BOOL, path=TEXT)),
    "http2": section(disabled=BOOL),
}
_NOTIFICATIONS = section(
    events=section(includereferences=BOOL),
    endpoints=each(
        name=TEXT, disabled=BOOL, url=TEXT, headers=HEADERS, timeout=DURATION, threshold=INT,
        backoff=DURATION, ignoredmediatypes=TEXTS, ignore=section(mediatypes=TEXTS, actions=TEXTS),
    ),
)  # fmt: skip
_HEALTH = section(
    storagedriver=section(enabled=BOOL, **_CHECK),
    file=each(file=TEXT, **_CHECK),
    http=each(uri=TEXT, headers=HEADERS, statuscode=INT, timeout=DURATION, **_CHECK),
    tcp=each(addr=TEXT, timeout=DURATION, **_CHECK),
)
_MIDDLEWARES = each(name=TEXT, disabled=BOOL, options=MAP)
_MIDDLEWARE = section(registry=_MIDDLEWARES, repository=_MIDDLEWARES, storage=_MIDDLEWARES)
_PROXY = {"remoteurl": TEXT, "username": TEXT, "password": TEXT}
_URLS = section(allow=TEXTS, deny=TEXTS)
_S3 = {
    name: ANY
    for name in [
        "accesskey",
        "secretkey",
        "region",
        "regionendpoint",
        "bucket",
        "encrypt",
        "keyid",
        "secure",
        "skipverify",
        "v4auth",
        "chunksize",
        "multipartcopychunksize",
        "multipartcopymaxconcurrency",
        "multipartcopythresholdsize",
        "rootdirectory",
        "storageclass",
        "useragent",
        "objectacl",
        "sessiontoken",
    ]
}
_S3_3 = {n: ANY for n in ("forcepathstyle", "usedualstack", "accelerate", "usefipsendpoint", "loglevel")}
_GCS = {n: ANY for n in ("bucket", "keyfile", "credentials", "rootdirectory", "chunksize", "maxconcurrency")}
_AZURE = {n: ANY for n in ("accountname", "accountkey", "container", "realm", "rootdirectory")}
_AZURE_3 = {
    n: ANY
    for n in ("credentials", "connectionstring", "serviceurl", "max_retries", "retry_delay", "skipverify")
}
_FILESYSTEM = {"rootdirectory": ANY, "maxthreads": ANY}
_SWIFT = {
    name: ANY
    for name in [
        "username",
        "password",
        "authurl",
        "tenant",
        "tenantid",
        "domain",
        "domainid",
        "tenantdomain",
        "tenantdomainid",
        "trustid",
        "region",
        "authversion",
        "container",
        "rootdirectory",
        "prefix",
        "endpointtype",
        "insecureskipverify",
        "chunksize",
        "secretkey",
        "accesskey",
        "tempurlcontainerkey",
        "tempurlmethods",
    ]
}
_OSS = {
    name: ANY
    for name in [
        "accesskeyid",
        "accesskeysecret",
        "region",
        "endpoint",
        "internal",
        "bucket",
        "encrypt",
        "secure",
        "chunksize",
        "rootdirectory",
        "encryptionkeyid",
    ]
}

# storage drivers: parameters by name
DRIVERS_2: dict[str, Mapping[str, Kind]] = {
    "filesystem": _FILESYSTEM, "inmemory": {}, "s3": _S3, "s3aws": _S3, "swift": _SWIFT,
    "azure": _AZURE, "gcs": _GCS, "oss": _OSS,
}  # fmt: skip
DRIVERS_3: dict[str, Mapping[str, Kind]] = {
    "filesystem": _FILESYSTEM, "inmemory": {}, "s3": {**_S3, **_S3_3}, "s3aws": {**_S3, **_S3_3},
    "azure": {**_AZURE, **_AZURE_3}, "gcs": {**_GCS, "useragent": ANY},
}  # fmt: skip
REMOVED_DRIVERS_3 = ("swift", "oss")
NOT_IN_DEBIAN = ("azure", "gcs", "oss")

# what storage holds beside the driver; its values' types are judged by rules, not by the decoder
STORAGE_EXTRAS_2: dict[str, Mapping[str, Kind]] = {
    "cache": {"blobdescriptor": ANY, "layerinfo": ANY},
    "delete": {"enabled": ANY},
    "redirect": {"disable": ANY},
    "maintenance": {"uploadpurging": ANY, "readonly": ANY},
}
STORAGE_EXTRAS_3: dict[str, Mapping[str, Kind]] = {
    **STORAGE_EXTRAS_2,
    "cache": {"blobdescriptor": ANY, "layerinfo": ANY, "blobdescriptorsize": ANY},
    "tag": {"concurrencylimit": ANY},
}

_TOKEN = {n: ANY for n in ("realm", "issuer", "service", "rootcertbundle", "autoredirect")}
_TOKEN_3 = {n: ANY for n in ("jwks", "autoredirectpath", "signingalgorithms")}
AUTH_2: dict[str, Mapping[str, Kind]] = {
    "silly": {"realm": ANY, "service": ANY},
    "token": _TOKEN,
    "htpasswd": {"realm": ANY, "path": ANY},
    "none": {},
}
AUTH_3: dict[str, Mapping[str, Kind]] = {**AUTH_2, "token": {**_TOKEN, **_TOKEN_3}}
AUTH_REQUIRED: dict[str, tuple[str, ...]] = {
    "silly": ("realm", "service"),
    "token": ("realm", "issuer", "service"),
    "htpasswd": ("realm", "path"),
}

_COMMON = {
    "version": ANY,
    "loglevel": _LEVEL,
    "storage": ANY,
    "auth": ANY,
    "middleware": _MIDDLEWARE,
    "notifications": _NOTIFICATIONS,
    "health": _HEALTH,
    "catalog": section(maxentries=INT),
    "policy": section(repository=section(classes=TEXTS)),
}

TOP_2: dict[str, Kind] = {
    **_COMMON,
    "log": section(**_LOG),
    "http": section(**_HTTP, tls=section(**_TLS, letsencrypt=section(**_LETSENCRYPT))),
    "redis": section(
        addr=TEXT, password=TEXT, db=INT, dialtimeout=DURATION, readtimeout=DURATION, writetimeout=DURATION,
        pool=section(maxidle=INT, maxactive=INT, idletimeout=DURATION),
    ),
    "proxy": section(**_PROXY),
    "validation": section(enabled=BOOL, disabled=BOOL, manifests=section(urls=_URLS)),
    "compatibility": section(schema1=section(signingkeyfile=TEXT, enabled=BOOL)),
    "reporting": section(
        bugsnag=section(apikey=TEXT, releasestage=TEXT, endpoint=TEXT),
        newrelic=section(licensekey=TEXT, name=TEXT, verbose=BOOL),
    ),
}  # fmt: skip

TOP_3: dict[str, Kind] = {
    **_COMMON,
    "log": section(**_LOG, reportcaller=BOOL),
    "http": section(
        **_HTTP,
        h2c=section(enabled=BOOL),
        tls=section(
            **_TLS,
            clientauth=choice(
                "request-client-cert", "require-any-client-cert", "verify-client-cert-if-given",
                "require-and-verify-client-cert",
            ),
            letsencrypt=section(**_LETSENCRYPT, directoryurl=TEXT),
        ),
    ),
    "redis": section(
        addrs=TEXTS, clientname=TEXT, db=INT, protocol=INT, username=TEXT, password=TEXT,
        sentinelusername=TEXT, sentinelpassword=TEXT, maxretries=INT, minretrybackoff=DURATION,
        maxretrybackoff=DURATION, dialtimeout=DURATION, readtimeout=DURATION, writetimeout=DURATION,
        contexttimeoutenabled=BOOL, poolfifo=BOOL, poolsize=INT, pooltimeout=DURATION, minidleconns=INT,
        maxidleconns=INT, maxactiveconns=INT, connmaxidletime=DURATION, connmaxlifetime=DURATION,
        maxredirects=INT, readonly=BOOL, routebylatency=BOOL, routerandomly=BOOL, mastername=TEXT,
        disableidentity=BOOL, identitysuffix=TEXT, unstableresp3=BOOL,
        tls=section(certificate=TEXT, key=TEXT, rootcas=TEXTS),
    ),
    "tags": section(maxtags=INT),
    "proxy": section(
        **_PROXY, exec=section(command=TEXT, lifetime=DURATION), ttl=DURATION, cachewritetimeout=DURATION
    ),
    "validation": section(
        enabled=BOOL,
        disabled=BOOL,
        manifests=section(
            urls=_URLS,
            indexes=section(
                platforms=choice("all", "none", "list", lower=True),
                platformlist=each(architecture=TEXT, os=TEXT),
            ),
        ),
    ),
}  # fmt: skip

# keys that an operator may bring from another version or engine, and what to say
STRANGERS: dict[str, str] = {
    "database": "a metadata database is GitLab's registry; this engine would ignore it",
    "gc": "online garbage collection is GitLab's registry; this engine would ignore it",
    "migration": "this section is GitLab's registry's; this engine would ignore it",
}
REMOVED_3: dict[str, str] = {
    "compatibility": "3.x knows no schema1 manifests any more; remove the section",
    "reporting": "3.x has no bugsnag or newrelic any more; remove the section",
}
ONLY_3: dict[str, str] = {"tags": "only 3.1 and later have it"}
