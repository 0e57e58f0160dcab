# Two images of one file: `services` runs the hive itself (docker-compose.yml), `agent` is what `hive up --runtime docker`
# makes agents' containers of: hyperhive's harness, git and ordinary tools.
#
#   docker build -t hyperhive .                                   the agents' image
#   docker build -t hyperhive-services --target services .        the services'
#   docker build -t hyperhive --network none --build-arg BASE=hyperhive:VERSION .
#
# Bases are Debians or Ubuntus whose Python is 3.11 or newer. One that has /opt/hive already, as what `hive image build
# --docker` made, keeps it and gets the sources of this directory: that needs no registry, mirror or package index.

ARG BASE=debian:12-slim
ARG SERVICES_BASE=${BASE}

FROM ${SERVICES_BASE} AS services

RUN test -x /opt/hive/bin/python || { \
        apt-get update -q \
        && apt-get install -qy --no-install-recommends ca-certificates git python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    }

COPY pyproject.toml constraints.txt /tmp/hive/
RUN test -x /opt/hive/bin/python || { \
        cd /tmp/hive \
        && python3 -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; o = p["optional-dependencies"]; \
print(*p["dependencies"], *o["supervisor"], *o["dashboard"], *o["harness"], *o["embedded"], sep="\n")' >requirements.txt \
        && python3 -m venv /opt/hive \
        && /opt/hive/bin/python -m pip install --no-cache-dir --only-binary=:all: -c constraints.txt -r requirements.txt; \
    }

# The build fetches the front end's packages, unless this directory has them. A base that has hatchling is offline.
COPY README.md hatch_build.py /tmp/hive/
COPY docs/settings.md /tmp/hive/docs/settings.md
COPY libs /tmp/hive/libs
COPY services /tmp/hive/services
COPY cli /tmp/hive/cli
# Docker's older builder makes this stage also for the agents' image, whose base may have no pip: then it stays empty.
RUN /opt/hive/bin/python -c 'import pip' 2>/dev/null || { echo "this base has no pip: no services in it"; exit 0; }; \
    cd /tmp/hive \
    && if /opt/hive/bin/python -c 'import hatchling' 2>/dev/null; then offline="--no-build-isolation --no-index"; fi \
    && /opt/hive/bin/python -m pip install --no-cache-dir --no-deps ${offline:-} . \
    && rm -rf /tmp/hive \
    && mkdir -p /var/lib/hyperhive

ENV PATH=/opt/hive/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp HIVE_DATA_DIR=/var/lib/hyperhive \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 10001:10001
CMD ["hive", "--help"]


FROM ${BASE} AS agent

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
