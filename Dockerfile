# What `hive up --runtime docker` makes agents' containers of: hyperhive's harness, git and ordinary tools.
#
#   docker build -t hyperhive .
#   docker build -t hyperhive --network none --build-arg BASE=hyperhive:VERSION .
#
# BASE is a Debian or Ubuntu whose Python is 3.11 or newer. One that has /opt/hive already, as what `hive image build
# --docker` made, keeps it and gets the sources of this directory: that needs no registry, mirror or package index.

ARG BASE=debian:12-slim
FROM ${BASE}

ARG PACKAGES=""
RUN test -x /opt/hive/bin/python || { \
        apt-get update -q \
        && apt-get install -qy --no-install-recommends bash-completion ca-certificates curl file git jq less \
            openssh-client patch procps python3 python3-venv ripgrep unzip xz-utils ${PACKAGES} \
        && rm -rf /var/lib/apt/lists/*; \
    }

COPY pyproject.toml constraints.txt /tmp/hive/
RUN test -x /opt/hive/bin/python || { \
        cd /tmp/hive \
        && python3 -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*p["dependencies"], *p["optional-dependencies"]["harness"], sep="\n")' >requirements.txt \
        && python3 -m venv /opt/hive \
        && /opt/hive/bin/python -m pip install --no-cache-dir --only-binary=:all: -c constraints.txt -r requirements.txt; \
    }

COPY libs/contracts libs/runtime services/harness /tmp/hive/
RUN site=$(/opt/hive/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && rm -rf "$site"/hive_* \
    && cp -R /tmp/hive/hive_* "$site" \
    && /opt/hive/bin/python -m compileall -q "$site" \
    && rm -rf /tmp/hive \
    && mkdir -p /state /var/lib/hive

WORKDIR /state
ENTRYPOINT ["/opt/hive/bin/python", "-m", "hive_harness"]
