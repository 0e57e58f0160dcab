# From an agent.toml to what systemd is told of the harness. Pure: builtins alone, no nixpkgs.
#
# `configFile`: null for none. What the file leaves out is left out here: then the hive's own limits hold, which are on
# the whole container. An agent may have written the file: nothing but numbers of it gets into a unit, for a text could
# bring lines of its own.
{
  configFile ? null,
}:
let
  file = if configFile == null then { } else builtins.fromTOML (builtins.readFile configFile);
  limits = file.limits or { };
  number = value: toString (value + 0);
  given = key: name: make: if limits ? ${key} then { ${name} = make limits.${key}; } else { };
in
{
  # Names of attributes of nixpkgs, looked up and never evaluated as code.
  packages = file.packages or [ ];

  serviceConfig =
    given "memory_mib" "MemoryMax" (mib: toString (mib * 1048576))
    // given "cpus" "CPUQuota" (cores: "${toString (builtins.floor (cores * 100 + 0.5))}%")
    // given "pids" "TasksMax" number
    // given "open_files" "LimitNOFILE" number
    // (if (file.network or null) == "none" then { PrivateNetwork = true; } else { });
}
