# hyperhive with what its harness needs. The dashboard's front-end packages are left out: an agent has no dashboard, and
# the build hook that fetches them would need a network.
{
  lib,
  makeWrapper,
  python3Packages,
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
      ../libs
      ../pyproject.toml
      ../services
    ];
  };

  postPatch = ''
    substituteInPlace pyproject.toml --replace-fail '[tool.hatch.build.hooks.custom]' ""
  '';

  build-system = [ python3Packages.hatchling ];
  nativeBuildInputs = [ makeWrapper ];

  dependencies = with python3Packages; [
    click
    hiredis
    mcp
    pydantic
    redis
    starlette
    structlog
    uvicorn
  ];

  postFixup = ''
    makeWrapper ${python3Packages.python.interpreter} $out/bin/hive-harness \
      --add-flags "-m hive_harness" \
      --prefix PYTHONPATH : "$out/${python3Packages.python.sitePackages}:${python3Packages.makePythonPath dependencies}"
  '';

  pythonImportsCheck = [ "hive_harness" ];

  meta = {
    description = "One agent of a hive of coding agents";
    mainProgram = "hive-harness";
    platforms = lib.platforms.linux;
  };
}
