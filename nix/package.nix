# hyperhive. Without `frontend`, what an agent's container needs: the harness alone. With it, a directory that holds the
# files which hatch_build.py names and else fetches from a network that no build has, the whole hive.
{
  lib,
  makeWrapper,
  python3Packages,
  frontend ? null,
}:
python3Packages.buildPythonApplication rec {
  pname = "hyperhive";
  version = (builtins.fromTOML (builtins.readFile ../pyproject.toml)).project.version;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../README.md
      ../cli
      ../docs/settings.md
      ../hatch_build.py
      ../libs
      ../pyproject.toml
      ../services
    ];
  };

  postPatch = lib.optionalString (frontend == null) ''
    substituteInPlace pyproject.toml --replace-fail '[tool.hatch.build.hooks.custom]' ""
  '';
  HIVE_FRONTEND_DIR = lib.optionalString (frontend != null) "${frontend}";

  build-system = [ python3Packages.hatchling ];
  nativeBuildInputs = [ makeWrapper ];

  # As pyproject.toml has them, which a test holds.
  dependencies =
    with python3Packages;
    [
      # hyperhive
      click
      cryptography
      hiredis
      pydantic
      redis
      structlog
      # harness
      mcp
      starlette
      uvicorn
    ]
    ++ lib.optionals (frontend != null) [
      # supervisor
      dbus-next
      httpx
      packaging
      tomli-w
      # dashboard
      fastapi
      httptools
      jinja2
      markdown-it-py
      prometheus-client
      pygments
      python-multipart
      uvloop
      websockets
    ];

  postFixup = lib.concatMapStrings (name: ''
    makeWrapper ${python3Packages.python.interpreter} $out/bin/hive-${name} \
      --add-flags "-m hive_${name}" \
      --prefix PYTHONPATH : "$out/${python3Packages.python.sitePackages}:${python3Packages.makePythonPath dependencies}"
  '') (
    [ "harness" ]
    ++ lib.optionals (frontend != null) [
      "broker"
      "dashboard"
      "supervisor"
    ]
  );

  pythonImportsCheck = [ "hive_harness" ];

  meta = {
    description = "A hive of coding agents on a machine you own";
    mainProgram = if frontend == null then "hive-harness" else "hive";
    platforms = lib.platforms.linux;
  };
}
